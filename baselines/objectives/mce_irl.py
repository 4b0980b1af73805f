"""Maximum causal entropy IRL: the reward under which the learner's occupancy is the expert's."""

from __future__ import annotations

from torch import Tensor

from irlbench.baselines.objectives.masking import check_shapes


def mce_irl_loss(reward: Tensor, learner_occupancy: Tensor, expert_occupancy: Tensor) -> Tensor:
    """A loss whose gradient in the reward is the learner's occupancy less the expert's.

    With the soft-optimal policy of the reward as learner that is tau times the gradient of the
    expert's negative log-likelihood (Ziebart, Bagnell and Dey, 2010; for a linear reward, feature
    matching). The occupancies are held fixed, so only the gradient means something: recompute the
    learner's after every change of the reward.

    Args:
        reward: r(s), r(s, a) or r(s, a, s'), or on samples their rewards; any shape.
        learner_occupancy: Normalised occupancy measure of the learner, the same shape.
        expert_occupancy: Normalised occupancy measure of the expert, the same shape.

    Returns:
        A scalar.
    """
    check_shapes(
        reward=reward, learner_occupancy=learner_occupancy, expert_occupancy=expert_occupancy
    )
    return (reward * (learner_occupancy - expert_occupancy).detach()).sum()
