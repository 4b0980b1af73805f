"""Soft values by hand, by enumeration, and along sequences with turns, padding and cuts."""

from __future__ import annotations

import math

import pytest
import torch

from irlbench.baselines.objectives.masking import check_shapes, masked_mean, masked_sum
from irlbench.baselines.objectives.soft_values import SoftValues, sequence_values, soft_value

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


# --- masks


def test_sums_and_means_count_what_the_mask_counts():
    values = doubles([1.0, 2.0, NAN], [4.0, math.inf, 7.0])
    mask = doubles([1.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    assert masked_sum(values, mask).tolist() == [3.0, 4.0]
    # Over three actions, not over two sequences.
    assert masked_mean(values, mask).item() == pytest.approx(7 / 3)


def test_a_mask_may_hold_weights():
    assert masked_mean(doubles(1.0, 5.0), doubles(0.75, 0.25)).item() == pytest.approx(2.0)
    assert masked_mean(doubles(1.0, 5.0), doubles(3.0, 1.0)).item() == pytest.approx(2.0)


def test_what_would_be_broadcast_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Q \(3,\), V \(3, 1\)"):
        check_shapes(Q=torch.zeros(3), V=torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"values \(2,\), mask \(1,\)"):
        masked_mean(torch.zeros(2), torch.ones(1))
    with pytest.raises(ValueError, match=r"V_next \(2, 1\)"):
        SoftValues(
            Q=torch.zeros(2),
            V=torch.zeros(2),
            V_next=torch.zeros(2, 1),
            terminated=torch.zeros(2),
            mask=torch.ones(2),
        )


# --- values and rewards


def test_the_soft_value_by_hand():
    Q = doubles([0.0, math.log(3.0)], [2.0, 2.0])
    assert soft_value(Q, 1.0).tolist() == pytest.approx([math.log(4.0), 2 + math.log(2.0)])
    assert soft_value(Q, 0.5).tolist() == pytest.approx([math.log(10.0) / 2, 2 + math.log(2.0) / 2])
    assert soft_value(1e4 * Q, 1e-3).tolist() == pytest.approx([1e4 * math.log(3.0), 2e4], rel=1e-6)


def test_the_soft_value_is_the_expected_value_plus_entropy():
    """V = E_pi[Q - tau log pi], and tau log pi = Q - V."""
    Q = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_pi = torch.log_softmax(Q / 0.3, dim=-1)
    expected = (log_pi.exp() * (Q - 0.3 * log_pi)).sum(dim=-1)
    assert torch.allclose(soft_value(Q, 0.3), expected, atol=1e-12)
    assert torch.allclose(0.3 * log_pi, Q - soft_value(Q, 0.3)[:, None], atol=1e-12)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match=str(temperature)):
        soft_value(torch.zeros(1, 2), temperature)


def test_the_implied_reward_by_hand():
    values = SoftValues(
        Q=doubles(3.0, 3.0, NAN),
        V=doubles(0.0, 0.0, 0.0),
        V_next=doubles(2.0, NAN, NAN),
        terminated=torch.tensor([False, True, False]),
        mask=doubles(1.0, 1.0, 0.0),
    )
    # 3 - 0.5 * 2; nothing is earned after an end; 0 in padding.
    assert values.reward(0.5).tolist() == [2.0, 3.0, 0.0]


def test_the_reward_of_the_soft_optimal_q_is_the_reward(small_grid):
    Q = torch.from_numpy(small_grid.soft_q(small_grid.rewards))
    V = soft_value(Q, small_grid.temperature)
    values = SoftValues(
        Q=Q,
        V=V[:, None].expand_as(Q),
        V_next=torch.from_numpy(small_grid.transitions) @ V,
        terminated=torch.zeros_like(Q, dtype=torch.bool),
        mask=torch.ones_like(Q),
    )
    error = values.reward(small_grid.discount).numpy() - small_grid.rewards
    assert abs(error).max() < 1e-12


# --- sequences


def sequences(**changes):
    """Two prompts of one token; three actions that end, and one that was cut; then padding."""
    given = {
        "Q": doubles([1.0, 2.0, 3.0, NAN], [4.0, NAN, NAN, NAN]),
        "V": doubles([10.0, 20.0, 30.0, NAN], [40.0, NAN, NAN, NAN]),
        "mask": torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
        "terminated": torch.tensor([True, False]),
        "last_value": doubles(NAN, 50.0),
    }
    return sequence_values(**(given | changes))


def test_the_next_state_of_a_token_is_the_next_position():
    values = sequences()
    assert values.V_next[0, :2].tolist() == [20.0, 30.0]
    assert values.terminated.tolist()[0] == [False, False, True, True]
    # The second was cut after its only action: it bootstraps from the last value.
    assert values.V_next[1, 0].item() == 50.0
    assert not values.terminated[1].any()
    assert values.reward(1.0).tolist() == [[-19.0, -28.0, 3.0, 0.0], [-46.0, 0.0, 0.0, 0.0]]


def test_other_speakers_are_stepped_over():
    """Positions 1 and 2 are followed by somebody else's tokens: s' of the first action is 3."""
    values = sequence_values(
        Q=doubles([1.0, NAN, NAN, 5.0, NAN]),
        V=doubles([10.0, NAN, NAN, 40.0, NAN]),
        mask=doubles([1.0, 0.0, 0.0, 1.0, 0.0]),
        terminated=torch.tensor([True]),
    )
    assert values.reward(1.0).tolist() == [[-39.0, 0.0, 0.0, 5.0, 0.0]]


def test_padding_may_stand_on_the_left():
    values = sequence_values(
        Q=doubles([NAN, 1.0, 2.0]),
        V=doubles([NAN, 10.0, 20.0]),
        mask=doubles([0.0, 1.0, 1.0]),
        terminated=torch.tensor([True]),
    )
    assert values.reward(1.0).tolist() == [[0.0, -19.0, 2.0]]


def test_a_cut_sequence_needs_a_value_to_bootstrap_from():
    with pytest.raises(ValueError, match="sequence 1 did not end: give last_value"):
        sequences(last_value=None)
    with pytest.raises(ValueError, match=r"terminated \(2,\), last_value \(2, 1\)"):
        sequences(last_value=doubles([1.0], [2.0]))
    with pytest.raises(ValueError, match=r"V \(2, 3\)"):
        sequences(V=torch.zeros(2, 3))
    every_one_ends = sequences(last_value=None, terminated=torch.tensor([True, True]))
    assert every_one_ends.reward(1.0)[1, 0].item() == 4.0


def test_gradients_of_rewards_along_sequences_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    Q, V = torch.randn(2, 2, 4, dtype=torch.float64, generator=generator).unbind()
    last = torch.randn(2, dtype=torch.float64, generator=generator)
    mask = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    terminated = torch.tensor([True, False])

    def rewards(Q, V, last):
        return sequence_values(Q, V, mask, terminated=terminated, last_value=last).reward(0.9)

    inputs = [tensor.requires_grad_() for tensor in (Q.clone(), V.clone(), last)]
    assert torch.autograd.gradcheck(rewards, inputs)


def test_padding_that_is_nan_gives_no_gradient():
    given = {name: doubles([1.0, 2.0, NAN]).requires_grad_() for name in ("Q", "V")}
    mask = doubles([1.0, 1.0, 0.0])
    values = sequence_values(**given, mask=mask, terminated=torch.tensor([True]))
    masked_mean(values.reward(1.0) ** 2, mask).backward()
    # Rewards are 1 - 2 and 2; their mean square has slopes -1 and 2 in Q, and 1 in V(s_1).
    assert given["Q"].grad.tolist() == [[-1.0, 2.0, 0.0]]
    assert given["V"].grad.tolist() == [[0.0, 1.0, 0.0]]
