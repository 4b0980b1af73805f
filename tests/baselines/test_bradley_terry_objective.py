"""Preference losses: by hand, at the truth, ties, rankings by enumeration, and blind to padding."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from irlbench.baselines.objectives.bradley_terry import (
    bradley_terry_loss,
    first_preferred_of_ranks,
    plackett_luce_loss,
    segment_returns,
)

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- pairs


def test_segments_are_summed_without_padding():
    rewards = doubles([[1.0, 2.0, 3.0], [4.0, NAN, NAN]])
    mask = doubles([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert segment_returns(rewards, mask).tolist() == [[6.0, 4.0]]


def test_the_loss_by_hand():
    """A difference of log 3 is a probability of 3/4 for the first; at temperature 2 of sqrt 3."""
    returns = doubles([2 + math.log(3), 2.0], [2 + math.log(3), 2.0], [1.0, 1.0])
    labels = doubles(1.0, 0.0, 1.0)
    expected = -(math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 2)) / 3
    assert bradley_terry_loss(returns, labels).item() == pytest.approx(expected)
    root = math.sqrt(3)
    hot = bradley_terry_loss(returns[:1], labels[:1], temperature=2.0).item()
    assert hot == pytest.approx(-math.log(root / (1 + root)))


def test_the_first_is_preferred_by_label_one():
    returns = doubles([5.0, 0.0])
    assert bradley_terry_loss(returns, doubles(1.0)) < 0.01
    assert bradley_terry_loss(returns, doubles(0.0)) > 4.9


def test_a_tie_is_half_of_each_and_costs_least_at_equal_returns():
    apart, level = doubles([math.log(3), 0.0]), doubles([7.0, 7.0])
    tie = doubles(0.5)
    assert bradley_terry_loss(apart, tie).item() == pytest.approx(
        -(math.log(3 / 4) + math.log(1 / 4)) / 2
    )
    assert bradley_terry_loss(level, tie).item() == pytest.approx(math.log(2))
    slope = level.requires_grad_()
    bradley_terry_loss(slope, tie).backward()
    assert slope.grad.tolist() == [[0.0, 0.0]]


def test_weights_count_pairs():
    returns, labels = doubles([1.0, 0.0], [0.0, 2.0], [NAN, NAN]), doubles(1.0, 1.0, 1.0)
    weighted = bradley_terry_loss(returns, labels, weight=doubles(3.0, 1.0, 0.0)).item()
    alone = [bradley_terry_loss(returns[i : i + 1], labels[:1]).item() for i in (0, 1)]
    assert weighted == pytest.approx((3 * alone[0] + alone[1]) / 4)


def test_sure_and_wrong_is_finite():
    returns = torch.tensor([[0.0, 1000.0]], requires_grad=True)
    loss = bradley_terry_loss(returns, torch.ones(1))
    loss.backward()
    assert loss.item() == 1000.0
    assert returns.grad.tolist() == [[-1.0, 1.0]]
    assert bradley_terry_loss(-returns, torch.ones(1)).item() == 0.0


def test_labels_of_ranks_have_zero_as_best():
    ranks = torch.tensor([[0, 1], [1, 0], [0, 0], [2, 5]])
    assert first_preferred_of_ranks(ranks).tolist() == [1.0, 0.0, 0.5, 1.0]


def test_the_true_returns_are_optimal_for_the_labels_they_give():
    """Expected labels sigmoid((R_1 - R_2) / T) over all pairs of five items: no slope at R."""
    truth = doubles(0.0, 1.0, -2.0, 0.5, 3.0).requires_grad_()
    pairs = torch.tensor(list(itertools.permutations(range(5), 2)))
    for temperature in (0.5, 2.0):
        difference = (truth[pairs[:, 0]] - truth[pairs[:, 1]]).detach()
        labels = torch.sigmoid(difference / temperature)
        loss = bradley_terry_loss(truth[pairs], labels, temperature=temperature)
        (slope,) = torch.autograd.grad(loss, truth)
        assert slope.abs().max() < 1e-15
        (other,) = torch.autograd.grad(bradley_terry_loss(truth[pairs], labels), truth)
        assert other.abs().max() > 1e-3


def test_gradients_agree_with_finite_differences_and_padding_has_none():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(3, 2, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]).repeat_interleave(2, 0)
    mask = mask.reshape(3, 2, 4)
    labels, weight = doubles(1.0, 0.5, 0.2), doubles(1.0, 2.0, 0.5)

    def loss(rewards):
        returns = segment_returns(rewards, mask)
        return bradley_terry_loss(returns, labels, temperature=0.7, weight=weight)

    assert torch.autograd.gradcheck(loss, (rewards,))
    loss(rewards).backward()
    assert (rewards.grad[mask == 0] == 0).all() and (rewards.grad[mask == 1] != 0).all()


def test_what_is_no_pair_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        bradley_terry_loss(torch.zeros(4, 3), torch.ones(4))
    with pytest.raises(ValueError, match=r"logits \(4,\), first_preferred \(4, 1\)"):
        bradley_terry_loss(torch.zeros(4, 2), torch.ones(4, 1))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        bradley_terry_loss(torch.zeros(4, 2), torch.ones(4), temperature=0.0)
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        first_preferred_of_ranks(torch.zeros(4, 3))


# --- rankings


def test_a_ranking_by_hand():
    """exp R / 2 is 1, 2, 3; the ranking third, first, second: 3/6 * 1/3 * 1."""
    returns = 2 * doubles([0.0, math.log(2), math.log(3)])
    loss = plackett_luce_loss(returns, torch.tensor([[1, 2, 0]]), temperature=2.0)
    assert loss.item() == pytest.approx(-math.log(3 / 6 * 1 / 3))


def test_the_probabilities_of_all_rankings_sum_to_one():
    returns = doubles([0.3, -1.0, 2.0, 0.0])
    rankings = itertools.permutations(range(4))
    total = sum(
        math.exp(-plackett_luce_loss(returns, torch.tensor([ranks])).item()) for ranks in rankings
    )
    assert total == pytest.approx(1.0)


def test_two_items_are_a_pair():
    generator = torch.Generator().manual_seed(0)
    returns = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    ranks = torch.tensor([[0, 1], [1, 0], [0, 3], [2, 1], [0, 1]])
    weight = torch.rand(5, dtype=torch.float64, generator=generator)
    labels = first_preferred_of_ranks(ranks)
    pairs = bradley_terry_loss(returns, labels, temperature=0.3, weight=weight)
    rankings = plackett_luce_loss(returns, ranks, temperature=0.3, weight=weight)
    assert rankings.item() == pytest.approx(pairs.item())


def test_the_gradient_of_rankings_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    returns = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    ranks = torch.stack([torch.randperm(4, generator=generator) for _ in range(3)])
    assert torch.autograd.gradcheck(lambda R: plackett_luce_loss(R, ranks), (returns,))


def test_tied_rankings_are_refused():
    ranks = torch.tensor([[0, 1, 2], [1, 0, 1]])
    with pytest.raises(ValueError, match=r"comparison 1 has ranks \[1, 0, 1\]"):
        plackett_luce_loss(torch.zeros(2, 3), ranks)
    with pytest.raises(ValueError, match=r"returns \(2, 3\), ranks \(1, 3\)"):
        plackett_luce_loss(torch.zeros(2, 3), ranks[:1])
