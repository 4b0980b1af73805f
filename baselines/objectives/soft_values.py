"""Soft values, and the reward that a soft Q-function implies.

For discrete actions pi(a|s) = softmax(Q(s, .) / tau) and V(s) = tau log sum_a exp(Q(s, a) / tau), so
that tau log pi(a|s) = Q(s, a) - V(s). A language model's logits are its Q, with tau = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from irlbench.baselines.objectives.masking import check_shapes, without_padding


@dataclass(frozen=True, eq=False)
class SoftValues:
    """What a soft Q-function says of a batch of transitions (s, a, s').

    All of one shape: `[batch]`, `[batch, time]`, or `[states, actions]` when the mask holds an
    occupancy measure.

    Attributes:
        Q: Q(s, a) of the action taken.
        V: V(s).
        V_next: V(s'), or its expectation over s'; not read where terminated.
        terminated: bool: whether s' ended the episode, so that nothing is earned from it. A time
            limit from outside is no termination.
        mask: 1 where there is a transition, 0 in padding; any other number is a weight.
    """

    Q: Tensor
    V: Tensor
    V_next: Tensor
    terminated: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        check_shapes(
            Q=self.Q,
            V=self.V,
            V_next=self.V_next,
            terminated=self.terminated,
            mask=self.mask,
        )

    def __getitem__(self, rows: slice) -> SoftValues:
        return SoftValues(
            self.Q[rows],
            self.V[rows],
            self.V_next[rows],
            self.terminated[rows],
            self.mask[rows],
        )

    def bounded(self, most: float) -> SoftValues:
        """The same with V(s') kept between -most and most."""
        return replace(self, V_next=self.V_next.clamp(-most, most))

    def with_end_value(self, value: float) -> SoftValues:
        """The same with V(s') = value where s' ended the episode, and nothing terminated."""
        following = self.V_next.masked_fill(self.terminated.bool(), value)
        return replace(self, V_next=following, terminated=torch.zeros_like(self.terminated))

    def discounted_next(self, discount: float) -> Tensor:
        """gamma V(s'), zero where terminated.

        Args:
            discount: gamma.
        """
        return discount * self.V_next.masked_fill(self.terminated.bool(), 0.0)

    def reward(self, discount: float) -> Tensor:
        """The reward that Q implies: r(s, a) = Q(s, a) - gamma V(s').

        The inverse soft Bellman operator (Garg et al., 2021, section 4). Gradients flow into
        `V_next` as it was given: detach it, or take it from a target network, to stop them.

        Args:
            discount: gamma.

        Returns:
            The shape of `Q`; 0 in padding.
        """
        return without_padding(self.Q - self.discounted_next(discount), self.mask)


def soft_value(Q: Tensor, temperature: float) -> Tensor:
    """V(s) = tau log sum_a exp(Q(s, a) / tau) (Haarnoja et al., 2017, theorem 1).

    Args:
        Q: `[..., actions]`.
        temperature: tau, above 0.

    Returns:
        `[...]`.

    Raises:
        ValueError: If the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return temperature * torch.logsumexp(Q / temperature, dim=-1)


def sequence_values(
    Q: Tensor,
    V: Tensor,
    mask: Tensor,
    *,
    terminated: Tensor,
    last_value: Tensor | None = None,
) -> SoftValues:
    """Transitions of token sequences: s' of an action is the state in which the policy acts next.

    Tokens that are not the policy's (a prompt, another speaker's turn) are stepped over, and so is
    padding wherever it stands.

    Args:
        Q: Q(s_t, a_t) of the token that follows position t, `[batch, time]`.
        V: V(s_t), `[batch, time]`.
        mask: 1 where the token that follows was the policy's, else 0; `[batch, time]`.
        terminated: bool `[batch]`: whether the sequence ended, by an end-of-sequence token or at a
            horizon that is part of the decision process.
        last_value: V of the state after the last action, `[batch]`; not read where terminated. May
            be left out if all sequences ended.

    Returns:
        `[batch, time]`.

    Raises:
        ValueError: If a sequence did not end and there is no `last_value`.
    """
    check_shapes(Q=Q, V=V, mask=mask)
    batch, time = V.shape
    if last_value is None:
        if not bool(terminated.all()):
            row = int((~terminated.bool()).nonzero()[0])
            raise ValueError(f"sequence {row} did not end: give last_value to bootstrap from")
        last_value = V.new_zeros(batch)
    check_shapes(terminated=terminated, last_value=last_value)
    none = V.new_full((batch, 1), time, dtype=torch.int64)
    own = torch.arange(time, device=V.device).expand(batch, time)
    # From the right, the least position so far that holds an action; `time` where there is none.
    upcoming = own.masked_fill(mask == 0, time).flip(1).cummin(dim=1).values.flip(1)
    following = torch.cat([upcoming[:, 1:], none], dim=1)
    V_next = torch.cat([V, last_value[:, None]], dim=1).gather(1, following)
    ends = terminated.bool()[:, None] & (following == time)
    return SoftValues(Q, V, V_next, ends, mask)
