"""Checks of a task's environment, as Gymnasium makes it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import iterate

from irlbench.checking.verdicts import Check, beside, failed, held
from irlbench.task import Task, TaskOptions

_ROWS, _STEPS, _SEED = 5, 300, 7


def check_environments(task: Task, options: TaskOptions) -> list[Check]:
    """The environment passes what checks environments, and a row of a batch is a single one."""
    name = task.info.environment
    own = _own(name)
    given = {"data": options.data} if options.data is not None else {}
    # Gymnasium's own need packages to draw with, which no trial needs.
    plain = partial(_gymnasium, name, given, draw=own)
    return [
        _silent("Gymnasium's check_env", plain, name, strict=own),
        _silent(
            "Stable-Baselines3's check_env",
            partial(_stable_baselines, name, given),
            name,
            strict=own,
        ),
        _rows(name, given, own=own),
    ]


def _own(name: str) -> bool:
    """Whether an environment is neither Gymnasium's nor made of one of Gymnasium's."""
    creator: Any = gymnasium.spec(name).entry_point
    if isinstance(creator, str):
        creator = gymnasium.envs.registration.load_env_creator(creator)
    bases = getattr(creator, "__mro__", (creator,))
    return not any(base.__module__.startswith("gymnasium.envs.") for base in bases)


def _silent(title: str, check: Callable[[], None], name: str, *, strict: bool) -> Check:
    """Whether a checker is content, and silent where the environment is not Gymnasium's own."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            check()
        except Exception as error:
            return failed(title, f"{type(error).__name__}: {error}")
    told = f"{name} passes"
    if not heard:
        return held(title, f"{told} without a warning")
    first = " ".join(str(heard[0].message).split())
    if strict:
        return failed(title, f"{len(heard)} warnings, the first: {first}")
    return held(title, f"{told}; {len(heard)} warnings about an environment of Gymnasium's own")


def _gymnasium(name: str, given: dict[str, Any], *, draw: bool) -> None:
    from gymnasium.utils.env_checker import check_env

    env = gymnasium.make(name, disable_env_checker=True, **given).unwrapped
    env.spec = gymnasium.spec(name)
    env.spec.kwargs = {**env.spec.kwargs, **given}
    check_env(env, skip_render_check=not draw)


def _stable_baselines(name: str, given: dict[str, Any]) -> None:
    from stable_baselines3.common.env_checker import check_env

    check_env(gymnasium.make(name, disable_env_checker=True, **given))


def _rows(name: str, given: dict[str, Any], *, own: bool) -> Check:
    """Row i of a batch reset with seed s is the single environment reset with s + i."""
    title = "rows of a batch"
    if gymnasium.spec(name).vector_entry_point is None:
        return beside(title, f"{name} has no batched form of its own")
    if not own:
        return beside(title, f"{name} is Gymnasium's own, whose batches draw other numbers")
    mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
    batch: Any = gymnasium.make_vec(name, num_envs=_ROWS, vectorization_mode=mode, **given)
    singles: list[Any] = [
        gymnasium.make(name, disable_env_checker=True, **given) for _ in range(_ROWS)
    ]
    try:
        wrong = _first_difference(batch, singles)
    finally:
        for env in (batch, *singles):
            env.close()
    if wrong is not None:
        return failed(title, wrong)
    return held(title, f"row i, seeded s, is the environment seeded s + i over {_STEPS} steps")


def _first_difference(batch: Any, singles: list[Any]) -> str | None:
    """Where a batch and its rows part, in words."""
    space = batch.observation_space
    shown, _ = batch.reset(seed=_SEED)
    batch.action_space.seed(_SEED)
    for row, (env, seen) in enumerate(zip(singles, iterate(space, shown), strict=True)):
        if not equal(env.reset(seed=_SEED + row)[0], seen):
            return f"row {row} begins elsewhere than the environment seeded s + {row}"
    ended = [False] * len(singles)
    for step in range(_STEPS):
        actions = batch.action_space.sample()
        shown, *paid, _ = batch.step(actions)
        for row, (env, seen) in enumerate(zip(singles, iterate(space, shown), strict=True)):
            if ended[row]:  # the step after an end only begins the next episode
                observation, told = env.reset()[0], (0.0, False, False)
            else:
                observation, *rest, _ = env.step(actions[row])
                told = tuple(rest)
            if not equal(observation, seen):
                return f"row {row} observes something else than s + {row} at step {step}"
            if tuple(values[row] for values in paid) != told:
                names = "reward, terminated, truncated"
                return f"row {row} and s + {row} differ in ({names}) at step {step}"
            ended[row] = bool(told[1] or told[2])
    return None


def equal(first: Any, second: Any) -> bool:
    """Whether two observations are the same to the bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    return bool(np.array_equal(first, second))
