"""DPO and CPL: by hand, at the optimum of a tree that is enumerated, and blind to padding."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from irlbench.baselines.objectives.dpo import cpl_loss, dpo_loss, implicit_rewards

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_loss_by_hand():
    """beta 1/2: log-ratios 2 log 3 and, over two tokens, 0: a probability of 3/4 for the first."""
    log_pi = doubles([[2 * math.log(3) - 5, NAN], [-1.0, -2.0]])
    reference = doubles([[-5.0, NAN], [-1.5, -1.5]])
    mask = doubles([[1.0, 0.0], [1.0, 1.0]])
    rewards = implicit_rewards(log_pi, reference, beta=0.5)
    assert rewards[mask == 1].tolist() == pytest.approx([math.log(3), 0.25, -0.25])
    for label, expected in ((1.0, math.log(3 / 4)), (0.0, math.log(1 / 4))):
        loss = dpo_loss(log_pi, reference, mask, doubles(label), beta=0.5)
        assert loss.item() == pytest.approx(-expected)


def test_cpl_by_hand():
    """alpha 1/2: sums of log pi are log 9 - 5 and -5: again 3/4."""
    log_pi = doubles([[2 * math.log(3) - 5, NAN], [-1.0, -4.0]])
    mask = doubles([[1.0, 0.0], [1.0, 1.0]])
    assert cpl_loss(log_pi, mask, doubles(1.0), alpha=0.5).item() == pytest.approx(-math.log(3 / 4))


def test_at_the_reference_every_preference_costs_log_two():
    log_pi = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, mask = doubles(0.0, 0.5, 1.0, 0.3), torch.ones(4, 2, 3)
    loss = dpo_loss(log_pi, log_pi, mask, labels, beta=0.1)
    assert loss.item() == pytest.approx(math.log(2))


def test_the_optimum_is_the_reference_tilted_by_the_reward():
    """All 3^2 completions of a prompt; expected labels of a reward r of whole completions.

    pi* = pi_ref exp(r / beta) / Z token by token: no slope there, and its implicit rewards sum to
    r, but for one constant of the prompt.
    """
    beta, vocabulary = 0.7, 3
    generator = torch.Generator().manual_seed(0)
    completions = torch.tensor(list(itertools.product(range(vocabulary), repeat=2)))
    reward = torch.randn(9, dtype=torch.float64, generator=generator)
    reference = torch.log_softmax(torch.randn(9, dtype=torch.float64, generator=generator), dim=0)

    def token_log_probabilities(joint):
        """Of every completion, token by token: [completions, 2]."""
        square = joint.reshape(vocabulary, vocabulary)
        first = square.logsumexp(dim=1)
        second = (square - first[:, None]).reshape(-1)
        return torch.stack([first[completions[:, 0]], second], dim=1)

    best = torch.log_softmax(reference + reward / beta, dim=0).requires_grad_()
    pairs = torch.tensor(list(itertools.permutations(range(9), 2)))
    labels = torch.sigmoid(reward[pairs[:, 0]] - reward[pairs[:, 1]])
    log_pi = token_log_probabilities(torch.log_softmax(best, dim=0))
    log_reference = token_log_probabilities(reference)
    loss = dpo_loss(
        log_pi[pairs], log_reference[pairs], torch.ones(len(pairs), 2, 2), labels, beta=beta
    )
    loss.backward()
    assert best.grad.abs().max() < 1e-15
    sums = implicit_rewards(log_pi, log_reference, beta=beta).sum(dim=1)
    assert (reward - sums).std() < 1e-12
    assert reward.std() > 0.5


@pytest.mark.parametrize("name", ["dpo", "cpl"])
def test_gradients_agree_with_finite_differences_and_padding_has_none(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    actions = torch.randint(5, (3, 2, 4, 1), generator=generator)
    reference = torch.randn(3, 2, 4, dtype=torch.float64, generator=generator)
    mask = (torch.rand(3, 2, 4, generator=generator) < 0.6).double()
    labels, weight = doubles(1.0, 0.5, 0.0), doubles(1.0, 2.0, 0.5)

    def loss(logits):
        log_pi = torch.log_softmax(logits, dim=-1).gather(-1, actions)[..., 0]
        if name == "cpl":
            return cpl_loss(log_pi, mask, labels, alpha=0.3, weight=weight)
        return dpo_loss(log_pi, reference, mask, labels, beta=0.3, weight=weight)

    assert torch.autograd.gradcheck(loss, (logits,))
    loss(logits).backward()
    slopes = logits.grad.abs().sum(dim=-1)
    assert (slopes[mask == 0] == 0).all() and (slopes[mask == 1] > 0).all()


def test_tokens_that_cannot_be_padding_give_no_nan():
    """Where padding is no token of the model, both log-probabilities of it are -inf."""
    log_pi = doubles([[-1.0, -math.inf], [-2.0, -3.0]]).requires_grad_()
    mask = doubles([[1.0, 0.0], [1.0, 1.0]])
    loss = dpo_loss(log_pi, log_pi.detach(), mask, doubles(1.0), beta=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert log_pi.grad.tolist() == [[[-0.5, 0.0], [0.5, 0.5]]]


def test_weights_count_pairs():
    """The first pair three times, the second not at all."""
    log_pi = torch.randn(2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = (log_pi, torch.zeros_like(log_pi), torch.ones(2, 2, 3), doubles(1.0, 0.0))
    weighted = dpo_loss(*given, beta=0.5, weight=doubles(3.0, 0.0))
    assert weighted.item() == pytest.approx(dpo_loss(*[x[:1] for x in given], beta=0.5).item())
    log_pi, _, mask, labels = given
    weighted = cpl_loss(log_pi, mask, labels, alpha=0.5, weight=doubles(3.0, 0.0))
    alone = cpl_loss(log_pi[:1], mask[:1], labels[:1], alpha=0.5)
    assert weighted.item() == pytest.approx(alone.item())


def test_the_reference_gets_no_gradient():
    log_pi = torch.zeros(1, 2, 3, requires_grad=True)
    reference = torch.zeros(1, 2, 3, requires_grad=True)
    dpo_loss(log_pi, reference, torch.ones(1, 2, 3), torch.ones(1), beta=1.0).backward()
    assert reference.grad is None and log_pi.grad is not None


def test_unusable_numbers_are_refused():
    log_pi, mask = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    with pytest.raises(ValueError, match="beta must be positive, got 0"):
        dpo_loss(log_pi, log_pi, mask, torch.ones(1), beta=0.0)
    with pytest.raises(ValueError, match="alpha must be positive, got 0"):
        cpl_loss(log_pi, mask, torch.ones(1), alpha=0.0)
    with pytest.raises(ValueError, match=r"log_pi_reference \(1, 2\)"):
        dpo_loss(log_pi, log_pi[..., 0], mask, torch.ones(1), beta=1.0)
