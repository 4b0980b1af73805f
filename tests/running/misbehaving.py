"""What the bad toys are made of; their plug-in files import it from beside themselves."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget, Problem

STATES, ACTIONS = 3, 2
EVER = 600.0
"""Seconds: longer than any test waits."""


@dataclass(frozen=True)
class BadConfig:
    """What the bad toys can be told."""

    where: str = option("", "A folder that the algorithm may use.")


class Bad(Algorithm):
    """What all bad toys share; it has no id, so it is none itself."""

    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    Config: ClassVar[type[Any]] = BadConfig

    @property
    def where(self) -> Path:
        """The folder that the test gave."""
        return Path(self.config.where)

    def here_is(self, name: str) -> None:
        """Leaves this process's id for the test."""
        (self.where / f"{name}-{os.getpid()}.pid").write_text(str(os.getpid()))


Misbehaviour = Callable[[Any, Run], Any]


def bad(misbehave: Misbehaviour) -> type[Bad]:
    """Makes an algorithm of a function; what it returns is the policy or the solution.

    It tells of itself in its name: `claims_much` is `bad/claims-much`.
    """

    def fit(self: Bad, problem: Problem, budget: Budget, run: Run) -> Solution:
        found = misbehave(self, run)
        return found if isinstance(found, Solution) else Solution(found or plain())

    name = misbehave.__name__
    about = {"id": f"bad/{name.replace('_', '-')}", "fit": fit, "__doc__": misbehave.__doc__}
    return type(name, (Bad,), {**about, "__module__": misbehave.__module__})


def plain() -> TablePolicy:
    """A policy that nobody objects to."""
    return TablePolicy(np.zeros((STATES, ACTIONS)))


def other() -> TablePolicy:
    """A policy that gets another score."""
    return TablePolicy(np.tile([0.0, 7.0], (STATES, 1)))


def forever() -> NoReturn:
    """Never comes back."""
    time.sleep(EVER)
    raise AssertionError


def own_folder() -> Path:
    """The trial's working folder, by way of its log."""
    return Path("/proc/self/fd/1").readlink().parent


def own_connection() -> Connection:
    """This process's side of its pipe to the driver."""
    (found,) = [o for o in gc.get_objects() if type(o) is Connection and not o.closed]
    return found


def fork(self: Bad, name: str) -> bool:
    """Forks; True in the child."""
    if os.fork():
        return False
    self.here_is(name)
    return True


def await_others(self: Bad, many: int) -> None:
    """Waits until so many processes have left their ids."""
    while len(list(self.where.glob("*.pid"))) < many:
        time.sleep(0.01)
