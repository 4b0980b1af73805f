"""Algorithms and solvers: what third parties write.

An algorithm turns a problem into a solution within a budget. A solver turns a reward function
into a policy; inverse methods call one inside.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.configurable import Configurable
from irlbench.errors import BudgetExceeded, DataError
from irlbench.policy import Policy
from irlbench.problem import RESOURCES, Budget, Problem, StepMeter
from irlbench.reward import RewardFunction
from irlbench.serialisation import sha256_arrays

WORLDS = ("gridworld", "control", "text")

#: What an algorithm is given. Only rows of one track are ranked against each other.
TRACKS: Mapping[str, str] = {
    "demonstrations": "demonstrations only (offline)",
    "demonstrations+interaction": "demonstrations and reward-free steps",
    "demonstrations+dynamics": "demonstrations and the transition probabilities",
    "preferences": "preferences only (offline)",
    "preferences+interaction": "preferences and reward-free steps",
    "preferences+dynamics": "preferences and the transition probabilities",
    "reference": "reference rows, which are never ranked",
}

_GIVEN = {
    "demonstrations": frozenset(
        {"demonstrations", "offline_transitions", "features", "reference_model"}
    ),
    "preferences": frozenset({"preferences", "offline_transitions", "features", "reference_model"}),
}
_INTERACTION = frozenset(
    {"interaction", "resets", "generative_model", "expert_queries", "preference_queries"}
)


def resources_of(track: str) -> frozenset[str]:
    """The resources that an algorithm of a track may take: only equals are ranked.

    Args:
        track: One of `TRACKS`.
    """
    if track == "reference":
        return frozenset(RESOURCES)
    kind, _, more = track.partition("+")
    extra = {"": frozenset(), "interaction": _INTERACTION, "dynamics": frozenset({"dynamics"})}
    return _GIVEN[kind] | extra[more]


def option(default: Any, help: str) -> Any:
    """A hyperparameter: a dataclass field with its documentation beside it."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Solution:
    """What an algorithm hands back.

    Attributes:
        policy: The final policy.
        reward: The recovered reward, where one is learnt.
    """

    policy: Policy
    reward: RewardFunction | None = None


class Sink:
    """Takes what a fit logs and hands in. This one keeps it in lists.

    Attributes:
        logged: Steps and scalars.
        saved: Steps and policies.
    """

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.saved: list[tuple[int, Policy]] = []

    def log(self, step: int, seconds: float, scalars: dict[str, float]) -> None:
        """Takes scalars."""
        self.logged.append((step, scalars))

    def save(self, step: int, seconds: float, policy: Policy) -> None:
        """Takes a policy for a point of the curve."""
        self.saved.append((step, policy))

    def kept(self) -> dict[str, NDArray[Any]]:
        """What of that a checkpoint has to keep."""
        return {}

    def go_on(self, kept: Mapping[str, NDArray[Any]]) -> bool:
        """Takes up again what a checkpoint kept; False where that is not possible."""
        return True


#: Names that begin so are a checkpoint's own; `_SPENT`: gradient steps, steps and seconds.
_OWN = "irlbench."
#: A checkpoint is not due sooner than so many times what the last one took to write.
_LEAST_SHARE = 20
_SPENT, _DIGEST = "irlbench.spent", "irlbench.digest"


class Run:
    """One fit under way: seed, device, logging, saving, spending.

    Args:
        seed: The trial's seed.
        device: "cpu" or "cuda".
        threads: Threads that numerical libraries may use.
        budget: Limits that `spend` enforces.
        sink: Takes what is logged and saved; None keeps it in `logged` and `saved`.
        folder: Where checkpoints go; None: nowhere.
        meter: The problem's, whose count a checkpoint keeps too.
        checkpoint_seconds: How long after a checkpoint the next one is due.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        device: str = "cpu",
        threads: int = 1,
        budget: Budget | None = None,
        sink: Sink | None = None,
        folder: Path | None = None,
        meter: StepMeter | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.seed, self.device, self.threads = seed, device, threads
        self.budget = budget or Budget()
        self.gradient_steps = 0
        self._sink, self._folder = sink or Sink(), folder
        self._meter = meter or StepMeter()
        self._began = self._last_checkpoint = time.monotonic()
        self._checkpoint_seconds, self._checkpoint_took = checkpoint_seconds, 0.0

    def generator(self, name: str) -> np.random.Generator:
        """A NumPy generator for one named use; equal seeds and names draw equal numbers."""
        return np.random.default_rng([self.seed, *name.encode()])

    def log(self, step: int, **scalars: float) -> None:
        """Logs scalars at a step, which counts environment steps or, offline, gradient steps."""
        self._sink.log(step, self.seconds, {k: float(value) for k, value in scalars.items()})

    def save(self, step: int, policy: Policy) -> None:
        """Hands in a policy for a point of the curve. Returns nothing; it is judged elsewhere."""
        self._sink.save(step, self.seconds, policy)

    @property
    def logged(self) -> list[tuple[int, dict[str, float]]]:
        """Steps and scalars, where nobody else takes them."""
        return self._sink.logged

    @property
    def saved(self) -> list[tuple[int, Policy]]:
        """Steps and policies, where nobody else takes them."""
        return self._sink.saved

    def spend(self, *, gradient_steps: int = 0) -> None:
        """Bills parameter updates.

        Raises:
            BudgetExceeded: If they would pass the budget.
        """
        limit = self.budget.gradient_steps
        if limit is not None and self.gradient_steps + gradient_steps > limit:
            raise BudgetExceeded(
                f"{self.gradient_steps} of {limit} gradient steps are used; "
                f"{gradient_steps} more are refused"
            )
        self.gradient_steps += gradient_steps

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the fit began."""
        return time.monotonic() - self._began

    @property
    def exhausted(self) -> bool:
        """Whether gradient steps or wall-clock time are used up: end the loop and return."""
        steps, seconds = self.budget.gradient_steps, self.budget.seconds
        return (steps is not None and self.gradient_steps >= steps) or (
            seconds is not None and self.seconds >= seconds
        )

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time for a checkpoint; never where none is kept.

        It depends on the clock, so writing one must not change what is learnt. Writing takes a
        twentieth of the time at most, unless one is due always (`checkpoint_seconds` 0).
        """
        since = time.monotonic() - self._last_checkpoint
        wanted = self._checkpoint_seconds
        if wanted > 0:
            wanted = max(wanted, _LEAST_SHARE * self._checkpoint_took)
        return self._folder is not None and since >= wanted

    def checkpoint(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Keeps arrays from which `fit` can go on after a kill, in place of the last ones.

        What was logged and handed in so far is kept with them: a fit that goes on must log and
        save only what comes after.

        Args:
            state: Everything that the rest of the fit depends on, states of generators included.
        """
        began = time.monotonic()
        if self._folder is not None:
            from irlbench.serialisation import save_arrays

            # In the same file as the state: a kill cannot part them.
            own = {_SPENT: np.array([self.gradient_steps, self._meter.used, self.seconds])}
            own |= {f"{_OWN}{name}": array for name, array in self._sink.kept().items()}
            own[_DIGEST] = sha256_arrays({**state, **own})
            save_arrays(self._folder, "checkpoint", "checkpoint", {**state, **own}, {})
        self._last_checkpoint = time.monotonic()
        self._checkpoint_took = self._last_checkpoint - began

    @property
    def restored(self) -> dict[str, NDArray[Any]] | None:
        """What the last `checkpoint` of this trial kept, or None when it begins anew.

        Read it once, before anything is logged: what was spent is counted on from there.
        """
        from irlbench.serialisation import load_arrays

        if self._folder is None or not (self._folder / "checkpoint.json").exists():
            return None
        try:
            _, arrays, _ = load_arrays(self._folder, "checkpoint", ["checkpoint"])
            if not np.array_equal(arrays.pop(_DIGEST), sha256_arrays(arrays)):
                raise ValueError("it was changed after it was written")
            gradient_steps, steps, seconds = arrays.pop(_SPENT).tolist()
        except (DataError, KeyError, ValueError) as error:
            sys.stdout.write(f"irlbench: begins anew; the checkpoint is damaged: {error}\n")
            return None
        own = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_OWN)}
        kept = {name.removeprefix(_OWN): array for name, array in own.items()}
        if not self._sink.go_on(kept):
            return None
        self.gradient_steps, self._meter.used = int(gradient_steps), int(steps)
        self._began = time.monotonic() - seconds
        return arrays


class Algorithm(Configurable, ABC):
    """Turns a problem into a solution within a budget.

    Attributes:
        paper: Where it comes from.
        worlds: The worlds it runs in.
        actions: The kinds of action it handles: "discrete", "continuous", "tokens".
        needs: The resources it takes in every world and track; see `needs_for`.
        optional: The resources it takes where a task supplies them.
        tracks: The tracks it can be ranked in; the first that a task allows is its default there.
        resumable: Whether it uses `run.checkpoint` and `run.restored`.
        requires: Modules that it imports beyond what irlbench depends on.
        installation: How to install those, told where one is missing.
    """

    paper: ClassVar[str] = ""
    worlds: ClassVar[tuple[str, ...]] = WORLDS
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous", "tokens")
    needs: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    resumable: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    installation: ClassVar[str] = ""

    @classmethod
    def needs_for(cls, world: str, track: str) -> frozenset[str]:
        """The resources it takes in a world: `needs`, and those that the track is named after.

        Args:
            world: One of `WORLDS`.
            track: One of `tracks`.
        """
        return cls.needs | (frozenset(track.split("+")) & frozenset(RESOURCES))

    @classmethod
    def solvers_for(
        cls, world: str, track: str, config: Any, actions: str = "discrete"
    ) -> tuple[str, ...]:
        """Ids of the solvers that it calls; they are part of what determines a trial.

        Args:
            world: One of `WORLDS`.
            track: One of `tracks`.
            config: An instance of `Config`.
            actions: "discrete", "continuous" or "tokens".
        """
        return ()

    @abstractmethod
    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """Learns.

        Args:
            problem: What may be seen.
            budget: What may be spent.
            run: Seed, logging and saving.

        Returns:
            The final policy, and the reward where one is learnt.
        """


class Solver(Configurable, ABC):
    """Turns a reward function into a policy.

    Attributes:
        worlds: The worlds it runs in.
        actions: The kinds of action it handles.
        needs: The resources it takes.
    """

    worlds: ClassVar[tuple[str, ...]] = WORLDS
    actions: ClassVar[tuple[str, ...]] = ("discrete", "continuous", "tokens")
    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def solve(
        self, problem: Problem, reward: RewardFunction | None, budget: Budget, run: Run
    ) -> Policy:
        """Finds a policy for a reward.

        Args:
            problem: The dynamics or the environments; its own reward reads 0.0.
            reward: What to maximise; None takes what an `OpenProblem` pays.
            budget: What may be spent.
            run: Seed, logging and saving.
        """
