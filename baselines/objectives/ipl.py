"""IPL: inverse preference learning (Hejna and Sadigh, 2023).

Preferences are fitted by the reward that Q implies, r = Q - gamma V', and no reward model is
learnt. V follows from Q by a rule of its own: for discrete actions the soft maximum (`soft_value`);
for continuous ones it is fitted, by an expectile or by Gumbel regression, and the policy is read
off by advantage-weighted regression.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from irlbench.baselines.objectives.bradley_terry import bradley_terry_loss, segment_returns
from irlbench.baselines.objectives.masking import check_shapes, masked_mean, without_padding
from irlbench.baselines.objectives.soft_values import SoftValues


def ipl_rewards(values: SoftValues, *, discount: float) -> Tensor:
    """r(s, a) = Q(s, a) - gamma V(s'), with V' held fixed: no gradient flows into it.

    Args:
        values: Transitions of the segments.
        discount: gamma.

    Returns:
        The shape of `values.Q`.
    """
    return replace(values, V_next=values.V_next.detach()).reward(discount)


def ipl_loss(
    rewards: Tensor,
    mask: Tensor,
    first_preferred: Tensor,
    *,
    regulariser_weight: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Bradley-Terry on undiscounted sums of implied rewards, plus lambda E[r^2] (section 4).

    The segments are summed without discount, also where gamma is below 1. Without the square, Q
    is unbounded: a constant added to all rewards of equally long segments costs nothing, and
    where all agree on a pair a larger difference always costs less.

    Args:
        rewards: Of the two segments of each pair (`ipl_rewards`), `[pairs, 2, time]`.
        mask: 1 where there is an action, 0 in padding; the same shape.
        first_preferred: 1 where the first is preferred, 0 where the second is, 0.5 for ties;
            `[pairs]`.
        regulariser_weight: lambda, at least 0. The mean is over the actions of all segments.
        weight: How much each pair counts, `[pairs]`; all the same where it is None.

    Returns:
        A scalar.

    Raises:
        ValueError: If the regulariser's weight is negative.
    """
    if regulariser_weight < 0:
        raise ValueError(f"regulariser_weight must not be negative, got {regulariser_weight}")
    loss = bradley_terry_loss(segment_returns(rewards, mask), first_preferred, weight=weight)
    return loss + regulariser_weight * masked_mean(without_padding(rewards, mask) ** 2, mask)


def expectile_value_loss(V: Tensor, Q: Tensor, mask: Tensor, *, expectile: float) -> Tensor:
    """Fits V to an expectile of Q over actions: E[|expectile - 1(u < 0)| u^2], u = Q - V.

    Implicit Q-learning (Kostrikov, Nair and Levine, 2022, eq. 5). Q gets no gradient.

    Args:
        V: V(s), `[batch]` or `[batch, time]`.
        Q: Q(s, a) of actions in the data, the same shape.
        mask: 1 where there is a transition, 0 in padding; the same shape.
        expectile: In (0, 1): 0.5 is the mean, near 1 the largest.

    Returns:
        A scalar.

    Raises:
        ValueError: If the expectile is not in (0, 1).
    """
    if not 0 < expectile < 1:
        raise ValueError(f"expectile must be in (0, 1), got {expectile}")
    check_shapes(V=V, Q=Q, mask=mask)
    difference = without_padding(Q.detach() - V, mask)
    below = (difference < 0).to(difference.dtype)
    return masked_mean((expectile - below).abs() * difference**2, mask)


def gumbel_value_loss(
    V: Tensor, Q: Tensor, mask: Tensor, *, temperature: float, clip: float
) -> Tensor:
    """Fits V to the soft maximum of Q under the data's actions: E[exp(z) - z - 1], z = (Q - V) / tau.

    Gumbel regression, of extreme Q-learning (Garg et al., 2023): the minimum is at
    V = tau log E[exp(Q / tau)]. Q gets no gradient. The paper cuts z off above; here the loss goes
    on along its tangent instead, so that a V far too low is still pulled up.

    Args:
        V: V(s), `[batch]` or `[batch, time]`.
        Q: Q(s, a) of actions in the data, the same shape.
        mask: 1 where there is a transition, 0 in padding; the same shape.
        temperature: tau, above 0.
        clip: Where the tangent begins, in (0, 80]: beyond, the exponential overflows float32.

    Returns:
        A scalar.

    Raises:
        ValueError: If the temperature or the clip is out of range.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if not 0 < clip <= 80:
        raise ValueError(f"clip must be in (0, 80], got {clip}")
    check_shapes(V=V, Q=Q, mask=mask)
    z = without_padding(Q.detach() - V, mask) / temperature
    # expm1 keeps the digits that exp(z) - 1 loses near the minimum.
    exponential = torch.expm1(z.clamp(max=clip)) + math.exp(clip) * (z - clip).clamp(min=0)
    return masked_mean(exponential - z, mask)


def advantage_weighted_loss(
    log_pi: Tensor,
    Q: Tensor,
    V: Tensor,
    mask: Tensor,
    *,
    temperature: float,
    largest_weight: float,
) -> Tensor:
    """Reads a policy off Q and V: E[-exp((Q - V) / tau) log pi(a|s)], weights cut off above.

    Advantage-weighted regression (Peng et al., 2019), as in implicit Q-learning (Kostrikov et al.,
    2022, eq. 7). Only the policy gets a gradient.

    Args:
        log_pi: log pi(a|s) of actions in the data, `[batch]` or `[batch, time]`.
        Q: Q(s, a), the same shape.
        V: V(s), the same shape.
        mask: 1 where there is a transition, 0 in padding; the same shape.
        temperature: tau, above 0; the larger, the nearer to behavioural cloning.
        largest_weight: What weights are cut off at, above 0.

    Returns:
        A scalar.

    Raises:
        ValueError: If the temperature or the largest weight is not positive.
    """
    if temperature <= 0 or largest_weight <= 0:
        raise ValueError(
            "temperature and largest_weight must be positive, "
            f"got {temperature} and {largest_weight}"
        )
    check_shapes(log_pi=log_pi, Q=Q, V=V, mask=mask)
    advantage = without_padding((Q - V).detach(), mask)
    weights = (advantage / temperature).exp().clamp(max=largest_weight)
    return masked_mean(-weights * log_pi, mask)
