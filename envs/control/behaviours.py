"""Behaviours of graded quality: the expert with random actions now and then."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator

#: Shares of random actions, from the expert to the uniform policy.
SHARES = (0.0, 0.2, 0.5, 1.0)


class NoisyPolicy(Policy):
    """The expert's own action, or in some steps a uniformly random one.

    The expert acts in deterministic mode. Every step draws the same numbers whichever action is
    taken, so an episode depends on its seed and the share alone.

    Args:
        expert: Whose action is taken otherwise.
        action_space: `Discrete` from 0, or a bounded `Box`.
        share: The probability of a random action, in every step anew: 0 is the expert, 1 the
            uniform policy.

    Raises:
        UsageError: If `share` is no probability.
    """

    def __init__(self, expert: Policy, action_space: gymnasium.Space[Any], share: float) -> None:
        if not 0 <= share <= 1:  # also where it is NaN
            raise UsageError(f"a share of random actions is a probability, got {share}")
        self._expert, self._share = expert, share
        self._uniform = UniformPolicy.over(action_space)

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. Random actions are part of it: `deterministic` draws them all the same."""
        draws = generator.uniform()[:, 0]
        random, _ = self._uniform.act(observations, generator=generator)
        actions, state = self._expert.act(
            observations, state, reset_mask=reset_mask, deterministic=True, generator=generator
        )
        strays = (draws < self._share).reshape(-1, *[1] * (random.ndim - 1))
        return np.where(strays, random, actions), state
