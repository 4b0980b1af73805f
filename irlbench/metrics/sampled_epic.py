"""EPIC from samples, with its error, for worlds that cannot be enumerated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.metrics.reward_distances import half_distance, standardised
from irlbench.reward import RewardFunction

# Transitions that are evaluated at once.
_BATCH = 2**18


@dataclass(frozen=True, eq=False)
class Transitions:
    """A sample of transitions, from the distribution on which two rewards are compared.

    Attributes:
        observations: `[n, ...]`.
        actions: `[n, ...]`.
        next_observations: `[n, ...]`.
        terminated: bool `[n]`.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    next_observations: NDArray[Any]
    terminated: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ActionsAndStates:
    """A sample of A and S', drawn apart, over which the canonical reward takes its means.

    Attributes:
        actions: `[m, ...]`.
        observations: `[m, ...]`.
        terminated: bool `[m]`: whether an episode ends in that state.
    """

    actions: NDArray[Any]
    observations: NDArray[Any]
    terminated: NDArray[np.bool_]


@dataclass(frozen=True)
class SampledDistance:
    """An estimate of a distance.

    Attributes:
        estimate: 0 to 1.
        error: Its standard error.
    """

    estimate: float
    error: float


def sampled_epic_distance(
    first: RewardFunction,
    second: RewardFunction,
    transitions: Transitions,
    means: ActionsAndStates,
    *,
    discount: float,
    groups: int = 20,
) -> SampledDistance:
    """sqrt((1 - rho) / 2) of canonical rewards whose means are over a sample.

    After Gleave et al. (2021), appendix A.1. Both rewards see the same samples, so that shaping and
    scaling leave exactly distance 0. The error is the jackknife's over groups of both samples
    (Efron and Tibshirani, 1993, chapter 11), each group left out in turn.

    Args:
        first: A reward.
        second: Another.
        transitions: Where they are compared, n of them.
        means: What the canonical reward is a mean over, m of them; n times m transitions are
            evaluated twice.
        discount: gamma.
        groups: Into how many each sample is divided.

    Raises:
        UsageError: If a sample is smaller than twice the groups, or a reward is not finite.
    """
    n, m = len(transitions.terminated), len(means.terminated)
    if groups < 2 or min(n, m) < 2 * groups:
        raise UsageError(
            f"{groups} groups need samples of at least {2 * max(groups, 2)}, got {n} transitions "
            f"and {m} of the means"
        )
    members = [np.arange(size) * groups // size for size in (n, m)]
    parts = [_Canonical(r, transitions, means, members[1], discount) for r in (first, second)]
    scales = [part.largest for part in parts]
    estimate = _distance([part.whole() for part in parts], scales)
    left_out = np.array(
        [
            _distance([part.without(group)[members[0] != group] for part in parts], scales)
            for group in range(groups)
        ]
    )
    spread = ((left_out - left_out.mean()) ** 2).sum()
    return SampledDistance(estimate, float(np.sqrt(spread * (groups - 1) / groups)))


class _Canonical:
    """r(s, a, s') + gamma mean r(s', A, S') - mean r(s, A, S'), the means by groups.

    The constant that EPIC takes off besides has no part in a correlation.
    """

    def __init__(
        self,
        reward: RewardFunction,
        transitions: Transitions,
        means: ActionsAndStates,
        members: NDArray[np.int64],
        discount: float,
    ) -> None:
        self._rewards = evaluated(reward, transitions)
        self.largest = float(np.abs(self._rewards).max())
        self._sizes = np.bincount(members)
        first = np.searchsorted(members, np.arange(len(self._sizes)))
        self._sums = discount * _sums(reward, transitions.next_observations, means, first) - _sums(
            reward, transitions.observations, means, first
        )

    def whole(self) -> NDArray[np.float64]:
        """Canonical rewards `[n]`, with the means over the whole sample."""
        return self._rewards + self._sums.sum(axis=1) / self._sizes.sum()

    def without(self, group: int) -> NDArray[np.float64]:
        """Canonical rewards `[n]`, with the means over all groups but one."""
        rest = self._sums.sum(axis=1) - self._sums[:, group]
        return self._rewards + rest / (self._sizes.sum() - self._sizes[group])


def evaluated(reward: RewardFunction, transitions: Transitions) -> NDArray[np.float64]:
    """The reward of every transition of a sample, `[n]`.

    Args:
        reward: Any.
        transitions: n of them.

    Raises:
        UsageError: If it is not finite somewhere.
    """
    return _evaluated(
        reward,
        transitions.observations,
        transitions.actions,
        transitions.next_observations,
        transitions.terminated,
    )


def mean_rewards(
    reward: RewardFunction, observations: NDArray[Any], means: ActionsAndStates
) -> NDArray[np.float64]:
    """m(s) = E[r(s, A, S')] over a sample of A and S', `[n]`.

    Args:
        reward: Any.
        observations: The states, `[n, ...]`.
        means: The sample, m of them; n times m transitions are evaluated.

    Raises:
        UsageError: If the reward is not finite somewhere.
    """
    whole = np.zeros(1, dtype=np.int64)
    return _sums(reward, observations, means, whole)[:, 0] / len(means.terminated)


def _sums(
    reward: RewardFunction,
    observations: NDArray[Any],
    means: ActionsAndStates,
    first: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sums of r(s, A, S') over each group of the means, which begin at `first`: `[n, groups]`."""
    m = len(means.terminated)
    size = max(1, _BATCH // m)
    found = []
    for low in range(0, len(observations), size):
        some = observations[low : low + size]
        values = _evaluated(
            reward,
            some.repeat(m, axis=0),
            np.concatenate([means.actions] * len(some)),
            np.concatenate([means.observations] * len(some)),
            np.tile(means.terminated, len(some)),
        )
        found.append(np.add.reduceat(values.reshape(len(some), m), first, axis=1))
    return np.concatenate(found)


def _evaluated(
    reward: RewardFunction,
    observations: NDArray[Any],
    actions: NDArray[Any],
    following: NDArray[Any],
    terminated: NDArray[np.bool_],
) -> NDArray[np.float64]:
    values = np.asarray(reward(observations, actions, following, terminated), dtype=np.float64)
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise UsageError(
            f"the reward of observation {observations[bad]}, action {actions[bad]}, next "
            f"observation {following[bad]} is {values[bad]}"
        )
    return values


def _distance(canonical: list[NDArray[np.float64]], scales: list[float]) -> float:
    """sqrt((1 - rho) / 2) of two samples `[n]`, made of rewards of these sizes."""
    weights = np.full(len(canonical[0]), 1 / len(canonical[0]))
    first, second = (
        standardised(c - c.mean(), weights, scale)
        for c, scale in zip(canonical, scales, strict=True)
    )
    return half_distance(first, second, weights)
