"""DPO by tokens (Rafailov et al., 2023, 2024), and CPL, which needs no reference (Hejna et al., 2024).

Both are Bradley-Terry on sums of an implicit reward. In the token-level decision process that
reward is beta log(pi / pi_ref) at each token ("From r to Q*", section 4), up to shaping: only sums
over whole completions of one prompt are identified.
"""

from __future__ import annotations

from torch import Tensor

from irlbench.baselines.objectives.bradley_terry import bradley_terry_loss, segment_returns
from irlbench.baselines.objectives.masking import check_shapes


def implicit_rewards(log_pi: Tensor, log_pi_reference: Tensor, *, beta: float) -> Tensor:
    """The reward of each token: beta log(pi(a|s) / pi_ref(a|s)); the reference gets no gradient.

    Args:
        log_pi: log pi(a|s), any shape.
        log_pi_reference: log pi_ref(a|s), the same shape.
        beta: Weight of the KL divergence from the reference, above 0.

    Returns:
        The same shape.

    Raises:
        ValueError: If beta is not positive.
    """
    if beta <= 0:
        raise ValueError(f"beta must be positive, got {beta}")
    check_shapes(log_pi=log_pi, log_pi_reference=log_pi_reference)
    return beta * (log_pi - log_pi_reference.detach())


def dpo_loss(
    log_pi: Tensor,
    log_pi_reference: Tensor,
    mask: Tensor,
    first_preferred: Tensor,
    *,
    beta: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Bradley-Terry on beta sum_t log(pi / pi_ref): Rafailov et al. (2023, eq. 7).

    Args:
        log_pi: log pi(a_t|s_t) of two completions of one prompt, `[pairs, 2, time]`.
        log_pi_reference: log pi_ref(a_t|s_t), the same shape.
        mask: 1 where there is an action, 0 in prompt and padding; the same shape.
        first_preferred: 1 where the first is preferred, 0 where the second is, 0.5 for ties;
            `[pairs]`.
        beta: Weight of the KL divergence from the reference, above 0.
        weight: How much each pair counts, `[pairs]`; all the same where it is None.

    Returns:
        A scalar.
    """
    rewards = implicit_rewards(log_pi, log_pi_reference, beta=beta)
    return bradley_terry_loss(segment_returns(rewards, mask), first_preferred, weight=weight)


def cpl_loss(
    log_pi: Tensor,
    mask: Tensor,
    first_preferred: Tensor,
    *,
    alpha: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Bradley-Terry on alpha sum_t log pi: Hejna et al. (2024, eq. 5), undiscounted.

    Contrastive preference learning: alpha log pi is the optimal advantage, so preferences are by
    regret, and segments need neither begin nor end alike.

    Args:
        log_pi: log pi(a_t|s_t) of two segments, `[pairs, 2, time]`.
        mask: 1 where there is an action, 0 in padding; the same shape.
        first_preferred: 1 where the first is preferred, 0 where the second is, 0.5 for ties;
            `[pairs]`.
        alpha: The temperature of the entropy term, above 0.
        weight: How much each pair counts, `[pairs]`; all the same where it is None.

    Returns:
        A scalar.

    Raises:
        ValueError: If alpha is not positive.
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    advantages = segment_returns(alpha * log_pi, mask)
    return bradley_terry_loss(advantages, first_preferred, weight=weight)
