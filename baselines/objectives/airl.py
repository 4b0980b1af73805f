"""AIRL: adversarial inverse reinforcement learning (Fu, Luo and Levine, 2018).

The discriminator is D = exp f / (exp f + pi(a|s)) (section 4): its logit is f - log pi, and the
expert is high. f = g + gamma h(s') - h(s) (section 6); g is the recovered reward, at temperature 1.
"""

from __future__ import annotations

from torch import Tensor

from irlbench.baselines.objectives.gail import discriminator_loss
from irlbench.baselines.objectives.masking import check_shapes
from irlbench.errors import UnknownNameError

#: Rewards for the policy, by name; `airl_reward` says which learner takes which.
REWARD_FORMS = ("f", "f - log pi")


def shaped_reward(
    g: Tensor, h: Tensor, h_next: Tensor, terminated: Tensor, *, discount: float
) -> Tensor:
    """f(s, a, s') = g + gamma (1 - terminated) h(s') - h(s) (section 6).

    The potential is zero at termination: elsewhere shaping would change the optimal policy where
    episodes differ in length.

    Args:
        g: g(s) or g(s, a), `[batch]` or `[batch, time]`.
        h: h(s), the same shape.
        h_next: h(s'), the same shape; not read where terminated.
        terminated: bool, the same shape. A time limit from outside is no termination.
        discount: gamma.

    Returns:
        The same shape.
    """
    check_shapes(g=g, h=h, h_next=h_next, terminated=terminated)
    return g + discount * h_next.masked_fill(terminated.bool(), 0.0) - h


def airl_logits_expert_is_high(f: Tensor, log_pi: Tensor) -> Tensor:
    """The discriminator's logit: f - log pi.

    Args:
        f: `[batch]` or `[batch, time]`.
        log_pi: log pi(a|s) of the *current* policy, for the expert's actions too; the same shape.

    Returns:
        The same shape.
    """
    check_shapes(f=f, log_pi=log_pi)
    return f - log_pi


def airl_loss(f: Tensor, log_pi: Tensor, labels_expert_is_one: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the discriminator; no gradient reaches the policy.

    Args:
        f: `[batch]` or `[batch, time]`.
        log_pi: log pi(a|s) of the *current* policy, for the expert's actions too; the same shape.
        labels_expert_is_one: 1 where the transition is the expert's, 0 where it is the policy's.
        mask: 1 where there is a transition, 0 in padding; any other number is a weight.

    Returns:
        A scalar; see `discriminator_loss`.
    """
    logits = airl_logits_expert_is_high(f, log_pi.detach())
    return discriminator_loss(logits, labels_expert_is_one, mask)


def airl_reward(f: Tensor, log_pi: Tensor, form: str) -> Tensor:
    """What the policy is rewarded with; no gradient reaches f or the policy through it.

    E[log D - log(1 - D)] = E[f - log pi] is the return of f plus the policy's entropy. So a soft
    learner of temperature 1 (soft value iteration, SAC), which adds the entropy by itself, takes
    `f`; a learner that maximises the plain return (PPO, TRPO) takes `f - log pi`. Giving
    `f - log pi` to a soft learner counts the entropy twice.

    Args:
        f: `[batch]` or `[batch, time]`.
        log_pi: log pi(a|s) of the current policy, the same shape.
        form: `f` or `f - log pi`.

    Returns:
        The same shape.

    Raises:
        UnknownNameError: If there is no such form.
    """
    if form not in REWARD_FORMS:
        raise UnknownNameError("reward form", form, REWARD_FORMS)
    if form == "f":
        return f.detach()
    return airl_logits_expert_is_high(f, log_pi).detach()
