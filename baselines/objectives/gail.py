"""GAIL: generative adversarial imitation learning (Ho and Ermon, 2016).

Here D(s, a) = sigmoid(logit) is the probability that a pair is the expert's: the expert is high.
The paper's D is that of the policy, 1 - D here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from irlbench.baselines.objectives.masking import check_shapes, masked_mean, without_padding
from irlbench.errors import UnknownNameError

#: Rewards of a discriminator, by name. They differ in sign, which decides what ending an episode is
#: worth: the first is never negative (staying alive pays), the second never positive (ending pays).
REWARD_FORMS = ("-log(1-D)", "log D", "log D - log(1-D)")


def discriminator_loss(
    logits_expert_is_high: Tensor, labels_expert_is_one: Tensor, mask: Tensor
) -> Tensor:
    """Cross-entropy of the discriminator: E_expert[-log D] + E_policy[-log(1 - D)].

    Equation 16 of the paper, negated, with its D and 1 - D exchanged. The expert's and the
    policy's pairs are averaged apart, so their numbers do not matter: a discriminator that cannot
    tell them apart has loss 2 log 2.

    Args:
        logits_expert_is_high: `[batch]` or `[batch, time]`.
        labels_expert_is_one: 1 where the pair is the expert's, 0 where it is the policy's; both
            occur. The same shape.
        mask: 1 where there is a pair, 0 in padding; any other number is a weight. The same shape.

    Returns:
        A scalar.
    """
    check_shapes(logits=logits_expert_is_high, labels=labels_expert_is_one, mask=mask)
    logits = without_padding(logits_expert_is_high, mask)
    is_expert = labels_expert_is_one == 1
    on_expert = masked_mean(-functional.logsigmoid(logits), mask * is_expert)
    on_policy = masked_mean(-functional.logsigmoid(-logits), mask * ~is_expert)
    return on_expert + on_policy


def gail_reward(logits_expert_is_high: Tensor, form: str) -> Tensor:
    """The policy's reward, from the logit: no logarithm of a rounded probability is taken.

    Args:
        logits_expert_is_high: Any shape.
        form: `-log(1-D)` (in [0, inf), the paper's), `log D` (in (-inf, 0]), or
            `log D - log(1-D)` (the logit itself; Fu et al., 2018).

    Returns:
        The same shape.

    Raises:
        UnknownNameError: If there is no such form.
    """
    if form not in REWARD_FORMS:
        raise UnknownNameError("reward form", form, REWARD_FORMS)
    if form == "-log(1-D)":
        return -functional.logsigmoid(-logits_expert_is_high)
    if form == "log D":
        return functional.logsigmoid(logits_expert_is_high)
    return logits_expert_is_high


def interpolate(expert_inputs: Tensor, policy_inputs: Tensor, weights: Tensor) -> Tensor:
    """Points between the expert's and the policy's inputs, for `gradient_penalty`.

    Args:
        expert_inputs: `[batch, ...]`.
        policy_inputs: `[batch, ...]`.
        weights: Of the expert's, uniform in [0, 1]; `[batch]`.

    Returns:
        `[batch, ...]`, a leaf that gradients can be taken for.
    """
    check_shapes(expert_inputs=expert_inputs, policy_inputs=policy_inputs)
    shares = weights.reshape(-1, *[1] * (expert_inputs.ndim - 1))
    between = shares * expert_inputs + (1 - shares) * policy_inputs
    return between.detach().requires_grad_()


def gradient_penalty(logits: Tensor, inputs: Tensor, *, centre: float) -> Tensor:
    """Mean of (|d logit / d input| - centre)^2, differentiable in the discriminator's weights.

    Centre 1 at interpolates is the penalty of Gulrajani et al. (2017, eq. 3); centre 0 at the
    data, that of Mescheder et al. (2018, R1 without its factor of a half).

    Args:
        logits: `[batch]`, computed from `inputs`, row by row (no batch normalisation).
        inputs: `[batch, ...]`, with `requires_grad`.
        centre: The norm that is not penalised, at least 0.

    Returns:
        A scalar.

    Raises:
        ValueError: If there is not one logit per row of the inputs.
    """
    if logits.shape != inputs.shape[:1]:
        raise ValueError(
            f"one logit per row is needed, got logits {tuple(logits.shape)} "
            f"of inputs {tuple(inputs.shape)}"
        )
    (slopes,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    norms = torch.linalg.vector_norm(slopes.flatten(start_dim=1), dim=1)
    return ((norms - centre) ** 2).mean()
