"""An algorithm of your own, in one file.

Run it beside the built-in ones, on the same demonstrations and seeds:

    irlbench run gridworld/four-rooms --algorithms bc,example/smoothed-counts \
        --plugin examples/smoothed_counts.py --out runs/mine
    irlbench report runs/mine
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irlbench import Algorithm, Budget, Problem, Run, Solution, option
from irlbench.policies.table import TablePolicy


@dataclass(frozen=True)
class SmoothedCountsConfig:
    """Every hyperparameter, with what it does beside it. `--set` and `--config` change them."""

    pseudo_count: float = option(0.1, "Added to the count of every action in every state.")


class SmoothedCounts(Algorithm):
    """How often the expert took each action in each state, smoothed."""

    id: ClassVar[str] = "example/smoothed-counts"
    version: ClassVar[int] = 1  # raise it whenever results change
    summary: ClassVar[str] = "smoothed action counts per state"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    # What it takes. Anything else is refused, and what is taken is counted and shown.
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations",)
    Config: ClassVar[type[Any]] = SmoothedCountsConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """Counts, and turns counts into a policy that anybody can load and verify."""
        shape = (int(problem.observation_space.n), int(problem.action_space.n))  # type: ignore[attr-defined]
        counts = np.full(shape, self.config.pseudo_count)
        steps = problem.demonstrations.transitions()
        np.add.at(counts, (steps.observations, steps.actions), 1)
        return Solution(TablePolicy(np.log(counts)))
