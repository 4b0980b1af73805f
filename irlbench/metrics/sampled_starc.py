"""STARC from samples, with its error, for worlds whose states cannot be enumerated.

Of the canonicalisations of Skalse et al. (2024) this is the minimal one for the L2 norm over the
sample: of all rewards that differ by potential-based shaping, the smallest. (Value canonicalisation,
which the exact distance takes, needs the value of one policy for every reward, which would have to
be estimated with an error of its own.) It is a least-squares fit of r by Phi(s) - gamma Phi(s'),
with potentials in the span of

- 1 and random tanh features of the state, alike for all rewards, and
- the mean E[r(s, A, S')] of each of the two rewards, as EPIC takes it.

A reward that is another one plus shaping has that one's mean less the potential, whatever the
potential is: so the second part makes all shaping, and any scale, leave exactly distance 0. The
distance knows that episodes end, where the potential is 0; so a constant reward is not trivial.
Other than the exact STARC it takes no mean over next states: where they are uncertain it tells a
reward from its mean, as EPIC does. (Gymnasium's control is deterministic.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import UsageError
from irlbench.metrics.reward_distances import half_distance, standardised
from irlbench.metrics.sampled_epic import (
    ActionsAndStates,
    SampledDistance,
    Transitions,
    evaluated,
    mean_rewards,
)
from irlbench.reward import RewardFunction

_RANDOM_FEATURES = 64
# Of the features' mean square: what keeps the fit sound where one feature follows from others.
_RIDGE = 1e-12


def sampled_starc_distance(
    first: RewardFunction,
    second: RewardFunction,
    transitions: Transitions,
    means: ActionsAndStates,
    *,
    discount: float,
    groups: NDArray[np.int64],
) -> SampledDistance:
    """Half the L2 distance of minimal canonical rewards of norm 1, over a sample of transitions.

    The error is the jackknife's over groups (Efron and Tibshirani, 1993, chapter 11): each is left
    out in turn, from the fit of the potentials too.

    Args:
        first: A reward.
        second: Another.
        transitions: Where they are compared, n of them.
        means: What the potentials of the rewards are means over, m of them; n times m transitions
            are evaluated twice.
        discount: gamma.
        groups: The group of each transition, from 0 on, `[n]`. Transitions of one episode belong
            to one group.

    Raises:
        UsageError: If there are fewer than two groups or next to no transitions, or a reward is not
            finite.
    """
    n, count = len(transitions.terminated), int(groups.max(initial=-1)) + 1
    if groups.shape != (n,) or count < 2 or n < 4 * _RANDOM_FEATURES:
        raise UsageError(
            f"at least {4 * _RANDOM_FEATURES} transitions in 2 groups are needed, got {n} in "
            f"{count}, named by an array of shape {groups.shape}"
        )
    rewards = np.stack([evaluated(r, transitions) for r in (first, second)], axis=1)
    shaping = _shaping((first, second), transitions, means, discount)
    scales = [float(size) for size in np.abs(rewards).max(axis=0)]
    members = [groups == g for g in range(count)]
    grams = np.stack([shaping[own].T @ shaping[own] for own in members])
    sides = np.stack([shaping[own].T @ rewards[own] for own in members])

    def distance(rows: NDArray[np.bool_], kept: NDArray[np.bool_]) -> float:
        gram, side = grams[kept].sum(axis=0), sides[kept].sum(axis=0)
        ridged = gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        weights = np.linalg.solve(ridged, side)
        weights += np.linalg.solve(ridged, side - gram @ weights)  # takes off what the ridge did
        residual = rewards[rows] - shaping[rows] @ weights
        even = np.full(len(residual), 1 / len(residual))
        one, other = (standardised(residual[:, i], even, scales[i]) for i in (0, 1))
        return half_distance(one, other, even)

    estimate = distance(np.ones(n, dtype=bool), np.ones(count, dtype=bool))
    left_out = np.array([distance(groups != g, np.arange(count) != g) for g in range(count)])
    spread = ((left_out - left_out.mean()) ** 2).sum()
    return SampledDistance(estimate, float(np.sqrt(spread * (count - 1) / count)))


def _shaping(
    rewards: tuple[RewardFunction, RewardFunction],
    transitions: Transitions,
    means: ActionsAndStates,
    discount: float,
) -> NDArray[np.float64]:
    """gamma Phi(s') - Phi(s) for every Phi that spans the potentials: `[n, features]`."""
    scale = _Scale(transitions.observations)
    seen = transitions.observations, transitions.next_observations
    now, following = (scale.random_features(states) for states in seen)
    for reward in rewards:
        here, there = (mean_rewards(reward, states, means)[:, None] for states in seen)
        # A constant is among the features. Of the same size as those, all are weighed alike.
        centre, size = here.mean(), float(here.std())
        if size > 0:
            now = np.concatenate([now, (here - centre) / size], axis=1)
            following = np.concatenate([following, (there - centre) / size], axis=1)
    return np.asarray(discount * following * ~transitions.terminated[:, None] - now)


class _Scale:
    """Random features of states, each number of which is first scaled to mean 0 and deviation 1."""

    def __init__(self, observations: NDArray[Any]) -> None:
        flat = _flat(observations)
        self._mean, spread = flat.mean(axis=0), flat.std(axis=0)
        varies = spread > 1e-8 * np.maximum(1, np.abs(self._mean))
        self._std = np.where(varies, spread, np.inf)
        random = np.random.default_rng(0)
        shape = (flat.shape[1], _RANDOM_FEATURES)
        self._weights = random.normal(size=shape) / np.sqrt(max(int(varies.sum()), 1))
        self._biases = random.normal(size=_RANDOM_FEATURES)

    def random_features(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """1 and the random features, `[batch, features]`."""
        x = (_flat(observations) - self._mean) / self._std
        return np.concatenate([np.ones((len(x), 1)), np.tanh(x @ self._weights + self._biases)], 1)


def _flat(observations: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(observations, dtype=np.float64).reshape(len(observations), -1)
