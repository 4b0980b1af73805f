"""What comes after an episode's end, to a discriminator of its own (Kostrikov et al., 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Absorbing:
    """The state that an episode's end leads to, as a discriminator of its own sees it.

    There everything is known in closed form: the logit is that of the shares of time that the
    expert and the policy spend there, in discounted occupancy, and its value is that of being paid
    for it for ever (the absorbing states of Kostrikov et al., 2019). What a policy earns by living
    no longer has to be compared with nothing.

    Attributes:
        logit: log of the expert's share of time over the policy's.
        shift: The same of the time that is not spent there: what the logits of transitions, which
            are of the rest alone, lack.
    """

    logit: float
    shift: float

    @classmethod
    def between(
        cls, ends: tuple[float, float], discount: float, least: tuple[float, float]
    ) -> Absorbing:
        """From the shares of the expert's and of the policy's transitions that end an episode.

        What neither does has no logit; were it 0, ending would be worth more than any way of going
        on that is told from the expert's. So the policy's share is never taken for nothing.

        Args:
            ends: The shares.
            discount: gamma: after an end, 1 / (1 - gamma) steps count.
            least: Shares of time, of the expert and of the policy, that they are not below.
        """
        there = [end / (end + 1 - discount) for end in ends]
        expert, policy = (max(share, low) for share, low in zip(there, least, strict=True))
        rest = [max(1 - share, low) for share, low in zip(there, least, strict=True)]
        return cls(math.log(expert / policy), math.log(rest[0] / rest[1]))
