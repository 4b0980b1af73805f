"""GAIL: the discriminator by hand and at its optimum, reward signs, the gradient penalty."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from irlbench.baselines.objectives.gail import (
    REWARD_FORMS,
    discriminator_loss,
    gail_reward,
    gradient_penalty,
    interpolate,
)
from irlbench.errors import UnknownNameError

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- the discriminator


def test_the_loss_by_hand():
    """D = 3/4 and 1/2 on the expert's, 1/5 on the policy's: -log, averaged apart."""
    logits = doubles(math.log(3), 0.0, math.log(1 / 4))
    loss = discriminator_loss(logits, doubles(1.0, 1.0, 0.0), torch.ones(3))
    expected = -(math.log(3 / 4) + math.log(1 / 2)) / 2 - math.log(4 / 5)
    assert loss.item() == pytest.approx(expected)


def test_the_expert_is_high():
    right = discriminator_loss(doubles(2.0, -2.0), doubles(1.0, 0.0), torch.ones(2))
    wrong = discriminator_loss(doubles(2.0, -2.0), doubles(0.0, 1.0), torch.ones(2))
    assert right < 2 * math.log(2) < wrong


def test_the_numbers_of_pairs_do_not_matter():
    few = discriminator_loss(doubles(1.0, -3.0), doubles(1.0, 0.0), torch.ones(2))
    many = discriminator_loss(doubles(1.0, *[-3.0] * 5), doubles(1.0, *[0.0] * 5), torch.ones(6))
    assert few.item() == pytest.approx(many.item())


def test_padding_has_no_part():
    logits = doubles([1.0, NAN], [2.0, -3.0], [-1.0, math.inf]).requires_grad_()
    labels = torch.tensor([[1, 1], [1, 0], [0, 0]])
    mask = doubles([1.0, 0.0], [1.0, 1.0], [1.0, 0.0])
    loss = discriminator_loss(logits, labels, mask)
    alone = discriminator_loss(
        doubles(1.0, 2.0, -3.0, -1.0), doubles(1.0, 1.0, 0.0, 0.0), torch.ones(4)
    )
    assert loss.item() == pytest.approx(alone.item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[[0, 2], [1, 1]].tolist() == [0.0, 0.0]
    assert torch.isfinite(logits.grad).all()


def test_the_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 3, dtype=torch.float64, generator=generator)
    labels = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]])
    assert torch.autograd.gradcheck(
        lambda logits: discriminator_loss(logits, labels, mask), (logits.requires_grad_(),)
    )


def test_the_best_logit_is_the_log_ratio_of_occupancies(small_grid):
    """There the slope is zero, and the loss is 2 log 2 less twice the Jensen-Shannon divergence."""
    expert = small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))
    policy = small_grid.occupancy(np.full((49, 4), -math.log(4)))
    middle = (expert + policy) / 2
    js = sum((half * np.log(half / middle)).sum() / 2 for half in (expert, policy))
    best = np.log(expert / policy)
    logits = torch.from_numpy(np.stack([best, best])).requires_grad_()
    labels = torch.stack([torch.ones(49, 4), torch.zeros(49, 4)])
    loss = discriminator_loss(logits, labels, torch.from_numpy(np.stack([expert, policy])))
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * js, abs=1e-12)
    assert js > 0.01
    # One logit per pair stands in both halves.
    assert logits.grad.sum(dim=0).abs().max() < 1e-15


# --- rewards


def test_reward_forms_by_hand():
    """D = 3/4, 1/2, 1/5."""
    logits = doubles(math.log(3), 0.0, math.log(1 / 4))
    found = {form: gail_reward(logits, form).tolist() for form in REWARD_FORMS}
    assert found["-log(1-D)"] == pytest.approx([math.log(4), math.log(2), math.log(5 / 4)])
    assert found["log D"] == pytest.approx([math.log(3 / 4), math.log(1 / 2), math.log(1 / 5)])
    assert found["log D - log(1-D)"] == pytest.approx([math.log(3), 0.0, math.log(1 / 4)])


def test_reward_signs_are_what_survival_hangs_on():
    logits = torch.linspace(-10, 10, 21)
    assert (gail_reward(logits, "-log(1-D)") > 0).all()
    assert (gail_reward(logits, "log D") < 0).all()
    assert gail_reward(logits, "log D - log(1-D)").sign().unique().tolist() == [-1.0, 0.0, 1.0]
    assert all((gail_reward(logits, form).diff() > 0).all() for form in REWARD_FORMS)


def test_rewards_survive_a_discriminator_that_is_sure():
    """In float32 the sigmoid of 200 is 1, and log(1 - 1) is no reward."""
    logits = torch.tensor([-200.0, -50.0, 200.0])
    assert gail_reward(logits, "-log(1-D)").tolist() == pytest.approx([0.0, math.exp(-50), 200.0])
    assert gail_reward(logits, "log D").tolist() == [-200.0, -50.0, 0.0]
    assert gail_reward(logits, "log D - log(1-D)").tolist() == logits.tolist()


def test_an_unknown_form_is_refused():
    with pytest.raises(UnknownNameError, match="log D"):
        gail_reward(torch.zeros(1), "-log D")


# --- the gradient penalty


def test_interpolates_by_hand():
    points = interpolate(
        doubles([10.0, 20.0], [30.0, 40.0]).requires_grad_(),
        doubles([2.0, 4.0], [6.0, 8.0]),
        doubles(0.25, 1.0),
    )
    # The weight is the expert's.
    assert points.tolist() == [[4.0, 8.0], [30.0, 40.0]]
    assert points.requires_grad and points.is_leaf


def test_the_penalty_by_hand():
    """logit = |x|^2 / 2 has slope x: norms 5 and 1."""
    inputs = doubles([3.0, 4.0], [0.0, 1.0]).requires_grad_()
    logits = (inputs**2).sum(dim=1) / 2
    assert gradient_penalty(logits, inputs, centre=1.0).item() == pytest.approx((16 + 0) / 2)
    assert gradient_penalty(logits, inputs, centre=0.0).item() == pytest.approx((25 + 1) / 2)


def test_the_penalty_of_inputs_with_several_axes():
    inputs = torch.ones(3, 2, 2, dtype=torch.float64, requires_grad=True)
    logits = 2 * inputs.flatten(1).sum(dim=1)
    assert gradient_penalty(logits, inputs, centre=1.0).item() == pytest.approx(9.0)


@pytest.mark.parametrize("centre", [0.0, 1.0])
def test_the_penalty_trains_the_weights(centre):
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    second = torch.randn(4, dtype=torch.float64, generator=generator, requires_grad=True)
    points = torch.randn(5, 3, dtype=torch.float64, generator=generator)

    def penalty(first, second):
        inputs = points.clone().requires_grad_()
        return gradient_penalty(torch.tanh(inputs @ first) @ second, inputs, centre=centre)

    assert torch.autograd.gradcheck(penalty, (first, second))


def test_a_flat_discriminator_has_a_penalty_and_no_nan():
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    inputs = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(inputs @ weight, inputs, centre=1.0)
    penalty.backward()
    assert weight.grad is not None
    assert penalty.item() == 1.0
    assert torch.isfinite(weight.grad).all()


def test_what_would_be_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"logits \(3,\), labels \(3, 1\)"):
        discriminator_loss(torch.zeros(3), torch.ones(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match=r"policy_inputs \(1, 2\)"):
        interpolate(torch.zeros(3, 2), torch.zeros(1, 2), torch.zeros(3))


def test_one_logit_per_row_is_needed():
    inputs = torch.ones(3, 2, requires_grad=True)
    with pytest.raises(ValueError, match=r"logits \(3, 2\) of inputs \(3, 2\)"):
        gradient_penalty(inputs * 2, inputs, centre=1.0)


# --- another package's


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
def test_it_agrees_with_imitation():
    from gymnasium import spaces
    from imitation.algorithms.adversarial.gail import RewardNetFromDiscriminatorLogit
    from imitation.rewards.reward_nets import RewardNet

    class Logit(RewardNet):  # type: ignore[misc]
        def forward(self, state, action, next_state, done):
            return state[:, 0]

    logits = torch.linspace(-8, 8, 17)
    net = RewardNetFromDiscriminatorLogit(Logit(spaces.Box(-8, 8, (1,)), spaces.Discrete(2)))
    theirs = net(logits[:, None], logits, logits, logits)
    assert torch.allclose(gail_reward(logits, "-log(1-D)"), theirs, atol=1e-6)
    labels = (torch.arange(17) % 2).float()
    # Theirs is the mean over all pairs; ours the sum of two means, one per side.
    balanced = logits[:16]
    mean = torch.nn.functional.binary_cross_entropy_with_logits(balanced, labels[:16])
    ours = discriminator_loss(balanced, labels[:16], torch.ones(16))
    assert ours.item() == pytest.approx(2 * mean.item())
