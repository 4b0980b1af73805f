"""The behavioural cloning loss: by hand, by finite differences, and blind to padding."""

from __future__ import annotations

import math

import pytest
import torch

from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss


def test_the_loss_by_hand():
    log_pi = torch.log(torch.tensor([0.5, 0.25]))
    assert behavioural_cloning_loss(log_pi, torch.ones(2)).item() == pytest.approx(
        1.5 * math.log(2)
    )


def test_every_action_counts_the_same_whatever_the_length_of_its_sequence():
    """One sequence of three actions and one of one: the mean is over four, not two means of two."""
    log_pi = torch.tensor([[-1.0, -2.0, -3.0], [-6.0, -50.0, -50.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert behavioural_cloning_loss(log_pi, mask).item() == pytest.approx(12.0 / 4)


def test_the_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    actions = torch.randint(5, (4, 3), generator=generator)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=torch.float64)

    def loss(values):
        log_pi = torch.log_softmax(values, dim=-1).gather(-1, actions[..., None])[..., 0]
        return behavioural_cloning_loss(log_pi, mask)

    assert torch.autograd.gradcheck(loss, (logits,))


def test_padding_has_no_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    log_pi = torch.log_softmax(logits, dim=-1)
    behavioural_cloning_loss(log_pi[:, 0], torch.tensor([1.0, 0.0])).backward()
    assert logits.grad is not None
    # d(-log softmax)/d logits = softmax - one-hot, over one counted action
    assert logits.grad[0].tolist() == pytest.approx([-2 / 3, 1 / 3, 1 / 3])
    assert logits.grad[1].tolist() == [0.0, 0.0, 0.0]


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and mask \(3, 1\)"):
        behavioural_cloning_loss(torch.zeros(3), torch.ones(3, 1))
