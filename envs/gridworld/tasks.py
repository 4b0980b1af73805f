"""Gridworld tasks: known dynamics, exact scores, a maximum-causal-entropy expert."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.envs.gridworld import ENVIRONMENTS
from irlbench.errors import DataError
from irlbench.problem import Budget, OpenProblem, Problem, StepMeter
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.reward import RewardFunction
from irlbench.serialisation import sha256_file
from irlbench.task import (
    Evaluator,
    Prepared,
    ProblemRequest,
    Score,
    Task,
    TaskInfo,
    TaskOptions,
)

if TYPE_CHECKING:
    from irlbench.data.minari_store import DatasetSummary, Recording
    from irlbench.dynamics import TabularDynamics
    from irlbench.envs.gridworld.environment import GridworldVectorEnv
    from irlbench.envs.gridworld.model import GridworldModel
    from irlbench.policies.table import TablePolicy

ASSETS = Path(__file__).parent / "assets"

_SCORES = (
    Score("return", "reward per episode, undiscounted over the horizon; exact"),
    Score("length", "steps per episode"),
    Score(
        "regret",
        "discounted return over the horizon that the best policy gets beyond this one; exact",
        higher_is_better=False,
    ),
    Score(
        "kl_to_expert",
        "KL(policy || expert) per step, in nats, over the states that the policy visits",
        higher_is_better=False,
    ),
)
_PROTOCOL: Mapping[str, Any] = {
    "scores": "exact where the policy's distribution is known, else sampled",
    "action_mode": "sample",
    "test_episodes": 100,
    "test_seed": EVALUATION_SEEDS,
    "validation_episodes": 50,
    "validation_seed": EVALUATION_SEEDS + 10**6,
}


class GridworldTask(Task):
    """A gridworld, demonstrations of its soft-optimal expert, and exact scores.

    Args:
        name: The id's part between the slash and the version.
        version: The id's version.
        summary: One line.
        environment: Gymnasium id of one of `ENVIRONMENTS`: it gives map, slip and horizon.
        discount: Of the expert, of regret, and of solvers that plan for ever.
        temperature: Of the expert: it maximises E[sum_t gamma^t (r_t + tau H(pi(.|s_t)))].
        pool: Episodes that demonstrations are drawn from.
        demonstrations: How many of them an algorithm gets unless asked otherwise.
        budget: What an algorithm may spend unless asked otherwise.
    """

    def __init__(
        self,
        *,
        name: str,
        version: int,
        summary: str,
        environment: str,
        discount: float,
        temperature: float,
        pool: int,
        demonstrations: int,
        budget: Budget,
    ) -> None:
        declared = {arguments["id"]: arguments for arguments in ENVIRONMENTS}[environment]
        self._layout: str = declared["kwargs"]["layout"]
        self._slip: float = declared["kwargs"]["slip"]
        self._assets = ASSETS / f"{name}-v{version}"
        frozen = _frozen(self._assets / "references.json")
        self.info = TaskInfo(
            id=f"gridworld/{name}-v{version}",
            summary=summary,
            environment=environment,
            actions="discrete",
            horizon=declared["max_episode_steps"],
            discount=discount,
            supplies=frozenset(
                {"demonstrations", "interaction", "dynamics", "features", "expert_policy"}
            ),
            scores=_SCORES,
            low="random",
            high="expert",
            references=frozen["references"],
            protocol=_PROTOCOL,
            recipe={
                "version": 1,
                "layout": hashlib.sha256(self._layout.encode()).hexdigest(),
                "slip": self._slip,
                "expert": {
                    "solver": "soft-value-iteration",
                    "settings": {"temperature": temperature},
                    "sha256": frozen["expert"]["sha256"],
                },
                "demonstrator": "expert",
                "action_mode": "sample",
                "episodes": pool,
                "seed": EVALUATION_SEEDS + 2 * 10**6,
            },
            demonstrations=demonstrations,
            budget=budget,
            # torch's optimisers import torch._dynamo when the first is made; it takes a second.
            preload=("h5py", "torch", "torch._dynamo"),
        )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`: builds the pool of demonstrations."""
        self.refuse(options)
        _, summary = self._pool(home)
        return Prepared(built={"demonstrations": summary.content_hash}, available=summary.episodes)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""

        def demonstrations() -> Any:
            from irlbench.data.minari_store import read_dataset

            folder, _ = self._pool(home)
            return read_dataset(folder).draw(request.demonstrations, request.seed)

        model = self._model()
        environment = self._environment(1)
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=environment.single_observation_space,
            action_space=environment.single_action_space,
            horizon=self.info.horizon,
            discount=self.info.discount,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={
                "demonstrations": demonstrations,
                "interaction": self._environment,
                "dynamics": self._dynamics,
                "features": lambda: _one_hot(model.states),
                "expert_policy": self._expert,
            },
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        import numpy as np

        from irlbench.envs.gridworld.evaluation import GridworldEvaluator

        protocol, frozen = self.info.protocol, self.info.recipe["expert"]["sha256"]
        return GridworldEvaluator(
            self._model(),
            self._dynamics(),
            self._expert() if frozen is not None else None,
            {
                "test": protocol["test_seed"] + np.arange(protocol["test_episodes"]),
                "validation": (
                    protocol["validation_seed"] + np.arange(protocol["validation_episodes"])
                ),
            },
        )

    def expert_problem(self, seed: int, home: Path) -> OpenProblem:
        """See `Task.expert_problem`."""
        environment = self._environment(1)
        return OpenProblem(
            task_id=self.id,
            world=self.world,
            observation_space=environment.single_observation_space,
            action_space=environment.single_action_space,
            horizon=self.info.horizon,
            discount=self.info.discount,
            track="reference",
            seed=seed,
            needs=frozenset({"dynamics", "interaction"}),
            suppliers={"dynamics": self._dynamics, "interaction": self._environment},
        )

    def true_reward(self) -> RewardFunction:
        """The reward of each cell, as a table."""
        from irlbench.rewards.table import TableReward

        return TableReward(self._model().rewards, discount=self.info.discount)

    def _model(self) -> GridworldModel:
        from irlbench.envs.gridworld.model import gridworld_model

        return gridworld_model(self._layout, self._slip)

    def _dynamics(self) -> TabularDynamics:
        return self._model().dynamics(self.info.horizon, self.info.discount)

    def _environment(self, num_envs: int) -> GridworldVectorEnv:
        from irlbench.envs.gridworld.environment import GridworldVectorEnv

        return GridworldVectorEnv(num_envs, self._layout, self._slip, self.info.horizon)

    def _expert(self) -> TablePolicy:
        """The shipped expert.

        Raises:
            DataError: If its files are not those that the task froze.
        """
        from irlbench.policies.table import TablePolicy
        from irlbench.policy import load_policy

        wanted = str(self.info.recipe["expert"]["sha256"])
        policy = load_policy(self._assets, "expert")
        found = sha256_file(self._assets / "expert.safetensors")
        if found != wanted:
            raise DataError(
                f"SHA-256 {found[:12]} where {self.id} froze {wanted[:12]}: reinstall irlbench",
                file=f"{self._assets.name}/expert.safetensors",
            )
        assert isinstance(policy, TablePolicy)
        return policy

    def _pool(self, home: Path) -> tuple[Path, DatasetSummary]:
        from irlbench.data.minari_store import ensure_dataset

        recipe = {"task": self.id, **self.info.recipe}
        return ensure_dataset(home, self.id, recipe, self._record)

    def _record(self) -> Recording:
        """The pool of demonstrations, from the expert and the recipe's seeds."""
        import numpy as np

        from irlbench.data.demonstrations import Episode
        from irlbench.data.minari_store import Recording
        from irlbench.envs.gridworld.evaluation import roll_out

        recipe, horizon = self.info.recipe, self.info.horizon
        seeds = recipe["seed"] + np.arange(recipe["episodes"])
        rollout = roll_out(self._model(), self._expert(), seeds, horizon)
        last = np.arange(horizon) == horizon - 1
        environment = self._environment(1)
        return Recording(
            episodes=[
                Episode(observations, actions, np.zeros(horizon, dtype=bool), last)
                for observations, actions in zip(rollout.observations, rollout.actions, strict=True)
            ],
            rewards=list(rollout.rewards),
            observation_space=environment.single_observation_space,
            action_space=environment.single_action_space,
        )


def _one_hot(states: int) -> Any:
    """One feature per state: float64 `[states, states]`."""
    import numpy as np

    return np.eye(states)


def _frozen(path: Path) -> Mapping[str, Any]:
    """The references that ship with a task; of a task that has no expert yet, none."""
    if not path.exists():
        return {"references": {}, "expert": {"sha256": None}}
    frozen: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return frozen


FOUR_ROOMS = GridworldTask(
    name="four-rooms",
    version=0,
    summary="four rooms, 104 cells, slip 0.1; +1 for every step in the goal hallway",
    environment="irlbench/FourRooms-v0",
    discount=0.99,
    temperature=0.3,
    pool=200,
    demonstrations=20,
    budget=Budget(steps=100_000),
)
