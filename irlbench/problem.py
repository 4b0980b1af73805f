"""The part of a task that an algorithm may see. The true reward is not in it.

Everything a problem gives is a named resource. An algorithm declares which it needs; asking for
another is refused, and what is taken is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from irlbench.data.demonstrations import Demonstrations
from irlbench.data.preferences import Preferences
from irlbench.errors import BudgetExceeded, ResourceError, UnknownNameError, UsageError
from irlbench.randomness import EVALUATION_SEEDS

#: Every resource there is, and what it gives.
RESOURCES: Mapping[str, str] = {
    "demonstrations": "episodes of the expert, without rewards",
    "preferences": "ranked episodes or segments",
    "offline_transitions": "transitions of other policies, without rewards",
    "interaction": "steps in the environment, whose reward reads 0.0",
    "dynamics": "the transition probabilities",
    "resets": "resets to a demonstrated state",
    "generative_model": "samples of the transition from any state",
    "expert_queries": "the expert's actions at states of the learner's choosing",
    "preference_queries": "the annotator's answer on pairs of the learner's choosing",
    "features": "state features in which the reward is known to be simple",
    "reference_model": "the policy that learning starts from (on text, the base model)",
    "expert_policy": "the expert itself: for reference rows, which are never ranked",
}


@dataclass(frozen=True)
class Budget:
    """What an algorithm may spend; None is no limit.

    Attributes:
        steps: Environment steps (on text, tokens).
        gradient_steps: Parameter updates.
        seconds: Wall-clock time.
    """

    steps: int | None = None
    gradient_steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UsageError(f"budget {name} must be a number from 0 on, got {value}")
            if name != "seconds" and value != int(value):
                raise UsageError(f"budget {name} must be a whole number, got {value}")


@dataclass
class StepMeter:
    """Counts environment steps (on text, tokens) against a budget, over all environments.

    Attributes:
        limit: Steps granted, or None for no limit.
        used: Steps taken.
    """

    limit: int | None = None
    used: int = 0

    def spend(self, steps: int) -> None:
        """Bills steps before they are taken.

        Raises:
            BudgetExceeded: If they would pass the limit; then nothing is billed.
        """
        if self.limit is not None and self.used + steps > self.limit:
            raise BudgetExceeded(
                f"{self.used} of {self.limit} environment steps are used; {steps} more are refused"
            )
        self.used += steps

    @property
    def left(self) -> int | None:
        """Steps that remain, or None for no limit."""
        return None if self.limit is None else self.limit - self.used


class HiddenRewardVectorEnv(VectorEnv[Any, Any, Any]):
    """A batched environment as a learner meets it: reward 0.0, `info` cut to declared keys.

    The true environment is held by closures alone, and `unwrapped` is this object. A step that
    only resets a row (next-step autoreset) is no transition and is not billed.

    Args:
        inner: The true environment.
        safe_info: Keys of `info` that the task declares safe.
        meter: Where steps are billed.
        seed: Used by the first `reset` that gives none, so that every run is reproducible.
        free_resets: Whether `options` of `reset` other than `reset_mask` reach the environment.
    """

    def __init__(
        self,
        inner: VectorEnv[Any, Any, Any],
        safe_info: Iterable[str],
        meter: StepMeter,
        seed: int,
        *,
        free_resets: bool = False,
    ) -> None:
        self.num_envs = inner.num_envs
        self.observation_space = inner.observation_space
        self.action_space = inner.action_space
        self.single_observation_space = inner.single_observation_space
        self.single_action_space = inner.single_action_space
        self.spec = None
        self.render_mode = None
        mode = inner.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.metadata = {"autoreset_mode": mode}
        self.action_space.seed(seed)
        self.single_action_space.seed(seed)
        allowed = frozenset(safe_info)
        ended = np.ones(self.num_envs, dtype=bool)
        seeded = False

        def reset(
            given: int | Sequence[int | None] | None, options: dict[str, Any] | None
        ) -> tuple[Any, dict[str, Any]]:
            nonlocal seeded
            if given is None and not seeded:
                given = seed
            if isinstance(given, int | np.integer):
                given = int(given)  # Gymnasium takes no integers of NumPy's
            seeded = True
            _check_seeds(given, inner.num_envs)
            mask = (options or {}).get("reset_mask")
            ended[slice(None) if mask is None else np.asarray(mask, dtype=bool)] = False
            # Other options choose states: that is what the resource `resets` is for.
            allowed_options = None if mask is None else {"reset_mask": mask}
            passed = options if free_resets else allowed_options
            observations, info = inner.reset(seed=given, options=passed)  # type: ignore[arg-type]
            return observations, _cut(info, allowed)

        def step(
            actions: Any,
        ) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
            counts = mode is AutoresetMode.SAME_STEP
            meter.spend(self.num_envs if counts else int(self.num_envs - ended.sum()))
            observations, _, terminations, truncations, info = inner.step(actions)
            ended[:] = terminations | truncations | (ended & (mode is AutoresetMode.DISABLED))
            zeros = np.zeros(self.num_envs, dtype=np.float64)
            return observations, zeros, terminations, truncations, _cut(info, allowed)

        def close() -> None:  # a bound method would lead to the environment it is bound to
            inner.close()

        self._reset, self._step, self._close = reset, step, close

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes. Seeds from 2**30 on belong to evaluation and are refused."""
        return self._reset(seed, options)

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps every row. The rewards are zeros."""
        return self._step(actions)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the true environment."""
        self._close()


def _check_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> None:
    if seed is None:
        return
    if isinstance(seed, int | np.integer):
        highest, lowest = int(seed) + num_envs - 1, int(seed)
    else:
        given = [int(s) for s in seed if s is not None]
        highest, lowest = max(given, default=0), min(given, default=0)
    if lowest < 0 or highest >= EVALUATION_SEEDS:
        raise ResourceError(
            f"environment seeds must lie in [0, {EVALUATION_SEEDS}), got up to {highest}: "
            "those beyond belong to evaluation"
        )


def _cut(info: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in info.items():
        name = key.removeprefix("_")
        if name in allowed or name == "final_obs":
            kept[key] = value
        elif name == "final_info":
            kept[key] = _cut(value, allowed) if isinstance(value, Mapping) else {}
    return kept


@dataclass
class Problem:
    """What an algorithm is given.

    Attributes:
        task_id: The task it belongs to.
        world: "gridworld", "control" or "text".
        observation_space: Of one environment.
        action_space: Of one environment.
        horizon: Steps after which evaluation ends an episode.
        discount: The task's discount.
        track: What kind of learning this is.
        seed: The trial's seed.
        needs: The resources that the algorithm declared.
        suppliers: For each supplied resource, what makes it. Taken in, not kept as an attribute:
            `interaction` makes the true environment.
        safe_info: Keys of `info` that learners may see.
        meter: Counts environment steps.
        usage: What was taken: resource name to count.
    """

    task_id: str
    world: str
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    horizon: int
    discount: float
    track: str
    seed: int
    needs: frozenset[str]
    suppliers: InitVar[Mapping[str, Callable[..., Any]]]
    safe_info: frozenset[str] = frozenset()
    meter: StepMeter = field(default_factory=StepMeter)
    usage: dict[str, int] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self, suppliers: Mapping[str, Callable[..., Any]]) -> None:
        def supply(name: str, *arguments: Any) -> Any:
            return suppliers[name](*arguments)

        self._supply, self._supplied = supply, frozenset(suppliers)

    def resource(self, name: str) -> Any:
        """A declared resource other than `interaction`, made once and counted.

        Args:
            name: One of `RESOURCES`.

        Raises:
            UnknownNameError: If no such resource exists.
            ResourceError: If it was not declared, or this task does not supply it.
        """
        self._allow(name)
        if name == "interaction":
            raise ResourceError("interaction is taken by `make_environment`")
        if name not in self._made:
            self._made[name] = self._supply(name)
            counted = hasattr(self._made[name], "__len__")
            self.usage[name] = len(self._made[name]) if counted else 1
        return self._made[name]

    @property
    def demonstrations(self) -> Demonstrations[Any]:
        """The demonstrations drawn for this seed."""
        made: Demonstrations[Any] = self.resource("demonstrations")
        return made

    @property
    def preferences(self) -> Preferences:
        """The preferences drawn for this seed."""
        made: Preferences = self.resource("preferences")
        return made

    def make_environment(self, num_envs: int) -> HiddenRewardVectorEnv:
        """A batch of environments whose reward is always 0.0; needs `interaction`.

        Args:
            num_envs: Rows of the batch.

        Returns:
            The batch. Its first `reset` without a seed uses one made from the trial's seed.
        """
        self._allow("interaction")
        made = self.usage.get("environments", 0)
        self.usage["environments"] = made + 1
        draws = np.random.default_rng([self.seed, 0xE27, made])
        seed = int(draws.integers(EVALUATION_SEEDS - num_envs))
        inner = self._supply("interaction", num_envs)
        free = "resets" in self.needs
        return HiddenRewardVectorEnv(inner, self.safe_info, self.meter, seed, free_resets=free)

    def costs(self) -> dict[str, int]:
        """What was used so far: steps, and a count per resource."""
        return {"steps": self.meter.used, **self.usage}

    def _allow(self, name: str) -> None:
        if name not in RESOURCES:
            raise UnknownNameError("resource", name, RESOURCES)
        if name not in self.needs:
            raise ResourceError(
                f"{name!r} was not declared: add it to the algorithm's needs "
                f"(declared: {', '.join(sorted(self.needs)) or 'nothing'})"
            )
        if name not in self._supplied:
            raise ResourceError(f"{self.task_id} does not supply {name!r}")


class OpenProblem(Problem):
    """A problem whose environments pay their true reward. Experts are trained on it.

    No algorithm is ever given one.
    """

    def make_environment(self, num_envs: int) -> VectorEnv[Any, Any, Any]:  # type: ignore[override]
        """A batch of true environments, steps not billed."""
        self._allow("interaction")
        inner: VectorEnv[Any, Any, Any] = self._supply("interaction", num_envs)
        return inner


def surround(
    problem: Problem, around: Callable[[str, Callable[[], Any]], Any]
) -> Callable[..., Any]:
    """Puts a function around everything that supplies a problem's resources. For audits.

    Args:
        problem: Nothing has been taken of it yet.
        around: Gets a resource's name and what makes it, and gives what is supplied instead.

    Returns:
        What supplied them so far: called with a name, it makes the resource.
    """
    inner = problem._supply
    problem._supply = lambda name, *arguments: around(name, lambda: inner(name, *arguments))
    return inner
