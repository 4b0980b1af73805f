"""Acting in a problem's environments: a batch of them, and a buffer of what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import StateFunction
from irlbench.baselines.learners.steps import Steps, observed
from irlbench.errors import UsageError
from irlbench.problem import Problem


class Interaction:
    """Steps a batch of environments with a softmax policy and keeps the transitions.

    With next-step autoreset the step that only resets a row is no transition and is not kept. A
    time limit ends an episode without terminating it, so that learners bootstrap from there.

    Args:
        problem: Whose environments.
        num_envs: Rows of the batch.
        capacity: Transitions kept; the oldest are overwritten.
        run: Seed and device.

    Raises:
        UsageError: If the budget grants no step of every row.
    """

    def __init__(self, problem: Problem, num_envs: int, capacity: int, run: Run) -> None:
        left = problem.meter.left
        if left is not None and left < num_envs:
            raise UsageError(
                f"{num_envs} environments are stepped at once, and {left} steps are granted: raise "
                "the budget or lower num_envs"
            )
        self._problem, self._device = problem, torch.device(run.device)
        self._generator = run.generator("exploration")
        self._draws = run.generator("replay")
        self._environment = problem.make_environment(num_envs)
        self._seen, _ = self._environment.reset()
        self._resetting = np.zeros(num_envs, dtype=bool)
        self._capacity = max(capacity, num_envs)
        shape, dtype = self._seen.shape[1:], self._seen.dtype
        self._observations = np.zeros((self._capacity, *shape), dtype)
        self._following = np.zeros((self._capacity, *shape), dtype)
        self._actions = np.zeros(self._capacity, dtype=np.int64)
        self._terminated = np.zeros(self._capacity, dtype=bool)
        self._place = self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def exhausted(self) -> bool:
        """Whether the budget has no room for another step of every row."""
        left = self._problem.meter.left
        return left is not None and left < len(self._seen)

    @torch.no_grad()
    def step(self, Q: StateFunction, temperature: float, *, random_share: float = 0.0) -> int:
        """One step of every row, actions drawn from softmax(Q / temperature).

        Args:
            Q: One output per action.
            temperature: tau.
            random_share: Probability that an action is drawn uniformly instead.

        Returns:
            How many transitions that gave: rows that only begin anew give none.
        """
        logits = Q(observed(self._seen, self._device)).cpu().numpy() / temperature
        # The largest of logits and Gumbel noise is a draw from their softmax.
        actions = (logits + self._generator.gumbel(size=logits.shape)).argmax(axis=1)
        if random_share > 0:
            any_action = self._generator.integers(logits.shape[1], size=len(actions))
            tried = self._generator.random(len(actions)) < random_share
            actions = np.where(tried, any_action, actions)
        before, resetting = self._seen, self._resetting
        self._seen, _, terminations, truncations, _ = self._environment.step(actions)
        self._resetting = terminations | truncations
        self._keep(before, actions, terminations, ~resetting)
        return int((~resetting).sum())

    def _keep(
        self,
        before: NDArray[Any],
        actions: NDArray[np.int64],
        terminations: NDArray[np.bool_],
        real: NDArray[np.bool_],
    ) -> None:
        rows = np.flatnonzero(real)
        places = (self._place + np.arange(len(rows))) % self._capacity
        self._observations[places] = before[rows]
        self._following[places] = self._seen[rows]
        self._actions[places] = actions[rows]
        self._terminated[places] = terminations[rows]
        self._place = (self._place + len(rows)) % self._capacity
        self._count = min(self._count + len(rows), self._capacity)

    def sample(self, size: int, *, newest: int | None = None) -> Steps:
        """Transitions drawn from the buffer with replacement.

        Args:
            size: How many.
            newest: Only from so many of the latest; None: from all.
        """
        ages = self._draws.integers(min(newest or self._count, self._count), size=size)
        rows = (self._place - 1 - ages) % self._capacity
        return Steps(
            observed(self._observations[rows], self._device),
            torch.as_tensor(self._actions[rows], device=self._device),
            observed(self._following[rows], self._device),
            torch.as_tensor(self._terminated[rows], device=self._device),
            torch.ones(size, dtype=torch.float64, device=self._device),
        )

    def close(self) -> None:
        """Closes the environments."""
        self._environment.close()
