"""Tasks: an environment, demonstrations, the true reward, reference scores and a protocol."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium

from irlbench.errors import DataError, UsageError
from irlbench.home import below
from irlbench.policy import Policy
from irlbench.problem import Budget, OpenProblem, Problem
from irlbench.reward import RewardFunction
from irlbench.serialisation import read_json, sha256_json

if TYPE_CHECKING:
    from irlbench.data.building import BuildRequest
    from irlbench.data.named import Summary

Split = Literal["validation", "test"]

_ID = re.compile("[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Score:
    """One named score of an evaluation.

    Attributes:
        name: Its key, as in `Evaluation.scores`.
        description: What it measures, with its unit.
        higher_is_better: Which way is good.
    """

    name: str
    description: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class TaskInfo:
    """What a task declares about itself; JSON-like values only, nothing is imported for it.

    Attributes:
        id: `<world>/<name>-v<N>`.
        summary: One line.
        environment: Gymnasium id of its environment.
        actions: "discrete", "continuous" or "tokens".
        horizon: Steps after which evaluation ends an episode.
        discount: Of the task's return.
        supplies: The resources that its problem can give.
        scores: What evaluation measures; the first is the primary score.
        low: Name of the reference that normalises to 0.
        high: Name of the reference that normalises to 1.
        references: Reference name to its frozen scores ("return", and "return_error" where it was
            measured by sampling).
        protocol: How policies are evaluated: numbers of episodes, action mode, seeds.
        recipe: How its demonstrations and preferences are made, and the hashes of the frozen parts.
        demonstrations: How many an algorithm gets unless asked otherwise, or None for all.
        preferences: Likewise of comparisons.
        budget: What an algorithm may spend unless asked otherwise.
        preload: Modules that its trials need, imported once per run before any trial starts.
        needs_data: What `--data` must name, or None where nothing has to be downloaded.
        note: Shown in lists and on leaderboards (content notes, weak experts).
        lacks: What is missing before anything can run on it, or None where it is ready.
        transfer: Id of a task of the same states, actions and reward, and other dynamics: a
            learnt reward is tried there.
        reward_scores: How recovered rewards are judged; see `Evaluator.evaluate_reward`. No part of
            the task's hash: they follow from what a trial has kept, and new ones leave old trials
            what they are.
    """

    id: str
    summary: str
    environment: str
    actions: Literal["discrete", "continuous", "tokens"]
    horizon: int
    discount: float
    supplies: frozenset[str]
    scores: tuple[Score, ...]
    low: str
    high: str
    references: Mapping[str, Mapping[str, float]]
    protocol: Mapping[str, Any]
    recipe: Mapping[str, Any]
    demonstrations: int | None
    preferences: int | None = None
    budget: Budget = field(default_factory=Budget)
    preload: tuple[str, ...] = ()
    needs_data: str | None = None
    note: str | None = None
    lacks: str | None = None
    transfer: str | None = None
    reward_scores: tuple[Score, ...] = ()

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):  # folders are named after it
            raise ValueError(
                f"task id {self.id!r} is not of the form <world>/<name>-v<N> "
                "(small letters, digits, '-', '_', '.')"
            )

    @property
    def world(self) -> str:
        """The part of the id before the slash."""
        return self.id.split("/", 1)[0]

    @property
    def primary(self) -> Score:
        """The score that ranks."""
        return self.scores[0]


@dataclass(frozen=True)
class TaskOptions:
    """Choices of the user that change what a task gives.

    Attributes:
        data: Path that `--data` named.
        demos: Name of a data set (imported, or built under a name) that replaces the task's own
            demonstrations, or its preferences if it holds those.
        model: Path or `hub-id@revision` of the language model.
        device: "cpu" or "cuda".
    """

    data: str | None = None
    demos: str | None = None
    model: str | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Prepared:
    """What preparing a task found; recorded with every trial.

    Attributes:
        given: Hashes of what the user brought (imported demonstrations, `--data`); part of the
            trial id.
        built: Hashes of what was built here by the task's recipe; recorded only.
        model: Hash of the language model, where there is one; part of the trial id.
        anchors: References that replace or join the task's own: name to scores.
        available: How many demonstrations there are to draw from, where that is known.
        available_preferences: Likewise of comparisons.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    built: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    anchors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    available: int | None = None
    available_preferences: int | None = None


@dataclass(frozen=True)
class ProblemRequest:
    """Which problem a trial asks for.

    Attributes:
        seed: The trial's seed; it also draws the demonstrations and the preferences.
        needs: The resources that the algorithm declared.
        track: What kind of learning this is.
        demonstrations: How many, or None for all.
        preferences: How many, or None for all.
        budget: The trial's budget.
        options: The user's choices.
    """

    seed: int
    needs: frozenset[str]
    track: str
    demonstrations: int | None
    preferences: int | None = None
    budget: Budget = field(default_factory=Budget)
    options: TaskOptions = field(default_factory=TaskOptions)


@dataclass(frozen=True)
class ShownSolution:
    """What one algorithm found, as a figure shows it.

    Attributes:
        label: Whose it is, in a word or two.
        policy: The policy.
        reward: The recovered reward, where one is learnt.
        score: The normalised primary score, or None where it is not known.
        note: What tells it from others of that label; one short line, or empty.
    """

    label: str
    policy: Policy
    reward: RewardFunction | None = None
    score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class TaskFigure:
    """A task drawn beside what algorithms found on it.

    Attributes:
        svg: The text of an SVG file that needs nothing beside it.
        left_out: Place of each solution that could not be drawn, to the reason.
    """

    svg: str
    left_out: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What evaluating one policy gave.

    Attributes:
        scores: Score name to value, in raw units.
        episodes: Per-episode values by name ("return", "length"), where episodes were run.
        samples: What to show people (completions with their rewards): JSON values.
    """

    scores: Mapping[str, float]
    episodes: Mapping[str, list[float]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


class Evaluator(ABC):
    """Judges policies by the true reward. Lives in a process that holds no learner."""

    @abstractmethod
    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """Evaluates a policy.

        Args:
            policy: Any policy that acts in the task's environment.
            split: "validation" for points of a curve, "test" for the final score. Their seeds
                (on text, prompts) are apart, and training uses neither.
        """

    def reference(self, policy: Policy) -> Evaluation:
        """Evaluates a policy for the frozen references: as the test split, or over more episodes.

        Args:
            policy: The expert, or another reference.
        """
        return self.evaluate(policy, "test")

    def evaluate_reward(self, reward: RewardFunction) -> Mapping[str, float]:
        """Judges a recovered reward by the true one.

        Args:
            reward: As it was saved and loaded again.

        Returns:
            Values by name, of those that the task declares (`TaskInfo.reward_scores`). One that is
            not defined for this task or reward is left out; what makes no sense is an error.
        """
        return {}


class Task(ABC):
    """An environment plus everything that makes a benchmark of it."""

    info: TaskInfo

    @property
    def id(self) -> str:
        """`<world>/<name>-v<N>`."""
        return self.info.id

    @property
    def world(self) -> str:
        """The world it belongs to: "gridworld", "control" or "text"."""
        return self.info.world

    @cached_property
    def hash(self) -> str:
        """SHA-256 over what determines results: environment, references, protocol, recipe."""
        info = self.info
        return sha256_json(
            {
                "id": info.id,
                "environment": info.environment,
                "horizon": info.horizon,
                "discount": info.discount,
                "scores": [[s.name, s.higher_is_better] for s in info.scores],
                "anchors": [info.low, info.high],
                "references": {k: dict(v) for k, v in info.references.items()},
                "protocol": dict(info.protocol),
                "recipe": dict(info.recipe),
            }
        )

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """Checks the user's choices and builds what is missing, once, before any trial.

        Args:
            options: The user's choices.
            home: The cache folder.

        Raises:
            UsageError: If a choice does not apply to this task, or something is missing.
            DataError: If a file that the user named cannot be used.
        """
        self.refuse(options)
        return Prepared()

    def refuse(self, options: TaskOptions, *supported: str) -> None:
        """Refuses choices that this task has no use for.

        Args:
            options: The user's choices.
            supported: Names of the choices that it does use, of "data", "demos", "model".

        Raises:
            UsageError: If another one was made, or `--data` is missing where it is needed.
        """
        for name in ("data", "demos", "model"):
            if getattr(options, name) is not None and name not in supported:
                raise UsageError(f"{self.id} does not use --{name}")
        if self.info.needs_data is not None and options.data is None:
            raise UsageError(f"{self.id} needs --data: {self.info.needs_data}")

    @abstractmethod
    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """The part of the task that an algorithm may see.

        Args:
            request: Which problem.
            home: The cache folder, filled by `prepare`.
        """

    @abstractmethod
    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """What judges policies.

        Args:
            options: The user's choices.
            home: The cache folder, filled by `prepare`.
        """

    def expert_recipe(self) -> Mapping[str, Any]:
        """How `irlbench experts train` makes an expert: "solver", "settings", "budget", "seed"."""
        recipe: Mapping[str, Any] = self.info.recipe.get("expert", {})
        return {key: value for key, value in recipe.items() if key != "sha256"}

    def expert_problem(self, seed: int, home: Path) -> OpenProblem:
        """What experts are trained on: environments with their true reward, true dynamics.

        Raises:
            UsageError: If this task's expert is not trained (a demonstrator by rule, data).
        """
        raise UsageError(f"{self.id} has no expert to train")

    def build(self, request: BuildRequest, home: Path) -> Summary:
        """Makes a data set beside the task's own, which `--demos` takes by its name.

        Args:
            request: Which.
            home: The cache folder.

        Raises:
            UsageError: If this task makes none, or the name is taken.
        """
        raise UsageError(f"{self.id} makes no data sets beside its own")

    def hidden_files(self, options: TaskOptions, home: Path) -> tuple[Path, ...]:
        """Files and folders that no learner may open: recordings with rewards, expert, references.

        `irlbench check` reports who opens one, and alters their contents.

        Args:
            options: The user's choices.
            home: The cache folder.
        """
        return (below(home / "data", self.id), home / "references")

    def spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]] | None:
        """Observation and action space of imported demonstrations, or None where it takes none."""
        return None

    def drawn_environment(self) -> gymnasium.Env[Any, Any]:
        """One environment whose `render()` gives pictures, uint8 `[height, width, 3]`.

        Raises:
            UsageError: If it has none.
            IrlbenchError: If what it draws with is not installed; what to install is said.
        """
        if self.info.actions == "tokens":
            raise UsageError(f"{self.id} has no pictures: what is said there is text")
        name = self.info.environment
        return gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True)

    def true_reward(self) -> RewardFunction | None:
        """The true reward as a function, or None where only the environment can compute it."""
        return None

    def figure(self, solutions: Sequence[ShownSolution]) -> TaskFigure | None:
        """Draws the task beside what algorithms found on it, or None where it has no such picture.

        A solution that cannot be drawn (one of other states, say) is left out, with the reason.

        Args:
            solutions: In the order in which they are shown.
        """
        return None


def read_references(path: Path, *parts: str) -> dict[str, Any]:
    """Reads what ships with a task: the frozen scores of its references.

    Args:
        path: `references.json`.
        parts: Names of the other objects that it must hold.

    Returns:
        Its content: "references", reference name to scores, and the parts.

    Raises:
        DataError: If it is damaged.
    """
    found = read_json(path)
    references = found.get("references") if isinstance(found, dict) else None
    whole = isinstance(references, dict) and all(map(is_scores, references.values()))
    if not whole or not all(isinstance(found.get(part), dict) for part in parts):
        wanted = "".join(f" and an object {part!r}" for part in parts)
        raise DataError(
            f"holds no references with finite scores{wanted}: restore the file that ships",
            file=f"{path.parent.name}/{path.name}",
        )
    content: dict[str, Any] = found
    return content


def is_scores(value: Any) -> bool:
    """Whether a value read from JSON maps names to finite numbers."""
    return isinstance(value, dict) and all(
        type(score) in (int, float) and abs(score) <= sys.float_info.max for score in value.values()
    )
