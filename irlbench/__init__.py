"""irlbench: a benchmark for inverse reinforcement learning and imitation.

`irlbench.run` runs a suite, `irlbench.load_results` reads what it left. Importing this package
registers environment ids with Gymnasium and imports nothing heavy.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irlbench.algorithm import Algorithm, Run, Solution, Solver, option
    from irlbench.policy import Policy
    from irlbench.problem import Budget, Problem
    from irlbench.reward import RewardFunction
    from irlbench.running.api import dry_run, run
    from irlbench.running.reading import load_results, load_trial
    from irlbench.task import Task

try:
    __version__ = version("irlbench")
except PackageNotFoundError:  # a tree that nobody installed
    __version__ = "0+unknown"

_PUBLIC = {
    "Algorithm": "irlbench.algorithm",
    "Budget": "irlbench.problem",
    "Policy": "irlbench.policy",
    "Problem": "irlbench.problem",
    "RewardFunction": "irlbench.reward",
    "Run": "irlbench.algorithm",
    "Solution": "irlbench.algorithm",
    "Solver": "irlbench.algorithm",
    "Task": "irlbench.task",
    "dry_run": "irlbench.running.api",
    "load_results": "irlbench.running.reading",
    "load_trial": "irlbench.running.reading",
    "option": "irlbench.algorithm",
    "run": "irlbench.running.api",
}
__all__ = [
    "Algorithm",
    "Budget",
    "Policy",
    "Problem",
    "RewardFunction",
    "Run",
    "Solution",
    "Solver",
    "Task",
    "dry_run",
    "load_results",
    "load_trial",
    "option",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'irlbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _register_environments() -> None:
    from gymnasium.envs.registration import register
    from gymnasium.envs.registration import registry as known

    for point in entry_points(group="irlbench.environments"):
        try:
            declared = point.load()
        except Exception as error:  # somebody's plug-in must not take the package down
            warnings.warn(f"environments of {point.value} are missing: {error}", stacklevel=2)
            continue
        for arguments in declared:
            if arguments["id"] not in known:
                register(**arguments)


_register_environments()
