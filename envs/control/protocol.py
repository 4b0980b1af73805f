"""How recovered rewards are judged on control tasks, in words and numbers."""

from __future__ import annotations

from irlbench.envs.control.true_rewards import is_constant, observed_reward
from irlbench.task import Score

_DISTANCE = (
    "distance of the recovered reward to the true one, over held-out transitions of graded "
    "behaviours: 0 the same, 0.7 unrelated, 1 negated; "
)
_ERROR = "standard error of {} over the held-out episodes (jackknife)"
_DISTANCES = (
    Score(
        "epic",
        f"EPIC {_DISTANCE}actions and states as they were recorded, sampled",
        higher_is_better=False,
    ),
    Score("epic_error", _ERROR.format("epic"), higher_is_better=False),
    Score(
        "starc",
        f"STARC {_DISTANCE}minimal canonicalisation, L2, sampled",
        higher_is_better=False,
    ),
    Score("starc_error", _ERROR.format("starc"), higher_is_better=False),
)
_CORRELATIONS = (
    Score("pearson", "Pearson's correlation with the true reward over held-out steps"),
    Score("spearman", "Spearman's correlation with the true reward over held-out steps"),
    Score("return_pearson", "Pearson's correlation with the true return over held-out episodes"),
    Score("return_spearman", "Spearman's correlation with the true return over held-out episodes"),
)
_PAIRS = (
    Score(
        "pair_accuracy",
        "share of held-out pairs of which it prefers the one with the larger true return: "
        "segments, or whole episodes where the true reward is constant",
    ),
    Score(
        "survival",
        "what the length of an episode alone says: its Pearson correlation with the true return; "
        "the same for every reward",
    ),
)


def reward_scores(environment: str) -> tuple[Score, ...]:
    """Scores of recovered rewards that are defined in an environment.

    Where every step pays the same until the episode ends, distances and correlations are not: the
    true reward does not vary. Where it is not known as a function of what is observed, distances
    are not.

    Args:
        environment: Gymnasium id.
    """
    if is_constant(environment):
        return _PAIRS
    if observed_reward(environment) is None:
        return (*_CORRELATIONS, *_PAIRS)
    return (*_DISTANCES, *_CORRELATIONS, *_PAIRS)
