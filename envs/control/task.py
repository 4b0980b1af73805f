"""Control tasks: a Gymnasium environment, an expert that ships, and demonstrations made by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.envs.control.mixtures import Mixture
from irlbench.envs.control.preferences import PreferencePool
from irlbench.envs.control.recorded import FrozenDemonstrations, RecordedData
from irlbench.errors import DataError, UnknownNameError, UsageError
from irlbench.policy import Policy, load_policy
from irlbench.problem import OpenProblem, Problem, StepMeter
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.serialisation import sha256_file
from irlbench.task import (
    Evaluation,
    Evaluator,
    Prepared,
    ProblemRequest,
    Split,
    Task,
    TaskInfo,
    TaskOptions,
    read_references,
)

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.vector import VectorEnv

    from irlbench.data.building import BuildRequest
    from irlbench.data.named import Summary
    from irlbench.envs.control.reward_evaluation import HeldOut, RewardJudge
    from irlbench.reward import RewardFunction

ASSETS = Path(__file__).parent / "assets"
#: Where each use of evaluation seeds begins.
SEEDS = {
    "test": EVALUATION_SEEDS,
    "validation": EVALUATION_SEEDS + 10**6,
    "demonstrations": EVALUATION_SEEDS + 2 * 10**6,
    "mixture": EVALUATION_SEEDS + 3 * 10**6,
    "preferences": EVALUATION_SEEDS + 4 * 10**6,
}
#: Steps of a compared segment where the reward says something within so few.
_SEGMENT = 50


def shipped(name: str) -> dict[str, Any]:
    """The frozen references of a task, and what is recorded of its expert.

    Args:
        name: `<task>-v<N>`, the name of its folder of assets.

    Returns:
        `references.json`; without references where the task has no expert yet.
    """
    path = ASSETS / name / "references.json"
    if not path.exists():
        return {"references": {}, "expert": {"sha256": None}}
    return read_references(path, "expert")


def shortfall(
    references: Mapping[str, Mapping[str, float]], bar: float, where: str = ""
) -> str | None:
    """A note on an expert whose mean return is below what it should be, or None.

    Args:
        references: The frozen scores of the task's references.
        bar: What the mean return should be at least.
        where: The task that they are of, where it is another than the one that is noted.
    """
    expert = references.get("expert")
    if expert is None or expert["return"] >= bar:
        return None
    return (
        f"its expert falls short: it returns {expert['return']:,.0f} ± "
        f"{expert['return_error']:,.0f} over {expert['episodes']:.0f} episodes"
        f"{where and f' of {where}'}, and {bar:,.0f} was wanted"
    )


def _checked(folder: Path, name: str, frozen: str, what: str) -> Policy:
    """A policy that ships, if its weights are those that something is frozen for."""
    policy = load_policy(folder, name)
    found = sha256_file(folder / f"{name}.safetensors")
    if found != frozen:
        raise DataError(
            f"has SHA-256 {found[:12]}, but {what} are frozen for {str(frozen)[:12]}: restore the "
            "file that ships",
            file=f"{folder.name}/{name}.safetensors",
        )
    return policy


class ControlTask(Task):
    """A task on one of Gymnasium's control environments.

    Beside the expert's demonstrations it supplies what behaviours of mixed quality did: as
    `offline_transitions`, and as preferences over segments.

    Args:
        info: What it declares. `info.recipe["demonstrations"]` holds `count` and `deterministic`,
            `info.protocol` the numbers of episodes. How the mixture and the preferences are made
            is added to the recipe here.
        training: How `irlbench experts train` makes an expert: "solver", "settings", "budget",
            "seed". What ships may have been made otherwise: `info.recipe["expert"]` says how.
        mixture: How the set of mixed quality is made.
        preferences: How preferences are made, and how many an algorithm gets. None: over segments
            of 50 steps, and over whole episodes where actions are discrete (the reward of the
            classic tasks is the same in every step, so that equally long segments would all tie).
    """

    def __init__(
        self,
        info: TaskInfo,
        training: Mapping[str, Any],
        *,
        mixture: Mixture | None = None,
        preferences: PreferencePool | None = None,
    ) -> None:
        segment = info.horizon if info.actions == "discrete" else _SEGMENT
        mixed, compared = mixture or Mixture(), preferences or PreferencePool(segment=segment)
        self.info = replace(
            info,
            supplies=info.supplies | {"offline_transitions", "preferences"},
            recipe={
                **info.recipe,
                "mixture": mixed.recipe(SEEDS["mixture"]),
                "preferences": compared.recipe(SEEDS["preferences"]),
            },
            preferences=compared.given,
        )
        self._training = training
        self._assets = ASSETS / info.id.split("/", 1)[1]
        self._recorded = RecordedData(self.info, self.expert, mixed, compared, self.frozen)

    def expert(self) -> Policy:
        """The expert that ships, its weights checked against the frozen hash.

        Raises:
            UsageError: If there is none yet.
            DataError: If it is missing, or another than the references were measured for.
        """
        self._require_expert()
        frozen = self.info.recipe["expert"]["sha256"]
        return _checked(self._expert_folder, "expert", frozen, f"the references of {self.id}")

    def graded(self, grade: str) -> Policy:
        """A policy of another grade that ships beside the expert, checked as that one is.

        Args:
            grade: A name in `grades()`.

        Raises:
            UsageError: If there is none of that name.
            DataError: If it is missing, or another than its scores were measured for.
        """
        frozen = self.grades()
        if grade not in frozen:
            raise UnknownNameError(f"grade of {self.id}", grade, frozen)
        return _checked(self._assets, grade, frozen[grade]["sha256"], f"the scores of {self.id}")

    def grades(self) -> Mapping[str, Any]:
        """The policies that ship beside the expert: name to "sha256", "recipe" and "scores"."""
        grades: Mapping[str, Any] = shipped(self._assets.name).get("policies", {})
        return grades

    @property
    def frozen(self) -> FrozenDemonstrations | None:
        """The expert's demonstrations, where they ship beside it; None: they are recorded here."""
        found = shipped(self._assets.name).get("demonstrations")
        if found is None:
            return None
        return FrozenDemonstrations(self._assets / "demonstrations.npz", found["content_hash"])

    @property
    def _expert_folder(self) -> Path:
        """Where its expert's file is: with another task where it is that one's."""
        owner = self.info.recipe["expert"].get("policy_of", self.id)
        return self._assets.with_name(owner.split("/", 1)[1])

    def _require_expert(self) -> None:
        if self.info.lacks is not None:
            raise UsageError(f"{self.id} is not ready: {self.info.lacks}")

    def spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """See `Task.spaces`."""
        from irlbench.envs.control.environments import make_one

        env = make_one(self.info.environment)
        env.close()
        return env.observation_space, env.action_space

    def drawn_environment(self) -> gymnasium.Env[Any, Any]:
        """See `Task.drawn_environment`."""
        from irlbench.envs.control.environments import make_drawn

        return make_drawn(self.info.environment)

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`. Builds what it supplies, or finds what the user brought."""
        from irlbench.data.minari_store import DatasetSummary
        from irlbench.data.named import named
        from irlbench.data.preference_store import PreferenceSummary

        self.refuse(options, "demos")
        self._require_expert()
        brought = None if options.demos is None else named(self.id, options.demos, home).summary
        built = {"offline_transitions": self._recorded.ensure_mixed(home).content_hash}
        given, anchors = {}, {}
        if isinstance(brought, DatasetSummary):
            shown, given["demonstrations"] = brought, brought.content_hash
            anchors["demonstrator"] = dict(brought.demonstrator)
            if "clipped" in brought.recipe:
                share = brought.recipe["clipped"]["fraction"]
                anchors["demonstrator"]["clipped_fraction"] = share
        else:
            shown = self._recorded.ensure_demonstrations(home)
            built["demonstrations"] = shown.content_hash
        if isinstance(brought, PreferenceSummary):
            judged, given["preferences"] = brought, brought.content_hash
        else:
            judged = self._recorded.ensure_preferences(home)
            built["preferences"] = judged.content_hash
        return Prepared(
            given=given,
            built=built,
            anchors=anchors,
            available=shown.episodes,
            available_preferences=judged.comparisons,
        )

    def build(self, request: BuildRequest, home: Path) -> Summary:
        """See `Task.build`."""
        self._require_expert()
        return self._recorded.build(request, home)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`. Sets are read and never made here: that takes the true reward."""
        from irlbench.data.minari_store import DatasetSummary, built_folder, read_dataset
        from irlbench.data.named import named
        from irlbench.data.preference_store import (
            PreferenceSummary,
            preference_folder,
            read_preferences,
        )

        name, recorded = request.options.demos, self._recorded

        def folder_of(kind: type[Summary], own: Path) -> Path:
            brought = None if name is None else named(self.id, name, home)
            return brought.folder if brought and isinstance(brought.summary, kind) else own

        def demonstrations() -> Any:
            folder = folder_of(DatasetSummary, built_folder(home, *recorded.demonstrations))
            return read_dataset(folder).draw(request.demonstrations, request.seed)

        def preferences() -> Any:
            own = preference_folder(home, *recorded.preferences)
            folder = folder_of(PreferenceSummary, own)
            return read_preferences(folder).draw(request.preferences, request.seed)

        def offline_transitions() -> Any:
            return read_dataset(built_folder(home, *recorded.mixed)).transitions()

        observation_space, action_space = self.spaces()
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=observation_space,
            action_space=action_space,
            horizon=self.info.horizon,
            discount=self.info.discount,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers={
                "demonstrations": demonstrations,
                "preferences": preferences,
                "offline_transitions": offline_transitions,
                "interaction": self._batch,
                "expert_policy": self.expert,
            },
            meter=StepMeter(request.budget.steps),
        )

    def hidden_files(self, options: TaskOptions, home: Path) -> tuple[Path, ...]:
        """See `Task.hidden_files`."""
        return (*super().hidden_files(options, home), self._assets, self._expert_folder)

    def _batch(self, rows: int) -> VectorEnv[Any, Any, Any]:
        from irlbench.envs.control.environments import make_batch

        return make_batch(self.info.environment, rows)

    def evaluator(self, options: TaskOptions, home: Path) -> ControlEvaluator:
        """See `Task.evaluator`."""
        return ControlEvaluator(self.info, lambda: self._recorded.ensure_held_out(home))

    def expert_recipe(self) -> Mapping[str, Any]:
        """See `Task.expert_recipe`."""
        return self._training

    def expert_problem(self, seed: int, home: Path) -> OpenProblem:
        """See `Task.expert_problem`."""
        observation_space, action_space = self.spaces()
        return OpenProblem(
            task_id=self.id,
            world=self.world,
            observation_space=observation_space,
            action_space=action_space,
            horizon=self.info.horizon,
            discount=self.info.discount,
            track="reference",
            seed=seed,
            needs=frozenset({"interaction"}),
            suppliers={"interaction": self._batch},
        )


class ControlEvaluator(Evaluator):
    """Runs policies in the true environment, in deterministic mode, on evaluation seeds.

    Args:
        info: The task's.
        held_out: Gives the episodes that recovered rewards are judged on; made when first asked.
    """

    def __init__(self, info: TaskInfo, held_out: Callable[[], HeldOut]) -> None:
        self._info, self._held_out = info, held_out
        self._run = partial(
            _evaluate,
            info.environment,
            deterministic=info.protocol["deterministic"],
            horizon=info.horizon,
        )

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See `Evaluator.evaluate`."""
        return self._run(policy, self._info.protocol["seeds"][split], self._info.protocol[split])

    def reference(self, policy: Policy) -> Evaluation:
        """See `Evaluator.reference`."""
        first = self._info.protocol["seeds"]["test"]
        return self._run(policy, first, self._info.protocol["reference_episodes"])

    def evaluate_reward(self, reward: RewardFunction) -> Mapping[str, float]:
        """See `Evaluator.evaluate_reward`."""
        return self._judge.scores(reward)

    @cached_property
    def _judge(self) -> RewardJudge:
        from irlbench.envs.control.reward_evaluation import RewardJudge
        from irlbench.envs.control.true_rewards import is_constant, observed_reward

        environment = self._info.environment
        return RewardJudge(
            self._held_out(),
            observed_reward(environment),
            discount=self._info.discount,
            # Segments of a constant reward would all tie.
            segment=self._info.horizon if is_constant(environment) else _SEGMENT,
            names=frozenset(score.name for score in self._info.reward_scores),
        )


def _evaluate(
    environment: str, policy: Policy, first: int, count: int, *, deterministic: bool, horizon: int
) -> Evaluation:
    from irlbench.envs.control.rollouts import run_episodes

    done = run_episodes(
        environment,
        policy,
        range(first, first + count),
        deterministic=deterministic,
        horizon=horizon,
    )
    return Evaluation(
        scores={"return": float(done.returns.mean()), "length": float(done.lengths.mean())},
        episodes={
            "return": [float(x) for x in done.returns],
            "length": [float(x) for x in done.lengths],
        },
    )
