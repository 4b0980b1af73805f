"""AIRL: shaping by hand, the discriminator at its optimum, and which reward goes to whom."""

from __future__ import annotations

import importlib.util
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from irlbench.baselines.objectives.airl import (
    REWARD_FORMS,
    airl_logits_expert_is_high,
    airl_loss,
    airl_reward,
    shaped_reward,
)
from irlbench.errors import UnknownNameError

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_shaped_reward_by_hand():
    """1 + 0.5 * 4 - 3 = 0; the potential is zero at an end: 1 - 3 = -2."""
    f = shaped_reward(
        doubles(1.0, 1.0),
        doubles(3.0, 3.0),
        doubles(4.0, NAN),
        torch.tensor([False, True]),
        discount=0.5,
    )
    assert f.tolist() == [0.0, -2.0]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_shaping_changes_every_return_by_the_first_potential_alone(length):
    """So it cannot change what is optimal, whatever the lengths of episodes."""
    generator = torch.Generator().manual_seed(length)
    h = torch.randn(length + 1, dtype=torch.float64, generator=generator)
    f = shaped_reward(
        torch.zeros(length, dtype=torch.float64),
        h[:-1],
        h[1:],
        torch.arange(length) == length - 1,
        discount=0.9,
    )
    discounts = 0.9 ** torch.arange(length, dtype=torch.float64)
    assert (discounts * f).sum().item() == pytest.approx(-h[0].item())


def test_the_discriminator_by_hand():
    """f = log 3 and pi = 1/2: D = 3 / (3 + 1/2) = 6/7."""
    f, log_pi = doubles(math.log(3)), doubles(math.log(1 / 2))
    assert torch.sigmoid(airl_logits_expert_is_high(f, log_pi)).item() == pytest.approx(6 / 7)
    both = airl_loss(f.repeat(2), log_pi.repeat(2), doubles(1.0, 0.0), torch.ones(2))
    assert both.item() == pytest.approx(-math.log(6 / 7) - math.log(1 / 7))


def test_rewards_by_hand():
    f, log_pi = doubles(2.0, -1.0), doubles(-0.5, -3.0)
    assert airl_reward(f, log_pi, "f").tolist() == [2.0, -1.0]
    assert airl_reward(f, log_pi, "f - log pi").tolist() == [2.5, 2.0]


def test_only_f_without_log_pi_leaves_the_entropy_to_the_learner():
    """E_pi[f - log pi] is E_pi[f] plus the entropy, by enumeration of the actions."""
    f = doubles(1.0, -2.0, 0.5)
    pi = doubles(0.2, 0.3, 0.5)
    with_entropy = (pi * airl_reward(f, pi.log(), "f - log pi")).sum()
    entropy = -(pi * pi.log()).sum()
    assert with_entropy.item() == pytest.approx(((pi * f).sum() + entropy).item())
    # A soft learner adds that entropy itself, and its optimum is softmax(f): what AIRL is after.
    soft = torch.log_softmax(airl_reward(f, pi.log(), "f"), dim=0)
    returns = []
    for log_pi in (soft, pi.log(), torch.log_softmax(2 * f, dim=0)):
        returns.append((log_pi.exp() * airl_reward(f, log_pi, "f - log pi")).sum().item())
    assert returns[0] == max(returns)


def test_rewards_are_constants():
    f, log_pi = doubles(2.0).requires_grad_(), doubles(-0.5).requires_grad_()
    assert not any(airl_reward(f, log_pi, form).requires_grad for form in REWARD_FORMS)


def test_no_gradient_reaches_the_policy():
    f, log_pi = doubles(2.0, 1.0).requires_grad_(), doubles(-0.5, -0.5).requires_grad_()
    airl_loss(f, log_pi, doubles(1.0, 0.0), torch.ones(2)).backward()
    assert log_pi.grad is None
    assert f.grad.sign().tolist() == [-1.0, 1.0]


def test_the_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    g, h, h_next, log_pi = torch.randn(4, 3, 4, dtype=torch.float64, generator=generator).unbind()
    terminated = torch.tensor([[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]).bool()
    labels = torch.tensor([[1] * 4, [0] * 4, [0] * 4])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])

    def loss(g, h, h_next):
        f = shaped_reward(g, h, h_next, terminated, discount=0.9)
        return airl_loss(f, log_pi, labels, mask)

    inputs = [tensor.clone().requires_grad_() for tensor in (g, h, h_next)]
    assert torch.autograd.gradcheck(loss, inputs)


def test_padding_has_no_part():
    f = doubles([1.0, NAN], [-2.0, NAN]).requires_grad_()
    log_pi = doubles([-1.0, -math.inf], [-1.0, -math.inf])
    labels, mask = doubles([1.0, 1.0], [0.0, 0.0]), doubles([1.0, 0.0], [1.0, 0.0])
    loss = airl_loss(f, log_pi, labels, mask)
    loss.backward()
    alone = airl_loss(f[:, 0], log_pi[:, 0], labels[:, 0], mask[:, 0])
    assert loss.item() == pytest.approx(alone.item())
    assert f.grad[:, 1].tolist() == [0.0, 0.0]


def test_the_true_reward_shaped_by_the_value_cannot_be_told_from_the_expert(small_grid):
    """g = r, h = V: f is then the expert's log pi (temperature 1, expected over s').

    With the expert as policy D is 1/2 everywhere, and no change of f helps.
    """
    tau = small_grid.temperature
    rewards = small_grid.rewards / tau
    Q = small_grid.soft_q(small_grid.rewards) / tau
    log_pi = small_grid.log_policy(tau * Q)
    V = small_grid.soft_value(tau * Q) / tau
    f = shaped_reward(
        torch.from_numpy(rewards),
        torch.from_numpy(np.repeat(V[:, None], 4, axis=1)),
        torch.from_numpy(small_grid.transitions @ V),
        torch.zeros(49, 4),
        discount=small_grid.discount,
    )
    assert np.abs(f.numpy() - log_pi).max() < 1e-10
    halves = torch.stack([f, f]).requires_grad_()
    occupancy = torch.from_numpy(small_grid.occupancy(log_pi))
    loss = airl_loss(
        halves,
        torch.from_numpy(np.stack([log_pi, log_pi])),
        torch.stack([torch.ones(49, 4), torch.zeros(49, 4)]),
        torch.stack([occupancy, occupancy]),
    )
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert halves.grad.sum(dim=0).abs().max() < 1e-12


def test_what_does_not_fit_is_refused():
    with pytest.raises(UnknownNameError, match="f - log pi"):
        airl_reward(doubles(1.0), doubles(1.0), "f - logpi")
    with pytest.raises(ValueError, match=r"f \(1,\), log_pi \(2,\)"):
        airl_logits_expert_is_high(doubles(1.0), doubles(1.0, 2.0))
    with pytest.raises(ValueError, match=r"h_next \(1,\)"):
        shaped_reward(
            doubles(1.0, 1.0), doubles(1.0, 1.0), doubles(1.0), doubles(0.0, 0.0), discount=1.0
        )


# --- another package's


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
def test_it_agrees_with_imitation():
    from gymnasium import spaces
    from imitation.algorithms.adversarial.airl import AIRL
    from imitation.rewards.reward_nets import RewardNet, ShapedRewardNet

    class Base(RewardNet):  # type: ignore[misc]
        def forward(self, state, action, next_state, done):
            return state[:, 0] * 2 + action[:, 0]

    generator = torch.Generator().manual_seed(0)
    state, action, following, log_pi = torch.randn(4, 6, 1, generator=generator).unbind()
    done = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    box = spaces.Box(-1, 1, (1,))
    net = ShapedRewardNet(Base(box, box), torch.sin, discount_factor=0.9)
    f = shaped_reward(
        (state * 2 + action)[:, 0],
        state.sin()[:, 0],
        following.sin()[:, 0],
        done,
        discount=0.9,
    )
    assert torch.allclose(f, net(state, action, following, done), atol=1e-6)
    trainer = SimpleNamespace(_reward_net=net)
    theirs = AIRL.logits_expert_is_high(trainer, state, action, following, done, log_pi[:, 0])
    assert torch.allclose(airl_logits_expert_is_high(f, log_pi[:, 0]), theirs, atol=1e-6)
