"""IPL: by hand, its value losses, and when exactly it is CPL, and uniform-reference DPO."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss
from irlbench.baselines.objectives.dpo import cpl_loss, dpo_loss
from irlbench.baselines.objectives.ipl import (
    advantage_weighted_loss,
    expectile_value_loss,
    gumbel_value_loss,
    ipl_loss,
    ipl_rewards,
)
from irlbench.baselines.objectives.soft_values import SoftValues, sequence_values, soft_value

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- by hand


def test_the_loss_by_hand():
    """Returns log 3 + 1 and, over two actions, 1: 3/4 for the first; squares over three actions."""
    rewards = doubles([[1 + math.log(3), NAN], [3.0, -2.0]])
    mask = doubles([[1.0, 0.0], [1.0, 1.0]])
    squares = ((1 + math.log(3)) ** 2 + 9 + 4) / 3
    for label, p in ((1.0, 3 / 4), (0.0, 1 / 4)):
        loss = ipl_loss(rewards, mask, doubles(label), regulariser_weight=0.1)
        assert loss.item() == pytest.approx(-math.log(p) + 0.1 * squares)
    tie = ipl_loss(rewards, mask, doubles(0.5), regulariser_weight=0.0)
    assert tie.item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_rewards_by_hand_hold_the_next_value_fixed():
    Q, V_next = doubles(3.0, 3.0).requires_grad_(), doubles(2.0, NAN).requires_grad_()
    values = SoftValues(Q, Q, V_next, torch.tensor([False, True]), torch.ones(2))
    rewards = ipl_rewards(values, discount=0.5)
    assert rewards.tolist() == [2.0, 3.0]
    rewards.sum().backward()
    assert Q.grad.tolist() == [1.0, 1.0] and V_next.grad is None


def test_the_square_is_what_bounds_q():
    """A constant added to equally long segments costs nothing without it, and something with it."""
    rewards, mask = doubles([[1.0, 2.0], [0.0, 1.0]]), torch.ones(1, 2, 2)
    for weight, same in ((0.0, True), (0.1, False)):
        costs = [
            ipl_loss(rewards + added, mask, doubles(1.0), regulariser_weight=weight).item()
            for added in (0.0, 100.0)
        ]
        assert (costs[0] == pytest.approx(costs[1])) is same


def test_padding_has_no_gradient():
    rewards = doubles([[1.0, NAN], [3.0, -2.0]]).requires_grad_()
    mask = doubles([[1.0, 0.0], [1.0, 1.0]])
    ipl_loss(rewards, mask, doubles(1.0), regulariser_weight=0.1).backward()
    assert torch.isfinite(rewards.grad).all() and rewards.grad[0, 0, 1] == 0


def test_weights_count_pairs_and_the_square_counts_actions():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(2, 2, 3, dtype=torch.float64, generator=generator)
    mask, labels = torch.ones(2, 2, 3), doubles(1.0, 0.0)
    weighted = ipl_loss(rewards, mask, labels, regulariser_weight=1.0, weight=doubles(3.0, 0.0))
    alone = ipl_loss(rewards[:1], mask[:1], labels[:1], regulariser_weight=0.0)
    assert weighted.item() == pytest.approx(alone.item() + (rewards**2).mean().item())


def test_a_negative_regulariser_is_refused():
    with pytest.raises(ValueError, match=r"-0\.1"):
        ipl_loss(torch.zeros(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1), regulariser_weight=-0.1)


# --- when it is CPL, and when DPO


class PrefixTree:
    """A table of logits for every prefix over four tokens; the first of a completion is its prompt.

    Two completions of one prompt share its logits, as those of a language model do.
    """

    vocabulary, longest, tau = 4, 4, 0.7

    def __init__(self):
        prefixes = (self.vocabulary + 1) ** self.longest
        generator = torch.Generator().manual_seed(0)
        self.logits = torch.randn(
            prefixes, self.vocabulary, dtype=torch.float64, generator=generator, requires_grad=True
        )

    def pairs(self, tokens, terminated=((True, True),), last_value=0.0):
        """Soft values and log pi of pairs of completions, `[pairs, 2, time]`."""
        flat = [completion for pair in tokens for completion in pair]
        time = self.longest - 1
        rows, mask = torch.zeros(2, len(flat), time).unbind()
        rows, actions = rows.long(), torch.zeros(len(flat), time, dtype=torch.int64)
        for i, completion in enumerate(flat):
            prefix = 0
            for t, (token, following) in enumerate(itertools.pairwise(completion)):
                prefix = prefix * (self.vocabulary + 1) + token + 1
                rows[i, t], actions[i, t], mask[i, t] = prefix, following, 1
        Q = self.logits[rows]
        ends = torch.tensor(terminated).reshape(-1)
        taken = Q.gather(-1, actions[..., None])[..., 0]
        values = sequence_values(
            taken,
            soft_value(Q, self.tau),
            mask,
            terminated=ends,
            last_value=torch.full((len(flat),), last_value, dtype=torch.float64),
        )
        log_pi = torch.log_softmax(Q / self.tau, dim=-1).gather(-1, actions[..., None])[..., 0]
        shape = (len(tokens), 2, time)
        return values, log_pi.reshape(shape), mask.reshape(shape)

    def ipl(self, given, labels, *, discount=1.0, fixed_next=False, regulariser_weight=0.0):
        values, log_pi, mask = given
        rewards = ipl_rewards(values, discount=discount) if fixed_next else values.reward(discount)
        return ipl_loss(
            rewards.reshape(log_pi.shape), mask, labels, regulariser_weight=regulariser_weight
        )

    def cpl(self, given, labels):
        _, log_pi, mask = given
        return cpl_loss(log_pi, mask, labels, alpha=self.tau)

    def dpo(self, given, labels):
        """Against the uniform reference."""
        _, log_pi, mask = given
        uniform = torch.full_like(log_pi, -math.log(self.vocabulary))
        return dpo_loss(log_pi, uniform, mask, labels, beta=self.tau)

    def slopes(self, loss):
        return torch.autograd.grad(loss, self.logits, retain_graph=True)[0]


#: Pairs of one prompt each: of equal lengths, and of unequal ones.
EQUAL = [([1, 0, 3], [1, 2, 2]), ([2, 2, 0, 1], [2, 0, 3, 1])]
UNEQUAL = [([1, 0], [1, 2, 2]), ([2, 2, 0, 1], [2, 0, 3])]
ENDS = ((True, True), (True, True))
LABELS = doubles(1.0, 0.3)


@pytest.fixture
def tree():
    return PrefixTree()


@pytest.mark.parametrize("tokens", [EQUAL, UNEQUAL])
def test_ipl_is_cpl_at_gamma_1_of_one_prompt_with_both_ends_terminal(tree, tokens):
    """The sum of Q - V' is tau times the sum of log pi, plus V of the prompt, which cancels."""
    given = tree.pairs(tokens, ENDS)
    ipl, cpl = tree.ipl(given, LABELS), tree.cpl(given, LABELS)
    assert ipl.item() == pytest.approx(cpl.item(), abs=1e-14)
    assert torch.allclose(tree.slopes(ipl), tree.slopes(cpl), atol=1e-14)
    assert tree.slopes(cpl).abs().max() > 0.01


def test_a_next_value_without_gradient_parts_their_gradients_only(tree):
    given = tree.pairs(EQUAL, ENDS)
    ipl, cpl = tree.ipl(given, LABELS, fixed_next=True), tree.cpl(given, LABELS)
    assert ipl.item() == pytest.approx(cpl.item(), abs=1e-14)
    assert (tree.slopes(ipl) - tree.slopes(cpl)).abs().max() > 0.01


def test_uniform_reference_dpo_is_both_at_equal_lengths(tree):
    given = tree.pairs(EQUAL, ENDS)
    losses = [tree.ipl(given, LABELS), tree.cpl(given, LABELS), tree.dpo(given, LABELS)]
    assert losses[2].item() == pytest.approx(losses[0].item(), abs=1e-14)
    for loss in losses[:2]:
        assert torch.allclose(tree.slopes(losses[2]), tree.slopes(loss), atol=1e-14)


def test_uniform_reference_dpo_is_neither_at_unequal_lengths(tree):
    """It pays tau log 4 for every token: by that much per token of difference they part."""
    given = tree.pairs(UNEQUAL[:1])
    _, log_pi, mask = given
    sums = tree.tau * (log_pi * mask).sum(dim=-1)[0]
    longer = tree.tau * math.log(tree.vocabulary)
    difference = (sums[0] - sums[1] - longer).item()
    dpo, cpl = tree.dpo(given, LABELS[:1]), tree.cpl(given, LABELS[:1])
    assert dpo.item() == pytest.approx(math.log1p(math.exp(-difference)))
    assert abs(dpo.item() - cpl.item()) > 0.1


@pytest.mark.parametrize(
    ("tokens", "terminated", "more"),
    [
        (EQUAL, ENDS, {"discount": 0.9}),
        (EQUAL, ((True, True), (True, False)), {}),
        ([([1, 0, 3], [2, 2, 2]), EQUAL[1]], ENDS, {}),
        (EQUAL, ENDS, {"regulariser_weight": 0.1}),
    ],
    ids=["discount", "an end that is none", "two prompts", "regulariser"],
)
def test_outside_these_conditions_ipl_is_not_cpl(tree, tokens, terminated, more):
    given = tree.pairs(tokens, terminated, last_value=1.5)
    assert abs(tree.ipl(given, LABELS, **more).item() - tree.cpl(given, LABELS).item()) > 0.01


def test_ipl_gradients_agree_with_finite_differences(tree):
    logits = tree.logits.detach()
    used = tree.slopes(tree.ipl(tree.pairs(UNEQUAL, ENDS), LABELS)).abs().sum(dim=1).nonzero()[:, 0]

    def loss(rows):
        tree.logits = logits.index_put((used,), rows)
        given = tree.pairs(UNEQUAL, ENDS)
        return tree.ipl(given, LABELS, discount=0.9, regulariser_weight=0.2)

    assert torch.autograd.gradcheck(loss, (logits[used].requires_grad_(),))


# --- values of continuous actions


def fitted(loss, Q):
    """The constant V that minimises a loss over equally likely values of Q."""
    V = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [V], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        value = loss(V.expand(len(Q)), Q, torch.ones(len(Q)))
        value.backward()
        return value

    optimiser.step(closure)
    return V.item()


def test_the_expectile_by_hand():
    """Differences 2 and -1, weights 0.9 and 0.1."""
    V, Q = doubles(1.0, 1.0), doubles(3.0, 0.0)
    loss = expectile_value_loss(V, Q, torch.ones(2), expectile=0.9)
    assert loss.item() == pytest.approx((0.9 * 4 + 0.1 * 1) / 2)


def test_expectiles_lie_between_the_mean_and_the_largest():
    Q = doubles(0.0, 1.0, 5.0)
    found = [
        fitted(lambda V, Q, mask, e=e: expectile_value_loss(V, Q, mask, expectile=e), Q)
        for e in (0.5, 0.9, 0.9999)
    ]
    # At 0.9, above 1: 0.9 (5 - V) = 0.1 (V + V - 1).
    assert found == pytest.approx([2.0, 4.6 / 1.1, 5.0], abs=1e-2)
    assert found[:2] == pytest.approx([2.0, 4.6 / 1.1], abs=1e-6)


def test_gumbel_regression_by_hand():
    """z = 2 and 0 at temperature 1/2: e^2 - 3 and 0."""
    V, Q = doubles(1.0, 1.0), doubles(2.0, 1.0)
    loss = gumbel_value_loss(V, Q, torch.ones(2), temperature=0.5, clip=7.0)
    assert loss.item() == pytest.approx((math.exp(2) - 3) / 2)
    # Beyond the clip, the tangent: e + e (2 - 1) - 2 - 1.
    cut = gumbel_value_loss(V, Q, torch.ones(2), temperature=0.5, clip=1.0)
    assert cut.item() == pytest.approx((2 * math.e - 3) / 2)


def test_gumbel_regression_finds_the_soft_maximum():
    Q = doubles(0.0, 1.0, 5.0, -2.0)
    tau = 0.8
    found = fitted(lambda *given: gumbel_value_loss(*given, temperature=tau, clip=20.0), Q)
    assert found == pytest.approx((soft_value(Q, tau) - tau * math.log(4)).item(), abs=1e-6)


def test_a_value_far_too_low_is_pulled_up_and_nothing_overflows():
    V = torch.zeros(1, requires_grad=True)
    loss = gumbel_value_loss(V, torch.tensor([1e4]), torch.ones(1), temperature=1.0, clip=7.0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert V.grad.item() == pytest.approx(1 - math.exp(7.0))


def test_the_advantage_weighted_loss_by_hand():
    """Advantages 1/2 and -1/2 at temperature 1/2: weights e, cut off at 2, and 1/e."""
    log_pi, Q, V = doubles(-1.0, -3.0), doubles(1.5, 0.5), doubles(1.0, 1.0)
    loss = advantage_weighted_loss(log_pi, Q, V, torch.ones(2), temperature=0.5, largest_weight=2.0)
    assert loss.item() == pytest.approx((2 * 1 + math.exp(-1) * 3) / 2)


def test_a_high_temperature_is_behavioural_cloning():
    log_pi, Q, V = doubles(-1.0, -3.0), doubles(1.5, 0.5), doubles(1.0, 1.0)
    loss = advantage_weighted_loss(
        log_pi, Q, V, torch.ones(2), temperature=1e12, largest_weight=100.0
    )
    assert loss.item() == pytest.approx(behavioural_cloning_loss(log_pi, torch.ones(2)).item())


VALUE_LOSSES = {
    "expectile": lambda V, Q, log_pi, mask: expectile_value_loss(V, Q, mask, expectile=0.8),
    "gumbel": lambda V, Q, log_pi, mask: gumbel_value_loss(V, Q, mask, temperature=0.7, clip=1.0),
    "advantage": lambda V, Q, log_pi, mask: advantage_weighted_loss(
        log_pi, Q, V, mask, temperature=0.7, largest_weight=3.0
    ),
}


@pytest.mark.parametrize("name", VALUE_LOSSES)
def test_gradients_of_value_losses_reach_what_they_fit_alone(name):
    loss = VALUE_LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    V, Q, log_pi = torch.randn(3, 2, 3, dtype=torch.float64, generator=generator).unbind()
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    Q[1, 1:] = V[1, 1:] = log_pi[1, 1:] = NAN
    fits = "log_pi" if name == "advantage" else "V"
    given = {"V": V, "Q": Q, "log_pi": log_pi}
    leaves = {key: value.clone().requires_grad_() for key, value in given.items()}
    loss(**leaves, mask=mask).backward()
    assert [key for key, leaf in leaves.items() if leaf.grad is not None] == [fits]
    slopes = leaves[fits].grad
    assert slopes is not None
    assert slopes[1, 1:].tolist() == [0.0, 0.0] and torch.isfinite(slopes).all()
    # NaN in padding has no finite differences: zeros there instead.
    clean = {key: value.nan_to_num(0.0) for key, value in given.items()}
    assert torch.autograd.gradcheck(
        lambda fitted: loss(**(clean | {fits: fitted}), mask=mask),
        (clean[fits].clone().requires_grad_(),),
    )


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x: expectile_value_loss(x, x, x, expectile=1.0), r"\(0, 1\), got 1\.0"),
        (lambda x: gumbel_value_loss(x, x, x, temperature=0.0, clip=1.0), r"got 0\.0"),
        (lambda x: gumbel_value_loss(x, x, x, temperature=1.0, clip=100.0), r"got 100\.0"),
        (
            lambda x: advantage_weighted_loss(x, x, x, x, temperature=1.0, largest_weight=0.0),
            r"got 1\.0 and 0\.0",
        ),
        (
            lambda x: advantage_weighted_loss(x, x, x, x, temperature=0.0, largest_weight=1.0),
            r"got 0\.0 and 1\.0",
        ),
        (lambda x: expectile_value_loss(x, x[:, None], x, expectile=0.5), r"V \(2,\), Q \(2, 1\)"),
        (
            lambda x: gumbel_value_loss(x, x[:, None], x, temperature=1.0, clip=1.0),
            r"V \(2,\), Q \(2, 1\)",
        ),
        (
            lambda x: advantage_weighted_loss(
                x, x[:, None], x, x, temperature=1.0, largest_weight=1.0
            ),
            r"log_pi \(2,\), Q \(2, 1\)",
        ),
    ],
)
def test_unusable_numbers_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.ones(2))
