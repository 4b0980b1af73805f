"""Control tasks: a Gymnasium environment, an expert that ships, and demonstrations made by it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.errors import DataError, UsageError
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

    from irlbench.data.minari_store import Recording

ASSETS = Path(__file__).parent / "assets"
#: Where each use of evaluation seeds begins.
SEEDS = {
    "test": EVALUATION_SEEDS,
    "validation": EVALUATION_SEEDS + 10**6,
    "demonstrations": EVALUATION_SEEDS + 2 * 10**6,
}


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


def shortfall(references: Mapping[str, Mapping[str, float]], bar: float) -> str | None:
    """A note on an expert whose mean return is below what it should be, or None.

    Args:
        references: The frozen scores of the task's references.
        bar: What the mean return should be at least.
    """
    expert = references.get("expert")
    if expert is None or expert["return"] >= bar:
        return None
    return (
        f"its expert falls short: it returns {expert['return']:,.0f} ± "
        f"{expert['return_error']:,.0f} over {expert['episodes']:.0f} episodes, and {bar:,.0f} "
        "was wanted"
    )


class ControlTask(Task):
    """A task on one of Gymnasium's control environments.

    Args:
        info: What it declares. `info.recipe["demonstrations"]` holds `count` and `deterministic`,
            `info.protocol` the numbers of episodes.
        training: How `irlbench experts train` makes an expert: "solver", "settings", "budget",
            "seed". What ships may have been made otherwise: `info.recipe["expert"]` says how.
    """

    def __init__(self, info: TaskInfo, training: Mapping[str, Any]) -> None:
        self.info, self._training = info, training
        self._assets = ASSETS / info.id.split("/", 1)[1]

    def expert(self) -> Policy:
        """The expert that ships, its weights checked against the frozen hash.

        Raises:
            UsageError: If there is none yet.
            DataError: If it is missing, or another than the references were measured for.
        """
        self._require_expert()
        policy = load_policy(self._assets, "expert")
        found = sha256_file(self._assets / "expert.safetensors")
        frozen = self.info.recipe["expert"]["sha256"]
        if found != frozen:
            raise DataError(
                f"has SHA-256 {found[:12]}, but the references of {self.id} are frozen for "
                f"{str(frozen)[:12]}: restore the file that ships",
                file=f"{self._assets.name}/expert.safetensors",
            )
        return policy

    def _require_expert(self) -> None:
        if self.info.lacks is not None:
            raise UsageError(f"{self.id} is not ready: {self.info.lacks}")

    def spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """See `Task.spaces`."""
        from irlbench.envs.control.environments import make_one

        env = make_one(self.info.environment)
        env.close()
        return env.observation_space, env.action_space

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`. Builds the demonstrations, or finds the imported ones."""
        from irlbench.data.importing import imported
        from irlbench.data.minari_store import ensure_dataset

        self.refuse(options, "demos")
        self._require_expert()
        if options.demos is not None:
            _, summary = imported(self.id, options.demos, home)
            demonstrator = dict(summary.demonstrator)
            if "clipped" in summary.recipe:
                demonstrator["clipped_fraction"] = summary.recipe["clipped"]["fraction"]
            return Prepared(
                given={"demonstrations": summary.content_hash},
                anchors={"demonstrator": demonstrator},
                available=summary.episodes,
            )
        _, summary = ensure_dataset(home, self._dataset, self._recipe, self._record)
        return Prepared(built={"demonstrations": summary.content_hash}, available=summary.episodes)

    @property
    def _dataset(self) -> str:
        return f"{self.id}/expert"

    @property
    def _recipe(self) -> dict[str, Any]:
        return {
            "demonstrator": "expert",
            "environment": self.info.environment,
            "horizon": self.info.horizon,
            **self.info.recipe,
        }

    def _record(self) -> Recording:
        from irlbench.envs.control.rollouts import run_episodes

        how = self.info.recipe["demonstrations"]
        done = run_episodes(
            self.info.environment,
            self.expert(),
            range(how["seed"], how["seed"] + how["count"]),
            deterministic=how["deterministic"],
            horizon=self.info.horizon,
            record=True,
        )
        assert done.recording is not None
        return done.recording

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""
        from irlbench.data.importing import imported
        from irlbench.data.minari_store import built_folder, read_dataset

        name = request.options.demos
        if name is not None:
            folder = imported(self.id, name, home)[0]
        else:
            folder = built_folder(home, self._dataset, self._recipe)

        def demonstrations() -> Any:
            return read_dataset(folder).draw(request.demonstrations, request.seed)

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
                "interaction": self._batch,
                "expert_policy": self.expert,
            },
            meter=StepMeter(request.budget.steps),
        )

    def hidden_files(self, options: TaskOptions, home: Path) -> tuple[Path, ...]:
        """See `Task.hidden_files`."""
        return (*super().hidden_files(options, home), self._assets)

    def _batch(self, rows: int) -> VectorEnv[Any, Any, Any]:
        from irlbench.envs.control.environments import make_batch

        return make_batch(self.info.environment, rows)

    def evaluator(self, options: TaskOptions, home: Path) -> ControlEvaluator:
        """See `Task.evaluator`."""
        return ControlEvaluator(self.info)

    def expert_recipe(self) -> Mapping[str, Any]:
        """See `Task.expert_recipe`."""
        return self._training

    def expert_problem(self, seed: int, home: Path) -> OpenProblem:
        """See `Task.expert_problem`."""
        if not self._training:
            made = self.info.recipe["expert"].get("trained_with")
            if made is None:
                raise UsageError(f"{self.id} has no recipe for an expert yet")
            raise UsageError(
                f"the expert of {self.id} was not made by a solver of irlbench ({made}): it ships, "
                "and can be evaluated"
            )
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
    """

    def __init__(self, info: TaskInfo) -> None:
        self._info = info
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
