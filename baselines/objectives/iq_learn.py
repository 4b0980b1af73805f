"""IQ-Learn: inverse soft-Q learning (Garg et al., 2021), and its form on text.

With the chi2 divergence the concave function of the paper is phi(r) = r - c r^2, c = 1 / (4 alpha)
and the objective (section 5) is

    max_Q  E_expert[phi(Q - gamma V')] - (1 - gamma) E[V(s_0)].

The value term can be read off any distribution, by the telescoping sum of section 5:
E_mu[V(s) - gamma V(s')] = (1 - gamma) E[V(s_0)] for every normalised occupancy measure mu.

On text gamma is 1, and where only demonstrations are read the objective is maximum likelihood with
a temporal-difference regulariser: E_expert[-log pi + c (log pi + V - V')^2] (Wulfmeier et al., 2024,
"Imitating Language via Scalable Inverse Reinforcement Learning"). Their lambda is `chi2_weight`
here, the factor of the mean square; 0 is supervised fine-tuning.

The square is of Q - gamma E[V']. Where s' is random and only sampled it also counts the variance of
gamma V': known dynamics give the expectation instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from irlbench.baselines.objectives.masking import check_shapes, masked_mean
from irlbench.baselines.objectives.soft_values import SoftValues
from irlbench.errors import UnknownNameError

#: Where the value term (1 - gamma) E[V(s_0)] is read: the expert's and the policy's transitions,
#: initial states, or the expert's transitions.
VALUE_TERMS = ("value", "v0", "value_expert")


def iq_learn_loss(
    expert: SoftValues,
    policy: SoftValues | None = None,
    *,
    discount: float,
    value_term: str,
    chi2_weight: float,
    initial_value: Tensor | None = None,
) -> Tensor:
    """The negated objective: value term - E_expert[r] + c E[r^2], with r = Q - gamma V'.

    Where both batches are given (online), the square is taken over their even mixture, since on
    the expert's alone nothing bounds the reward of what the policy does, and Q diverges (Al-Hafez
    et al., 2023). Each batch is averaged by itself, so their sizes do not matter. Gradients flow
    through V and V' alike.

    Args:
        expert: Transitions of the demonstrations.
        policy: Transitions of the policy; None offline.
        discount: gamma; 1 on text.
        value_term: One of `VALUE_TERMS`. `value` is over both batches, or over the expert's where
            it is the only one; `v0` takes `initial_value`; `value_expert` is over the expert's.
        chi2_weight: c = 1 / (4 alpha), at least 0; 0 is no regulariser.
        initial_value: For `v0`, a scalar: see `discounted_initial_value`, and for gamma = 1
            `initial_value_per_action`.

    Returns:
        A scalar.

    Raises:
        UnknownNameError: If there is no such value term.
        ValueError: If `initial_value` does not go with the value term, or the weight is negative.
    """
    if value_term not in VALUE_TERMS:
        raise UnknownNameError("value term", value_term, VALUE_TERMS)
    if (initial_value is not None) != (value_term == "v0"):
        given = "no initial_value" if initial_value is None else "an initial_value"
        raise ValueError(f"value term {value_term!r} and {given}: v0 needs one, the others none")
    if chi2_weight < 0:
        raise ValueError(f"chi2_weight must not be negative, got {chi2_weight}")
    both = [expert] if policy is None else [expert, policy]
    if initial_value is None:
        value = _value_term(both if value_term == "value" else [expert], discount)
    else:
        value = initial_value
    loss = value - masked_mean(expert.reward(discount), expert.mask)
    squares = [masked_mean(batch.reward(discount) ** 2, batch.mask) for batch in both]
    return loss + chi2_weight * torch.stack(squares).mean()


def _value_term(batches: Sequence[SoftValues], discount: float) -> Tensor:
    """E[V(s) - gamma V(s')] over an even mixture of batches."""
    each = [masked_mean(batch.V - batch.discounted_next(discount), batch.mask) for batch in batches]
    return torch.stack(each).mean()


def discounted_initial_value(
    V_initial: Tensor, discount: float, *, ended: float | Tensor = 0.0
) -> Tensor:
    """The value term at initial states: (1 - gamma) E[V(s_0)].

    Where episodes end, an occupancy measure has a total below 1, and means over its transitions are
    larger by as much: 1 - gamma P(not ended) takes the place of 1 - gamma.

    Args:
        V_initial: V of initial states, `[batch]`.
        discount: gamma, below 1.
        ended: Share of the expert's transitions that end an episode.

    Returns:
        A scalar.

    Raises:
        ValueError: If gamma is 1, where the term would vanish and leave Q unbounded.
    """
    if not 0 <= discount < 1:
        raise ValueError(
            f"discount must be in [0, 1), got {discount}; initial_value_per_action is for 1"
        )
    return (1 - discount * (1 - ended)) * V_initial.mean()


def initial_value_per_action(V: Tensor, mask: Tensor) -> Tensor:
    """The value term at initial states for gamma = 1: E[V(s_0)] over the mean number of actions.

    It is to the mean over actions what (1 - gamma) E[V(s_0)] is to a normalised occupancy measure:
    the mean of V - V' over actions when every sequence ends. Where sequences are cut it is larger,
    by the sum of their last V' over the number of actions.

    Args:
        V: V(s_t), `[batch, time]`.
        mask: 1 where there is an action, else 0; `[batch, time]`.

    Returns:
        A scalar.
    """
    check_shapes(V=V, mask=mask)
    first = (mask != 0).int().argmax(dim=1, keepdim=True)
    initial = V.gather(1, first)
    # A sequence without any action has no initial state.
    return initial.masked_fill(mask.gather(1, first) == 0, 0.0).sum() / mask.sum()


def absorbing_value(
    expert_ends: float,
    policy_ends: float,
    discount: float,
    *,
    value_term: str,
    chi2_weight: float,
) -> float:
    """V of the state that an episode's end leads to, where the objective is at its best for it.

    There is one action and no way out, so r = (1 - gamma) V, and the objective of that state alone
    is e r - w r - c (e + p) / 2 r^2, with the shares of time e and p that the expert and the policy
    spend there and its weight w in the value term. Without it an end is worth 0, which is as good
    as the expert's ways once its reward has gone to 0 (Al-Hafez et al., 2023).

    Args:
        expert_ends: Share of the expert's transitions that end an episode.
        policy_ends: The same of the policy's.
        discount: gamma, below 1: after an end, 1 / (1 - gamma) steps count.
        value_term: One of `VALUE_TERMS`.
        chi2_weight: c, above 0.

    Returns:
        V; 0 where neither ever ends an episode.
    """
    e, p = (ends / (ends + 1 - discount) for ends in (expert_ends, policy_ends))
    if e + p == 0:
        return 0.0
    weight = {"value": (e + p) / 2, "v0": 0.0, "value_expert": e}[value_term]
    return (e - weight) / (chi2_weight * (e + p)) / (1 - discount)
