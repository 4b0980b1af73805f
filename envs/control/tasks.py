"""The control tasks. Nothing heavy is imported: `irlbench list` reads this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irlbench.envs.control.protocol import reward_scores
from irlbench.envs.control.task import SEEDS, ControlTask, shipped, shortfall
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
#: Mean return that an expert should reach at least; one that does not is noted.
BARS: Mapping[str, float] = {
    "control/cartpole-v0": 500.0,
    "control/acrobot-v0": -80.0,
    "control/pendulum-v0": -170.0,
    "control/hopper-v0": 3_200.0,
    "control/halfcheetah-v0": 6_000.0,
    "control/walker2d-v0": 4_000.0,
    "control/ant-v0": 4_000.0,
    "control/humanoid-v0": 5_000.0,
}
_SUPPLIES = frozenset({"demonstrations", "interaction", "expert_policy"})


def _task(
    id: str,
    *,
    training: Mapping[str, Any],
    recorded: dict[str, Any],
    protocol: dict[str, Any],
    note: str | None = None,
    **declared: Any,
) -> ControlTask:
    """A control task whose references, expert and its recipe come from its folder of assets.

    Args:
        id: `control/<name>-v<N>`.
        training: How `irlbench experts train` makes an expert.
        recorded: How demonstrations are recorded.
        protocol: Numbers of episodes and the mode of acting.
        note: What else is to be said of it.
        **declared: The rest of its `TaskInfo`.
    """
    frozen = shipped(id.split("/", 1)[1])
    ready = "expert" in frozen["references"]
    return ControlTask(
        TaskInfo(
            id=id,
            supplies=_SUPPLIES,
            scores=_SCORES,
            reward_scores=reward_scores(declared["environment"]),
            low="random",
            high="expert",
            references=frozen["references"],
            protocol={
                **protocol,
                "seeds": {split: SEEDS[split] for split in ("test", "validation")},
            },
            recipe={
                "expert": {
                    **frozen["expert"].get("recipe", {}),
                    "sha256": frozen["expert"]["sha256"],
                },
                "demonstrations": {**recorded, "seed": SEEDS["demonstrations"]},
            },
            note="; ".join(filter(None, [note, _short(id, frozen["expert"].get("recipe", {}))]))
            or None,
            lacks=None if ready else f"its expert is not made yet (irlbench experts train {id})",
            **declared,
        ),
        training,
    )


def _short(id: str, recipe: Mapping[str, Any]) -> str | None:
    """The note on an expert that falls short of the bar of the task that it was made for."""
    owner = recipe.get("policy_of", id)
    if owner not in BARS:
        return None
    references = shipped(owner.split("/", 1)[1])["references"]
    return shortfall(references, BARS[owner], "" if owner == id else owner)


_PPO = {
    # In full: the solver's defaults may change, experts do not.
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
}
_RECORDED = {"count": 50, "deterministic": True, "version": 1}


_SAC = {
    # Those of Haarnoja et al. (2018), second version; one update per step.
    "num_envs": 1,
    "actor_critic_hidden": [256, 256],
    "batch_size": 256,
    "buffer": 1_000_000,
    "random_steps": 10_000,
    "critics": 2,
    "actor_learning_rate": 3e-4,
    "critic_learning_rate": 3e-4,
    "critic_target_rate": 0.005,
    "temperature": 1.0,
    "learn_temperature": True,
    "temperature_learning_rate": 3e-4,
    "entropy_per_action": -1.0,
    "precision": "float32",
}


def _ppo(steps: int, *, seed: int = 0) -> dict[str, Any]:
    """Training by `ppo` over so many steps."""
    return _training("ppo", {**_PPO, "steps": steps}, steps, seed)


def _sac(steps: int, **changes: Any) -> dict[str, Any]:
    """Training by `sac` over so many steps."""
    return _training("sac", {**_SAC, "steps": steps, **changes}, steps, 0)


def _training(solver: str, settings: dict[str, Any], steps: int, seed: int) -> dict[str, Any]:
    return {"solver": solver, "settings": settings, "budget": {"steps": steps}, "seed": seed}


def _classic(id: str, **declared: Any) -> ControlTask:
    """A task on a classic environment: small and quick."""
    return _task(
        id,
        discount=0.99,
        protocol={"test": 50, "validation": 20, "reference_episodes": 50, "deterministic": True},
        recorded=_RECORDED,
        budget=Budget(steps=50_000),
        preload=_PRELOAD,
        **declared,
    )


def _mujoco(id: str, *, module: str, **declared: Any) -> ControlTask:
    """A task on one of Gymnasium's MuJoCo environments; trials import its module."""
    return _task(
        id,
        actions="continuous",
        horizon=1000,
        discount=0.99,
        protocol={"test": 20, "validation": 5, "reference_episodes": 50, "deterministic": True},
        recorded=_RECORDED,
        # With ten, behavioural cloning is at 0.97 on Hopper and leaves nothing to show.
        demonstrations=3,
        budget=Budget(steps=150_000),
        preload=(*_PRELOAD, "mujoco", f"gymnasium.envs.mujoco.{module}", "scipy.special"),
        **declared,
    )


CARTPOLE = _classic(
    "control/cartpole-v0",
    summary="balance a pole on a cart; the reward is 1 for every step that it stands",
    environment="CartPole-v1",
    actions="discrete",
    horizon=500,
    training=_ppo(50_000),
    demonstrations=1,
    note="behavioural cloning and survival reach the expert here: it tells whether an "
    "implementation works, not which is better",
)

ACROBOT = _classic(
    "control/acrobot-v0",
    summary="swing a two-link arm up above a line; every step until then costs 1",
    environment="Acrobot-v1",
    actions="discrete",
    horizon=500,
    training=_ppo(150_000),
    demonstrations=1,
)

PENDULUM = _classic(
    "control/pendulum-v0",
    summary="swing a pendulum up and hold it there with little torque",
    environment="Pendulum-v1",
    actions="continuous",
    horizon=200,
    training=_sac(
        8_000,
        random_steps=500,
        actor_critic_hidden=[64, 64],
        actor_learning_rate=1e-3,
        critic_learning_rate=1e-3,
        temperature_learning_rate=1e-3,
    ),
    demonstrations=3,
)

HOPPER = _mujoco(
    "control/hopper-v0",
    summary="make a one-legged robot hop forward (MuJoCo)",
    environment="Hopper-v5",
    module="hopper_v5",
    training=_sac(1_000_000),
)

HALFCHEETAH = _mujoco(
    "control/halfcheetah-v0",
    summary="make a flat two-legged animal run (MuJoCo)",
    environment="HalfCheetah-v5",
    module="half_cheetah_v5",
    training=_sac(1_000_000),
)

WALKER2D = _mujoco(
    "control/walker2d-v0",
    summary="make a flat two-legged robot walk (MuJoCo)",
    environment="Walker2d-v5",
    module="walker2d_v5",
    training=_sac(1_000_000),
)

ANT = _mujoco(
    "control/ant-v0",
    summary="make a four-legged robot run (MuJoCo)",
    environment="Ant-v5",
    module="ant_v5",
    training=_sac(1_000_000),
    transfer="control/ant-transfer-v0",
)

HUMANOID = _mujoco(
    "control/humanoid-v0",
    summary="make a humanoid walk without falling (MuJoCo)",
    environment="Humanoid-v5",
    module="humanoid_v5",
    training=_sac(2_000_000),
)

# --- variants that never end: the length of an episode tells nothing

_FALLS = "; it may fall, and the episode goes on (MuJoCo)"

CARTPOLE_FIXED = _classic(
    "control/cartpole-fixed-v0",
    summary="balance a pole on a cart for 500 steps; it may fall, and be caught again",
    environment="irlbench/CartPoleFixed-v0",
    actions="discrete",
    horizon=500,
    training=_ppo(50_000),
    demonstrations=1,
)

HOPPER_FIXED = _mujoco(
    "control/hopper-fixed-v0",
    summary=f"make a one-legged robot hop forward{_FALLS}",
    environment="irlbench/HopperFixed-v0",
    module="hopper_v5",
    training=_sac(1_000_000),
)

WALKER2D_FIXED = _mujoco(
    "control/walker2d-fixed-v0",
    summary=f"make a flat two-legged robot walk{_FALLS}",
    environment="irlbench/Walker2dFixed-v0",
    module="walker2d_v5",
    training=_sac(1_000_000),
)

ANT_FIXED = _mujoco(
    "control/ant-fixed-v0",
    summary=f"make a four-legged robot run{_FALLS}",
    environment="irlbench/AntFixed-v0",
    module="ant_v5",
    training=_sac(1_000_000),
)

HUMANOID_FIXED = _mujoco(
    "control/humanoid-fixed-v0",
    summary=f"make a humanoid walk{_FALLS}",
    environment="irlbench/HumanoidFixed-v0",
    module="humanoid_v5",
    training=_sac(2_000_000),
)

# --- transfer: the same states, actions and reward, and other dynamics

ANT_TRANSFER = _mujoco(
    "control/ant-transfer-v0",
    summary="make a four-legged robot run of whose legs two are disabled (MuJoCo)",
    environment="irlbench/AntTransfer-v0",
    module="ant_v5",
    training=_sac(1_000_000),
)

POINT_MAZE = _classic(
    "control/point-maze-v0",
    summary="steer a point around a barrier to a goal; the opening is on the right",
    environment="irlbench/PointMaze-v0",
    actions="continuous",
    horizon=100,
    training=_ppo(200_000),
    demonstrations=5,
    transfer="control/point-maze-transfer-v0",
)

POINT_MAZE_TRANSFER = _classic(
    "control/point-maze-transfer-v0",
    summary="steer a point around a barrier to a goal; the opening is on the left",
    environment="irlbench/PointMazeTransfer-v0",
    actions="continuous",
    horizon=100,
    training=_ppo(200_000, seed=1),  # with seed 0 it stays below the barrier
    demonstrations=5,
)
