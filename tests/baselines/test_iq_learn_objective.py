"""IQ-Learn: by hand, by finite differences, by exact solution on a grid, and on text as SFT."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss
from irlbench.baselines.objectives.iq_learn import (
    VALUE_TERMS,
    discounted_initial_value,
    initial_value_per_action,
    iq_learn_loss,
)
from irlbench.baselines.objectives.soft_values import SoftValues, sequence_values, soft_value
from irlbench.errors import UnknownNameError

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def expert_batch():
    """Rewards 1 - 2 = -1 (gamma 1/2, V' = 4) and, at an end, 3; V - gamma V' = 0 and 5."""
    return SoftValues(
        Q=doubles(1.0, 3.0),
        V=doubles(2.0, 5.0),
        V_next=doubles(4.0, NAN),
        terminated=torch.tensor([False, True]),
        mask=doubles(1.0, 1.0),
    )


def policy_batch():
    """One transition of reward 2 - 4 = -2 and V - gamma V' = 3 - 4 = -1, and padding."""
    return SoftValues(
        Q=doubles(2.0, NAN),
        V=doubles(3.0, NAN),
        V_next=doubles(8.0, NAN),
        terminated=torch.tensor([False, False]),
        mask=doubles(1.0, 0.0),
    )


# --- by hand


@pytest.mark.parametrize(
    ("value_term", "online", "expected"),
    [
        # E_expert[r] = 1 and E_expert[r^2] = 5; E_expert[V - gamma V'] = 2.5.
        ("value_expert", False, 2.5 - 1 + 0.5 * 5),
        ("value", False, 2.5 - 1 + 0.5 * 5),
        ("v0", False, 7.0 - 1 + 0.5 * 5),
        # The policy's: E[r^2] = 4 and E[V - gamma V'] = -1. Half of each.
        ("value_expert", True, 2.5 - 1 + 0.5 * 4.5),
        ("value", True, 0.75 - 1 + 0.5 * 4.5),
        ("v0", True, 7.0 - 1 + 0.5 * 4.5),
    ],
)
def test_the_loss_by_hand(value_term, online, expected):
    loss = iq_learn_loss(
        expert_batch(),
        policy_batch() if online else None,
        discount=0.5,
        value_term=value_term,
        chi2_weight=0.5,
        initial_value=doubles(7.0)[0] if value_term == "v0" else None,
    )
    assert loss.item() == pytest.approx(expected)


def test_no_regulariser_leaves_the_square_out():
    with_square, without = (
        iq_learn_loss(expert_batch(), discount=0.5, value_term="value", chi2_weight=c)
        for c in (0.25, 0.0)
    )
    assert without.item() == pytest.approx(1.5)
    assert (with_square - without).item() == pytest.approx(0.25 * 5)


def test_the_initial_value_by_hand():
    assert discounted_initial_value(doubles(2.0, 4.0), 0.75).item() == pytest.approx(0.75)
    # First actions at positions 1 and 0, four actions in all; the third sequence has none.
    V = doubles([NAN, 10.0, 1.0], [2.0, 1.0, NAN], [NAN, NAN, NAN])
    mask = doubles([0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    assert initial_value_per_action(V, mask).item() == pytest.approx(12 / 4)


def test_online_the_square_bounds_what_the_policy_does():
    """The trap of the expert's batch alone: a reward of 1000 for the policy's would cost nothing."""

    def loss(extra):
        policy = SoftValues(
            Q=doubles(2.0 + extra), V=doubles(3.0), V_next=doubles(8.0), terminated=doubles(0.0),
            mask=doubles(1.0),
        )  # fmt: skip
        return iq_learn_loss(
            expert_batch(), policy, discount=0.5, value_term="value", chi2_weight=0.5
        ).item()

    assert loss(1000.0) - loss(0.0) == pytest.approx(0.5 * 0.5 * (998.0**2 - 2.0**2))


# --- gradients and padding


@pytest.mark.parametrize("value_term", VALUE_TERMS)
def test_gradients_agree_with_finite_differences(value_term):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    actions = torch.randint(5, (2, 3, 4), generator=generator)
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    last = doubles(1.0, 2.0, 3.0)
    ends = torch.tensor([True, False, True])

    def loss(logits):
        batches = []
        for Q, chosen in zip(logits, actions, strict=True):
            taken = Q.gather(-1, chosen[..., None])[..., 0]
            values = sequence_values(
                taken, soft_value(Q, 0.7), mask, terminated=ends, last_value=last
            )
            batches.append(values)
        initial = initial_value_per_action(batches[0].V, mask) if value_term == "v0" else None
        return iq_learn_loss(
            *batches,
            discount=0.9,
            value_term=value_term,
            chi2_weight=0.5,
            initial_value=initial,
        )

    assert torch.autograd.gradcheck(loss, (logits,))


@pytest.mark.parametrize("value_term", VALUE_TERMS)
def test_padding_has_no_part(value_term):
    """The same sequences, alone and padded to twice their length with NaN."""
    generator = torch.Generator().manual_seed(0)
    found = []
    Q, V = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator).unbind()
    for padding in (0, 4):
        wide = [torch.nn.functional.pad(part, (0, padding), value=NAN) for part in (Q, V)]
        wide = [part.requires_grad_() for part in wide]
        mask = torch.nn.functional.pad(torch.ones(3, 4), (0, padding))
        values = sequence_values(wide[0], wide[1], mask, terminated=torch.ones(3, dtype=torch.bool))
        loss = iq_learn_loss(
            values,
            values,
            discount=1.0,
            value_term=value_term,
            chi2_weight=0.5,
            initial_value=initial_value_per_action(wide[1], mask) if value_term == "v0" else None,
        )
        loss.backward()
        assert all((part.grad[:, 4:] == 0).all() for part in wide)
        found.append([loss.detach(), *[part.grad[:, :4] for part in wide]])
    for alone, padded in zip(*found, strict=True):
        assert torch.allclose(alone, padded, atol=1e-14)


# --- exact on the grid


def on_grid(grid, Q, weights):
    """All state-action pairs, with expected next values, weighted by an occupancy measure."""
    V = soft_value(Q, grid.temperature)
    return SoftValues(
        Q=Q,
        V=V[:, None].expand_as(Q),
        V_next=torch.from_numpy(grid.transitions) @ V,
        terminated=torch.zeros_like(Q, dtype=torch.bool),
        mask=torch.from_numpy(weights),
    )


def grid_loss(grid, Q, expert, value_term, chi2_weight, policy=None):
    initial = None
    if value_term == "v0":
        # The initial distribution is uniform over all states.
        initial = discounted_initial_value(soft_value(Q, grid.temperature), grid.discount)
    return iq_learn_loss(
        on_grid(grid, Q, expert),
        None if policy is None else on_grid(grid, Q, policy),
        discount=grid.discount,
        value_term=value_term,
        chi2_weight=chi2_weight,
        initial_value=initial,
    )


def minimiser(grid, expert, value_term, chi2_weight):
    Q = torch.zeros(expert.shape, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [Q], max_iter=5000, history_size=50, tolerance_grad=1e-7, tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        loss = grid_loss(grid, Q, expert, value_term, chi2_weight)
        loss.backward()
        return loss

    optimiser.step(closure)
    return Q.detach().numpy()


def divergences(log_p, log_q):
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1)


def implied_reward(grid, Q):
    return Q - grid.discount * grid.transitions @ grid.soft_value(Q)


def test_every_value_term_is_the_same_for_any_occupancy_measure(small_grid):
    """E_mu[V - gamma V'] = (1 - gamma) E[V(s_0)], whoever's mu it is."""
    rng = np.random.default_rng(0)
    one, other = (
        small_grid.occupancy(np.log(rng.dirichlet(np.ones(4), size=49))) for _ in range(2)
    )
    Q = torch.from_numpy(rng.normal(size=(49, 4)))
    losses = [
        grid_loss(small_grid, Q, one, value_term, 0.0, policy).item()
        for value_term in VALUE_TERMS
        for policy in (None, other)
    ]
    assert losses == pytest.approx([losses[0]] * len(losses), abs=1e-12)


@pytest.mark.parametrize("value_term", VALUE_TERMS)
def test_without_regulariser_policy_and_reward_are_recovered(small_grid, value_term):
    expert = small_grid.log_policy(small_grid.soft_q(small_grid.rewards))
    Q = minimiser(small_grid, small_grid.occupancy(expert), value_term, 0.0)
    assert divergences(expert, small_grid.log_policy(Q)).max() < 1e-6
    assert small_grid.starc(small_grid.rewards, implied_reward(small_grid, Q)) < 0.001


@pytest.mark.parametrize("value_term", VALUE_TERMS)
def test_the_bias_of_the_regulariser_is_the_known_one(small_grid, value_term):
    """Computed independently: max KL 0.017, mean under the expert's visits 0.0044, STARC 0.019."""
    expert = small_grid.log_policy(small_grid.soft_q(small_grid.rewards))
    occupancy = small_grid.occupancy(expert)
    Q = minimiser(small_grid, occupancy, value_term, 0.5)
    kl = divergences(expert, small_grid.log_policy(Q))
    assert kl.max() == pytest.approx(0.017, abs=0.0005)
    assert (occupancy.sum(axis=1) * kl).sum() == pytest.approx(0.0044, abs=0.00005)
    distance = small_grid.starc(small_grid.rewards, implied_reward(small_grid, Q))
    assert distance == pytest.approx(0.019, abs=0.0005)


def test_the_log_policy_of_the_expert_is_optimal_with_any_potential(small_grid):
    """Without regulariser any Q = tau log pi_E + v(s) is optimal: a clone's log pi is one."""
    expert = small_grid.log_policy(small_grid.soft_q(small_grid.rewards))
    occupancy = small_grid.occupancy(expert)
    potential = np.random.default_rng(0).normal(size=(49, 1))
    for added in (0.0, potential):
        Q = torch.from_numpy(small_grid.temperature * expert + added).requires_grad_()
        loss = grid_loss(small_grid, Q, occupancy, "value", 0.0)
        loss.backward()
        assert Q.grad.abs().max() < 1e-12
        reward = implied_reward(small_grid, Q.detach().numpy())
        assert small_grid.starc(small_grid.rewards, reward) < 1e-7


# --- on text


def text_batch(terminated):
    """Two prompts of one token, three and one actions, then padding; logits are Q, tau is 1."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    actions = torch.randint(7, (2, 5), generator=generator)
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    last = torch.randn(2, dtype=torch.float64, generator=generator)
    Q = logits.gather(-1, actions[..., None])[..., 0]
    V = soft_value(logits, 1.0)
    values = sequence_values(Q, V, mask, terminated=torch.tensor(terminated), last_value=last)
    log_pi = torch.log_softmax(logits, dim=-1).gather(-1, actions[..., None])[..., 0]
    return logits, values, log_pi, last


def text_loss(values, value_term, td_weight):
    initial = initial_value_per_action(values.V, values.mask) if value_term == "v0" else None
    return iq_learn_loss(
        values,
        discount=1.0,
        value_term=value_term,
        chi2_weight=td_weight,
        initial_value=initial,
    )


@pytest.mark.parametrize(
    ("value_term", "terminated"),
    [
        ("value", [True, True]),
        ("value", [True, False]),
        ("value_expert", [True, False]),
        ("v0", [True, True]),
    ],
)
def test_without_td_regulariser_it_is_supervised_fine_tuning(value_term, terminated):
    logits, values, log_pi, _ = text_batch(terminated)
    ours, sft = text_loss(values, value_term, 0.0), behavioural_cloning_loss(log_pi, values.mask)
    assert ours.item() == pytest.approx(sft.item(), abs=1e-14)
    one, other = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, sft))
    assert torch.allclose(one, other, atol=1e-14)


def test_a_cut_sequence_parts_v0_from_supervised_fine_tuning():
    """By its last value over the four actions: sum of r - V_0 = sum of log pi - V_last."""
    _, values, log_pi, last = text_batch([True, False])
    ours, sft = text_loss(values, "v0", 0.0), behavioural_cloning_loss(log_pi, values.mask)
    assert (ours - sft).item() == pytest.approx(last[1].item() / 4, abs=1e-14)
    assert abs(last[1].item()) > 0.1


def test_it_is_maximum_likelihood_with_a_td_regulariser():
    """-E[log pi] + lambda E[(log pi + V - V')^2], written out over the four actions."""
    _, values, log_pi, _ = text_batch([True, True])
    V = values.V
    residuals = [
        log_pi[0, 0] + V[0, 0] - V[0, 1],
        log_pi[0, 1] + V[0, 1] - V[0, 2],
        log_pi[0, 2] + V[0, 2],
        log_pi[1, 0] + V[1, 0],
    ]
    regulariser = sum(residual.item() ** 2 for residual in residuals) / 4
    likelihood = (log_pi[0, :3].sum() + log_pi[1, 0]).item() / 4
    assert text_loss(values, "value", 0.3).item() == pytest.approx(-likelihood + 0.3 * regulariser)
    assert text_loss(values, "v0", 0.3).item() == pytest.approx(-likelihood + 0.3 * regulariser)


# --- what is refused


def test_an_unknown_value_term_is_refused():
    with pytest.raises(UnknownNameError, match="value_expert"):
        iq_learn_loss(expert_batch(), discount=0.9, value_term="value_exprt", chi2_weight=0.0)


@pytest.mark.parametrize(("value_term", "given"), [("v0", None), ("value", torch.zeros(()))])
def test_an_initial_value_goes_with_v0(value_term, given):
    with pytest.raises(ValueError, match=f"value term '{value_term}' and"):
        iq_learn_loss(
            expert_batch(),
            discount=0.9,
            value_term=value_term,
            chi2_weight=0.0,
            initial_value=given,
        )


def test_unusable_numbers_are_refused():
    with pytest.raises(ValueError, match=r"-0\.5"):
        iq_learn_loss(expert_batch(), discount=0.9, value_term="value", chi2_weight=-0.5)
    with pytest.raises(ValueError, match=r"discount must be in \[0, 1\), got 1\.0"):
        discounted_initial_value(doubles(1.0), 1.0)
    with pytest.raises(ValueError, match=r"one shape"):
        initial_value_per_action(doubles([1.0]), doubles(1.0))


def test_single_precision_on_a_long_text_keeps_sft():
    """float32, values in the hundreds: lambda = 0 stays SFT to rounding."""
    generator = torch.Generator().manual_seed(0)
    logits = 100 + torch.randn(2, 64, 50, generator=generator)
    actions = torch.randint(50, (2, 64), generator=generator)
    mask = torch.ones(2, 64)
    Q = logits.gather(-1, actions[..., None])[..., 0]
    values = sequence_values(
        Q, soft_value(logits, 1.0), mask, terminated=torch.ones(2, dtype=torch.bool)
    )
    log_pi = torch.log_softmax(logits, dim=-1).gather(-1, actions[..., None])[..., 0]
    sft = behavioural_cloning_loss(log_pi, mask).item()
    for value_term in ("value", "v0"):
        assert math.isclose(text_loss(values, value_term, 0.0).item(), sft, rel_tol=1e-5)
