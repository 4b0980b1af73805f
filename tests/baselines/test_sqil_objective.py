"""SQIL: by hand, by finite differences, at its solution, and blind to padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from irlbench.baselines.objectives.soft_values import SoftValues, soft_value
from irlbench.baselines.objectives.sqil import sqil_loss

NAN = float("nan")


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def batch(Q, V_next, ends):
    """The last of every batch is padding."""
    return SoftValues(
        Q=doubles(*Q, NAN),
        V=doubles(*Q, NAN),
        V_next=doubles(*V_next, NAN),
        terminated=torch.tensor([*ends, False]),
        mask=doubles(*[1.0] * len(Q), 0.0),
    )


def test_the_loss_by_hand():
    """Residuals 4 - 1 - 2 = 1 and, at an end, 4 - 1 = 3; the policy's 3 - 0 - 1 = 2."""
    expert = batch([4.0, 4.0], [4.0, NAN], [False, True])
    policy = batch([3.0], [2.0], [False])
    assert sqil_loss(expert, policy, discount=0.5).item() == pytest.approx(5 + 4)
    weighted = sqil_loss(expert, policy, discount=0.5, policy_weight=0.25)
    assert weighted.item() == pytest.approx(5 + 1)


def test_soft_values_of_reward_one_and_zero_solve_it():
    """Three demonstrated steps to an end, gamma 1/2; the policy's other action ends with nothing.

    V(s) = log(exp Q(s, expert's) + exp 0), from the last state back.
    """
    table = torch.zeros(3, 2, dtype=torch.float64)
    for state in (2, 1, 0):
        beyond = soft_value(table[state + 1], 1.0) if state < 2 else 0.0
        table[state, 0] = 1 + 0.5 * beyond
    table.requires_grad_()
    V = soft_value(table, 1.0)
    following = torch.cat([V[1:], doubles(NAN)])
    expert = SoftValues(table[:, 0], V, following, torch.arange(3) == 2, torch.ones(3))
    policy = SoftValues(table[:, 1], V, following, torch.ones(3), torch.ones(3))
    loss = sqil_loss(expert, policy, discount=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-28)
    assert table.grad.abs().max() < 1e-14
    # Reward 1 on the policy's samples would not be solved by it.
    assert sqil_loss(policy, policy, discount=0.5).item() == pytest.approx(1.0)


def test_the_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    actions = torch.randint(4, (2, 5), generator=generator)
    ends, mask = torch.tensor([0, 1, 0, 0, 1]).bool(), doubles(1.0, 1.0, 0.0, 1.0, 1.0)

    def loss(logits):
        both = []
        for Q, chosen in zip(logits, actions, strict=True):
            V = soft_value(Q, 0.5)
            taken = Q.gather(-1, chosen[:, None])[:, 0]
            both.append(SoftValues(taken, V, V.roll(-1), ends, mask))
        return sqil_loss(*both, discount=0.9, policy_weight=0.3)

    assert torch.autograd.gradcheck(loss, (logits,))


def test_a_target_gets_no_gradient_when_it_is_detached():
    Q, V_next = doubles(4.0).requires_grad_(), doubles(4.0).requires_grad_()
    values = SoftValues(Q, Q, V_next, doubles(0.0), doubles(1.0))
    for target, slope in ((V_next, -1.0), (V_next.detach(), None)):
        Q.grad = V_next.grad = None
        expert = replace(values, V_next=target)
        nothing = replace(expert, Q=2.0 + 0.0 * Q.detach(), V_next=doubles(4.0))
        sqil_loss(expert, nothing, discount=0.5).backward()
        assert Q.grad.item() == pytest.approx(2.0)
        assert (None if V_next.grad is None else V_next.grad.item()) == slope


def test_padding_has_no_gradient():
    expert = batch([4.0, 4.0], [4.0, NAN], [False, True])
    Q = expert.Q.clone().requires_grad_()
    sqil_loss(replace(expert, Q=Q), batch([3.0], [2.0], [False]), discount=0.5).backward()
    assert Q.grad.tolist() == [1.0, 3.0, 0.0]


def test_a_negative_weight_is_refused():
    values = batch([1.0], [1.0], [False])
    with pytest.raises(ValueError, match=r"-1\.0"):
        sqil_loss(values, values, discount=0.9, policy_weight=-1.0)
