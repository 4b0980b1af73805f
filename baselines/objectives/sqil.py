"""SQIL: soft Q imitation learning (Reddy, Dragan and Levine, 2020)."""

from __future__ import annotations

from torch import Tensor

from irlbench.baselines.objectives.masking import masked_mean
from irlbench.baselines.objectives.soft_values import SoftValues


def sqil_loss(
    expert: SoftValues, policy: SoftValues, *, discount: float, policy_weight: float = 1.0
) -> Tensor:
    """Squared soft Bellman residuals with reward 1 on demonstrations and 0 on the policy's samples.

    delta^2(expert, 1) + lambda_samp delta^2(policy, 0), with delta^2(D, r) the mean over D of
    (Q - r - gamma V')^2: equation 1 and Algorithm 1 of the paper. Each batch is averaged by
    itself, so their sizes do not matter.

    Soft Q-learning takes V' as a target: give it detached, or from a target network. Where it
    carries gradient this is the residual gradient by which the paper relates SQIL to regularised
    behavioural cloning (section 3).

    Args:
        expert: Transitions of the demonstrations.
        policy: Transitions of the policy.
        discount: gamma.
        policy_weight: lambda_samp, at least 0.

    Returns:
        A scalar.

    Raises:
        ValueError: If the weight is negative.
    """
    if policy_weight < 0:
        raise ValueError(f"policy_weight must not be negative, got {policy_weight}")
    on_expert = masked_mean((expert.reward(discount) - 1.0) ** 2, expert.mask)
    on_policy = masked_mean(policy.reward(discount) ** 2, policy.mask)
    return on_expert + policy_weight * on_policy
