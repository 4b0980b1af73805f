"""What a task must refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from irlbench.checking.verdicts import Check, failed, held
from irlbench.errors import BudgetExceeded, ResourceError, UnknownNameError, UsageError
from irlbench.problem import RESOURCES, Budget, Problem
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.task import Task, TaskOptions

#: No file, data set or model has this name.
_NOWHERE = "irlbench-check-no-such-thing"


def check_refusals(
    task: Task, options: TaskOptions, home: Path, make: Callable[..., Problem]
) -> list[Check]:
    """Whether a task refuses what it must.

    Args:
        task: Any.
        options: The user's choices, which it accepts.
        home: The cache folder, filled.
        make: Of needs, and settings of a `ProblemRequest`, to a problem.
    """
    attempts: list[tuple[str, type[Exception], Callable[[], Any]]] = [
        ("an unknown resource", UnknownNameError, lambda: make().resource(_NOWHERE)),
        *(
            (f"{name}, undeclared", ResourceError, lambda name=name: make().resource(name))
            for name in sorted(RESOURCES)
        ),
        *(
            (f"{name}, not supplied", ResourceError, lambda name=name: make(name).resource(name))
            for name in sorted(RESOURCES.keys() - task.info.supplies)
        ),
        *(
            (
                f"--{name} {_NOWHERE}",
                UsageError,
                lambda name=name: task.prepare(replace(options, **{name: _NOWHERE}), home),
            )
            for name in ("data", "demos", "model")
        ),
    ]
    if "interaction" in task.info.supplies:
        attempts += [
            ("environments, undeclared", ResourceError, lambda: make().make_environment(1)),
            ("seeds of evaluation", ResourceError, lambda: _evaluation_seed(make)),
            ("steps beyond the budget", BudgetExceeded, lambda: _overspend(make)),
        ]
    if "demonstrations" in task.info.supplies:
        attempts.append(
            (
                "more demonstrations than there are",
                UsageError,
                lambda: make("demonstrations", demonstrations=10**9).demonstrations,
            )
        )
    wrong = [said for said in (_refused(*attempt) for attempt in attempts) if said is not None]
    if wrong:
        return [failed("refusals", "; ".join(wrong))]
    return [held("refusals", f"{len(attempts)} things that it must refuse, all refused")]


def _refused(what: str, kind: type[Exception], attempt: Callable[[], Any]) -> str | None:
    """What went wrong, or None where it was refused as it should be."""
    try:
        attempt()
    except kind:
        return None
    except Exception as error:
        return f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}"
    return f"{what}: not refused"


def _evaluation_seed(make: Callable[..., Problem]) -> None:
    make("interaction").make_environment(2).reset(seed=EVALUATION_SEEDS)


def _overspend(make: Callable[..., Problem]) -> None:
    env = make("interaction", budget=Budget(steps=3)).make_environment(2)
    env.reset(seed=0)
    for _ in range(2):
        env.step(env.action_space.sample())
