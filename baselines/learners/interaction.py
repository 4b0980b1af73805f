"""Acting in a problem's environments: a batch of them, and a buffer of what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import StateFunction
from irlbench.baselines.learners.progress import require_finite
from irlbench.baselines.learners.state import take
from irlbench.baselines.learners.steps import Steps, observed
from irlbench.errors import DataError, UsageError
from irlbench.problem import OpenProblem, Problem

#: Actions `[rows, ...]` for observations `[rows, ...]`, drawn from a generator.
Act = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


def softmax_actor(Q: StateFunction, temperature: float, device: str | torch.device) -> Act:
    """Draws actions from softmax(Q / temperature).

    Args:
        Q: One output per action.
        temperature: tau.
        device: Where Q lives.
    """

    def act(observations: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        with torch.no_grad():
            logits = Q(observed(observations, device)).cpu().numpy() / temperature
        # The largest of logits and Gumbel noise is a draw from their softmax.
        return np.asarray((logits + generator.gumbel(size=logits.shape)).argmax(axis=1))

    return act


class Interaction:
    """Steps a batch of environments and keeps the transitions.

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
        self._run = run
        self._generator = run.generator("exploration")
        self._draws = run.generator("replay")
        self._environment = problem.make_environment(num_envs)
        # The environments of an expert's problem are not seeded by the trial.
        first = None
        if isinstance(problem, OpenProblem):
            first = int(run.generator("environments").integers(2**30 - num_envs))
        self._seen, _ = self._environment.reset(seed=first)
        self._resetting = np.zeros(num_envs, dtype=bool)
        self._capacity = max(capacity, num_envs)
        shape, dtype = self._seen.shape[1:], self._seen.dtype
        if dtype.kind == "f":
            dtype = np.dtype(np.float32)  # what networks read
        self._observations = np.zeros((self._capacity, *shape), dtype)
        self._following = np.zeros((self._capacity, *shape), dtype)
        space: Any = problem.action_space
        self._actions = np.zeros((self._capacity, *space.shape), dtype=space.dtype)
        self._paid = np.zeros(self._capacity, dtype=np.float32)
        self._terminated = np.zeros(self._capacity, dtype=bool)
        self._weights = torch.ones(0, dtype=torch.float64)
        self._place = self._count = self._taken = 0

    def __len__(self) -> int:
        return self._count

    @property
    def exhausted(self) -> bool:
        """Whether the budget has no room for another step of every row."""
        left = self._problem.meter.left
        return left is not None and left < len(self._seen)

    def step(self, act: Act, *, random_share: float = 0.0) -> int:
        """One step of every row.

        Args:
            act: Gives actions for observations `[rows, ...]`, drawn from a generator.
            random_share: Probability that an action is drawn uniformly instead; at 1 nobody acts.

        Returns:
            How many transitions that gave: rows that only begin anew give none.

        Raises:
            DivergenceError: If an action is not finite; simulators do not stand that.
        """
        rows = len(self._seen)
        actions = None
        if random_share < 1:
            actions = act(self._seen, self._generator)
            self._require_finite(actions)
        if random_share > 0:
            any_action = self._any_actions(rows)
            tried = self._generator.random(rows) < random_share
            chosen = tried.reshape(rows, *[1] * (any_action.ndim - 1))
            actions = any_action if actions is None else np.where(chosen, any_action, actions)
        assert actions is not None
        before, resetting = self._seen, self._resetting
        self._seen, paid, terminations, truncations, _ = self._environment.step(actions)
        self._resetting = terminations | truncations
        self._keep(before, actions, paid, terminations, ~resetting)
        real = int((~resetting).sum())
        self._taken += real
        return real

    def _require_finite(self, actions: NDArray[Any]) -> None:
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            worst = float(actions[~np.isfinite(actions)].flat[0])
            require_finite({"an action": worst}, self._taken)

    def _any_actions(self, rows: int) -> NDArray[Any]:
        """Actions drawn uniformly, `[rows, ...]`."""
        space: Any = self._problem.action_space
        if isinstance(space, spaces.Discrete):
            return self._generator.integers(int(space.n), size=rows)
        drawn = self._generator.uniform(space.low, space.high, (rows, *space.shape))
        return drawn.astype(space.dtype)

    def begin_anew(self, name: str) -> None:
        """Ends all episodes, and draws everything that follows from a stream of that name."""
        draws = self._run.generator(name)
        self._generator, self._draws = (np.random.default_rng(s) for s in draws.spawn(2))
        self._seen, _ = self._environment.reset(seed=int(draws.integers(2**30 - len(self._seen))))
        self._resetting[:] = False

    def state(self) -> dict[str, NDArray[Any]]:
        """What is kept, for a checkpoint just before `begin_anew`; copies."""
        kept = slice(0, self._count)
        return {
            "observations": self._observations[kept].copy(),
            "following": self._following[kept].copy(),
            "actions": self._actions[kept].copy(),
            "paid": self._paid[kept].copy(),
            "terminated": self._terminated[kept].copy(),
            "place": np.array([self._place, self._taken]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes back what `state` gave.

        Raises:
            DataError: If it is that of other environments or of a larger buffer.
        """
        count = len(state["terminated"]) if "terminated" in state else 0
        if count > self._capacity:
            raise DataError(f"{count} transitions do not fit a buffer of {self._capacity}")
        for name in ("observations", "following", "actions", "paid", "terminated"):
            own = getattr(self, f"_{name}")[:count]
            own[:] = take(state, name, own)
        self._count = count
        self._place, self._taken = map(int, take(state, "place", np.array([0, 0])))

    def _keep(
        self,
        before: NDArray[Any],
        actions: NDArray[Any],
        paid: NDArray[Any],
        terminations: NDArray[np.bool_],
        real: NDArray[np.bool_],
    ) -> None:
        rows = np.flatnonzero(real)
        places = (self._place + np.arange(len(rows))) % self._capacity
        self._observations[places] = before[rows]
        self._following[places] = self._seen[rows]
        self._actions[places] = actions[rows]
        self._paid[places] = paid[rows]
        self._terminated[places] = terminations[rows]
        self._place = (self._place + len(rows)) % self._capacity
        self._count = min(self._count + len(rows), self._capacity)

    def sample(self, size: int, *, newest: int | None = None) -> Steps:
        """Transitions drawn from the buffer with replacement.

        Args:
            size: How many.
            newest: Only from so many of the latest; None: from all.
        """
        return self._steps(self._rows(size, newest))

    def sample_paid(self, size: int) -> tuple[Steps, Tensor]:
        """Transitions drawn from the buffer, and what the environment paid for each, `[batch]`.

        Only environments of an `OpenProblem` pay anything.

        Args:
            size: How many.
        """
        rows = self._rows(size, None)
        return self._steps(rows), torch.as_tensor(self._paid[rows], device=self._device)

    def ends(self, newest: int) -> float:
        """The share of the latest transitions that ended an episode.

        Args:
            newest: How many of the latest.
        """
        count = min(newest, self._count)
        if count == self._capacity:
            return float(self._terminated.mean())
        return float(self._terminated[(self._place - 1 - np.arange(count)) % self._capacity].mean())

    def _rows(self, size: int, newest: int | None) -> NDArray[np.int64]:
        ages = self._draws.integers(min(newest or self._count, self._count), size=size)
        return np.asarray((self._place - 1 - ages) % self._capacity)

    def _steps(self, rows: NDArray[np.int64]) -> Steps:
        return Steps(
            observed(self._observations[rows], self._device),
            torch.as_tensor(self._actions[rows], device=self._device),
            observed(self._following[rows], self._device),
            torch.as_tensor(self._terminated[rows], device=self._device),
            self._ones(len(rows)),
        )

    def _ones(self, size: int) -> Tensor:
        if len(self._weights) != size:
            self._weights = torch.ones(size, dtype=torch.float64, device=self._device)
        return self._weights

    def close(self) -> None:
        """Closes the environments."""
        self._environment.close()
