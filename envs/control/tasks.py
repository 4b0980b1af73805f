"""The control tasks. Nothing heavy is imported: `irlbench list` reads this module."""

from __future__ import annotations

from typing import Any

from irlbench.envs.control.task import SEEDS, ControlTask, shipped
from irlbench.problem import Budget
from irlbench.task import Score, TaskInfo

_SCORES = (
    Score("return", "undiscounted return per episode"),
    Score("length", "steps per episode"),
)
_PRELOAD = (
    "torch",
    "torch._dynamo",  # the first optimiser imports it, which takes a second
    "h5py",
    "stable_baselines3",
    "irlbench.envs.control.environments",
)
_SUPPLIES = frozenset({"demonstrations", "interaction", "expert_policy"})


def _task(
    id: str,
    *,
    expert: dict[str, Any],
    recorded: dict[str, Any],
    protocol: dict[str, Any],
    **declared: Any,
) -> ControlTask:
    """A control task whose references and expert's hash come from its folder of assets."""
    frozen = shipped(id.split("/", 1)[1])
    return ControlTask(
        TaskInfo(
            id=id,
            supplies=_SUPPLIES,
            scores=_SCORES,
            low="random",
            high="expert",
            references=frozen["references"],
            protocol={
                **protocol,
                "seeds": {split: SEEDS[split] for split in ("test", "validation")},
            },
            recipe={
                "expert": {**expert, "sha256": frozen["expert"]["sha256"]},
                "demonstrations": {**recorded, "seed": SEEDS["demonstrations"]},
            },
            **declared,
        )
    )


CARTPOLE = _task(
    "control/cartpole-v0",
    summary="balance a pole on a cart; the reward is 1 for every step that it stands",
    environment="CartPole-v1",
    actions="discrete",
    horizon=500,
    discount=0.99,
    protocol={"test": 50, "validation": 20, "reference_episodes": 50, "deterministic": True},
    expert={
        "solver": "ppo",
        # In full: the solver's defaults may change, this expert does not.
        "settings": {
            "steps": 50_000,
            "num_envs": 8,
            "rollout": 128,
            "batch_size": 128,
            "epochs": 10,
            "learning_rate": 1e-3,
            "gae_lambda": 0.95,
            "clip": 0.2,
            "entropy": 0.0,
            "value_weight": 0.5,
            "gradient_clip": 0.5,
            "hidden": [64, 64],
            "normalise": True,
        },
        "budget": {"steps": 50_000},
        "seed": 0,
    },
    recorded={"count": 50, "deterministic": True, "version": 1},
    demonstrations=1,
    budget=Budget(steps=50_000),
    preload=_PRELOAD,
    note="behavioural cloning and survival reach the expert here: it tells whether an "
    "implementation works, not which is better",
)

HOPPER = _task(
    "control/hopper-v0",
    summary="make a one-legged robot hop forward (MuJoCo)",
    environment="Hopper-v5",
    actions="continuous",
    horizon=1000,
    discount=0.99,
    protocol={"test": 20, "validation": 5, "reference_episodes": 50, "deterministic": True},
    expert={
        "trained_with": "stable-baselines3 2.9.2 SAC with its defaults, learning_starts 10000, "
        "250000 steps, seed 0, gymnasium 1.4.0, mujoco 4.0.0",
    },
    recorded={"count": 50, "deterministic": True, "version": 1},
    demonstrations=3,  # with ten, behavioural cloning is at 0.97 and leaves nothing to show
    budget=Budget(steps=100_000),
    preload=(*_PRELOAD, "mujoco", "gymnasium.envs.mujoco.hopper_v5", "scipy.special"),
)
