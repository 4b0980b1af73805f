"""What a gridworld task is: known dynamics, exact scores, an expert by a model of how it acts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from irlbench.envs.gridworld.experts import ExpertModel
from irlbench.envs.gridworld.protocol import (
    HIDDEN_STATE_PROTOCOL,
    PROTOCOL,
    REWARD_SCORES,
    SCORES,
)
from irlbench.errors import DataError, UsageError
from irlbench.problem import Budget, OpenProblem, Problem, StepMeter
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.registry import registry
from irlbench.reward import RewardFunction
from irlbench.serialisation import sha256_file
from irlbench.task import (
    Evaluator,
    Prepared,
    ProblemRequest,
    ShownSolution,
    Task,
    TaskFigure,
    TaskInfo,
    TaskOptions,
    read_references,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from irlbench.data.minari_store import DatasetSummary, Recording
    from irlbench.data.preferences import Preferences
    from irlbench.envs.gridworld.preferences import PreferencePool
    from irlbench.envs.gridworld.reward_evaluation import World
    from irlbench.envs.gridworld.tabular_environment import TabularVectorEnv
    from irlbench.envs.gridworld.tabular_model import TabularModel
    from irlbench.policies.table import TablePolicy
    from irlbench.policy import Policy
    from irlbench.tabular.dynamics import TabularDynamics

ASSETS = Path(__file__).parent / "assets"

_SUPPLIES = frozenset({"demonstrations", "interaction", "expert_policy"})
_KNOWN = frozenset({"dynamics", "features"})
#: The first seeds of the episodes in demonstrations, and in preferences.
_DEMONSTRATED, _COMPARED = EVALUATION_SEEDS + 2 * 10**6, EVALUATION_SEEDS + 3 * 10**6


class GridworldTask(Task):
    """A finite world, demonstrations of an expert in it, and exact scores.

    Args:
        name: The id's part between the slash and the version.
        version: The id's version.
        summary: One line.
        environment: Id of a registered environment of this package's: a map, or a world by name.
            Its parameters and time limit are the task's.
        discount: Of regret, of the expert unless it has its own, and of solvers that plan for ever.
        expert: How the demonstrator acts.
        pool: Episodes that demonstrations are drawn from.
        demonstrations: How many of them an algorithm gets unless asked otherwise.
        budget: What an algorithm may spend unless asked otherwise.
        preferences: How preferences are made, and how many an algorithm gets; None: there are none.
        transfer: Id of a task of the same states, actions and reward with other dynamics.
        hidden_state: Whether states are seen through an emission: then dynamics and features,
            which are of states, are not supplied.
        note: Shown in lists.
        assets: Folder of the frozen expert and references; None for the one of built-in tasks.
    """

    def __init__(
        self,
        *,
        name: str,
        version: int,
        summary: str,
        environment: str,
        discount: float,
        expert: ExpertModel,
        pool: int,
        demonstrations: int,
        budget: Budget,
        preferences: PreferencePool | None = None,
        transfer: str | None = None,
        hidden_state: bool = False,
        note: str | None = None,
        assets: Path | None = None,
    ) -> None:
        declared = gymnasium.spec(environment)
        if declared.max_episode_steps is None:
            raise UsageError(f"{environment} has no max_episode_steps: register it with some")
        self._world: Mapping[str, Any] = declared.kwargs
        self._preferences = preferences
        self._assets = ASSETS / f"{name}-v{version}" if assets is None else assets
        frozen = _frozen(self._assets / "references.json")
        supplies = _SUPPLIES if hidden_state else _SUPPLIES | _KNOWN
        compared = {} if preferences is None else {"preferences": preferences.recipe(_COMPARED)}
        self.info = TaskInfo(
            id=f"gridworld/{name}-v{version}",
            summary=summary,
            environment=environment,
            actions="discrete",
            horizon=declared.max_episode_steps,
            discount=discount,
            supplies=supplies | compared.keys(),
            # No policy but its own is at a finite distance from an expert that never errs.
            scores=SCORES if expert.temperature > 0 and not hidden_state else SCORES[:-1],
            low="random",
            high="expert",
            references=frozen["references"],
            protocol=HIDDEN_STATE_PROTOCOL if hidden_state else PROTOCOL,
            recipe={
                "version": 1,
                **_in_recipe(self._world),
                "expert": {**expert.recipe(), "sha256": frozen["expert"]["sha256"]},
                "demonstrator": "expert",
                "action_mode": "sample",
                "episodes": pool,
                "seed": _DEMONSTRATED,
                **compared,
            },
            demonstrations=demonstrations,
            preferences=None if preferences is None else preferences.given,
            budget=budget,
            # torch's optimisers import torch._dynamo when the first is made; it takes a second.
            preload=("h5py", "torch", "torch._dynamo"),
            note=note,
            transfer=transfer,
            reward_scores=REWARD_SCORES if transfer is not None else REWARD_SCORES[:-1],
        )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`: builds the pools of demonstrations and preferences."""
        self.refuse(options)
        _, summary = self._pool(home)
        built, compared = {"demonstrations": summary.content_hash}, None
        if self._preferences is not None:
            from irlbench.data.preference_store import ensure_preferences

            judged = ensure_preferences(home, *self._judged(), self._compare)
            built["preferences"], compared = judged.content_hash, judged.comparisons
        return Prepared(built=built, available=summary.episodes, available_preferences=compared)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""

        def demonstrations() -> Any:
            from irlbench.data.minari_store import read_dataset

            folder, _ = self._pool(home)
            return read_dataset(folder).draw(request.demonstrations, request.seed)

        def preferences() -> Any:
            from irlbench.data.preference_store import preference_folder, read_preferences

            # Read and never made here: that takes the true reward.
            folder = preference_folder(home, *self._judged())
            return read_preferences(folder).draw(request.preferences, request.seed)

        environment = self._environment(1)
        everything: dict[str, Callable[..., Any]] = {
            "demonstrations": demonstrations,
            "preferences": preferences,
            "interaction": self._environment,
            "dynamics": self._dynamics,
            "features": self._features,
            "expert_policy": self._demonstrator,
        }
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
            suppliers={name: everything[name] for name in self.info.supplies},
            meter=StepMeter(request.budget.steps),
        )

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        import numpy as np

        from irlbench.envs.gridworld.evaluation import GridworldEvaluator

        protocol, frozen = self.info.protocol, self.info.recipe["expert"]["sha256"]
        compared = frozen is not None and SCORES[-1] in self.info.scores
        return GridworldEvaluator(
            self._model(),
            self._dynamics(),
            self._expert() if compared else None,
            {
                "test": protocol["test_seed"] + np.arange(protocol["test_episodes"]),
                "validation": (
                    protocol["validation_seed"] + np.arange(protocol["validation_episodes"])
                ),
            },
            self._transfer_world(),
        )

    def expert_problem(self, seed: int, home: Path) -> OpenProblem:
        """See `Task.expert_problem`: states are known, and the dynamics are what it believes."""
        environment, expert = self._environment(1), self.info.recipe["expert"]
        discount = expert.get("discount", self.info.discount)
        model = self._model(expert.get("believes", {}))

        def believed() -> TabularDynamics:
            return model.dynamics(self.info.horizon, discount)

        return OpenProblem(
            task_id=self.id,
            world=self.world,
            observation_space=environment.single_observation_space,
            action_space=environment.single_action_space,
            horizon=self.info.horizon,
            discount=discount,
            track="reference",
            seed=seed,
            needs=frozenset({"dynamics", "interaction"}),
            suppliers={"dynamics": believed, "interaction": self._environment},
        )

    def hidden_files(self, options: TaskOptions, home: Path) -> tuple[Path, ...]:
        """See `Task.hidden_files`."""
        return (*super().hidden_files(options, home), self._assets)

    def true_reward(self) -> RewardFunction:
        """The reward of each state, state and action, or transition, as a table."""
        from irlbench.envs.gridworld.rewards import true_reward

        return true_reward(self._model(), self.info.discount)

    def figure(self, solutions: Sequence[ShownSolution]) -> TaskFigure | None:
        """See `Task.figure`; None at discount 1, where no reward has a canonical form."""
        if self.info.discount >= 1:
            return None
        from irlbench.envs.gridworld.drawing.figure import task_figure

        return task_figure(self.info, self._model(), self._demonstrator(), solutions)

    def _model(self, changed: Mapping[str, Any] | None = None) -> TabularModel:
        from irlbench.envs.gridworld.worlds import build_world

        return build_world(**{**self._world, **(changed or {})})

    def _dynamics(self) -> TabularDynamics:
        return self._model().dynamics(self.info.horizon, self.info.discount)

    def _transfer_world(self) -> World | None:
        """Where a reward that was learnt here is tried.

        Raises:
            UsageError: If that is no gridworld of as many states and actions.
        """
        from irlbench.envs.gridworld.reward_evaluation import World

        if self.info.transfer is None:
            return None
        other, model = registry().task(self.info.transfer), self._model()
        if not isinstance(other, GridworldTask):
            raise UsageError(f"{other.id}, the transfer task of {self.id}, is no gridworld")
        world = World(other._model(), other._dynamics())
        if (world.model.states, world.model.actions) != (model.states, model.actions):
            raise UsageError(
                f"{other.id} has {world.model.states} states and {world.model.actions} actions, "
                f"but {self.id}, whose transfer task it is, {model.states} and {model.actions}"
            )
        return world

    def _features(self) -> NDArray[np.float64]:
        import numpy as np

        model = self._model()
        return np.eye(model.states) if model.features is None else model.features

    def _environment(self, num_envs: int) -> TabularVectorEnv:
        from irlbench.envs.gridworld.tabular_environment import TabularVectorEnv

        return TabularVectorEnv(num_envs, self._model(), self.info.horizon)

    def _demonstrator(self) -> Policy:
        """The shipped expert, acting on what is observed."""
        emission = self._model().emission
        expert = self._expert()
        return expert if emission is None else emission.network(expert.log_probabilities)

    def _expert(self) -> TablePolicy:
        """The shipped expert, over states.

        Raises:
            DataError: If its files are not those that the task froze, or there are none yet.
        """
        from irlbench.policies.table import TablePolicy
        from irlbench.policy import load_policy

        wanted = self.info.recipe["expert"]["sha256"]
        if wanted is None:
            raise DataError(
                f"{self.id} has no expert in {self._assets}: make it with "
                f"`irlbench experts train {self.id} --out {self._assets}`"
            )
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
        recipe.pop("preferences", None)
        return ensure_dataset(home, self.id, recipe, self._record)

    def _judged(self) -> tuple[str, dict[str, Any]]:
        """Id and recipe of the preferences."""
        shared = ("version", "preferences", "expert", *_in_recipe(self._world))
        recipe = {"task": self.id, "horizon": self.info.horizon}
        recipe |= {name: self.info.recipe[name] for name in shared}
        return f"{self.id}/preferences", recipe

    def _compare(self) -> Preferences:
        """The pool of preferences, judged by the true reward."""
        assert self._preferences is not None
        return self._preferences.simulate(
            self._model(), self._expert(), self.info.horizon, _COMPARED
        )

    def _record(self) -> Recording:
        """The pool of demonstrations, from the expert and the recipe's seeds."""
        import numpy as np

        from irlbench.data.minari_store import Recording
        from irlbench.envs.gridworld.rollouts import roll_out

        recipe, horizon = self.info.recipe, self.info.horizon
        seeds = recipe["seed"] + np.arange(recipe["episodes"])
        rollout = roll_out(self._model(), self._demonstrator(), seeds, horizon)
        environment = self._environment(1)
        return Recording(
            episodes=rollout.episodes(),
            rewards=[r[:n] for r, n in zip(rollout.rewards, rollout.lengths, strict=True)],
            observation_space=environment.single_observation_space,
            action_space=environment.single_action_space,
        )


def _in_recipe(world: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of the world: of a map its SHA-256 and what else it takes."""
    if "layout" not in world:
        return {"world": dict(world)}
    return {**world, "layout": hashlib.sha256(world["layout"].encode()).hexdigest()}


def _frozen(path: Path) -> Mapping[str, Any]:
    """The references that ship with a task; of a task that has no expert yet, none."""
    if not path.exists():
        return {"references": {}, "expert": {"sha256": None}}
    return read_references(path, "expert")
