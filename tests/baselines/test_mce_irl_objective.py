"""MCE IRL: its gradient is that of the expert's likelihood, and it recovers a state's reward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.baselines.objectives.mce_irl import mce_irl_loss


def slope(grid, rewards, expert_occupancy):
    """The gradient of the loss in r(s, a), with the soft-optimal policy as learner."""
    table = torch.from_numpy(rewards).requires_grad_()
    learner = grid.occupancy(grid.log_policy(grid.soft_q(rewards)))
    mce_irl_loss(table, torch.from_numpy(learner), torch.from_numpy(expert_occupancy)).backward()
    assert table.grad is not None
    return table.grad.numpy()


def negative_log_likelihood(grid, rewards, expert_occupancy):
    return -(expert_occupancy * grid.log_policy(grid.soft_q(rewards))).sum()


def test_the_gradient_is_the_difference_of_occupancies():
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(3, 2, generator=generator, requires_grad=True)
    learner = torch.rand(3, 2, generator=generator, requires_grad=True)
    expert = torch.rand(3, 2, generator=generator)
    mce_irl_loss(reward, learner, expert).backward()
    assert reward.grad is not None
    assert torch.equal(reward.grad, (learner - expert).detach())
    assert learner.grad is None


def test_features_shared_by_rewards_get_the_difference_of_expected_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 3, generator=generator)
    weights = torch.zeros(3, requires_grad=True)
    learner, expert = torch.rand(2, 5, generator=generator).unbind()
    mce_irl_loss(features @ weights, learner, expert).backward()
    assert weights.grad is not None
    assert torch.allclose(weights.grad, features.T @ (learner - expert), atol=1e-6)


def test_it_is_the_gradient_of_the_experts_likelihood(small_grid):
    """Tau times that of E_expert[-log pi], by finite differences along random directions."""
    rng = np.random.default_rng(0)
    expert = small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))
    rewards = rng.normal(size=(49, 4))
    gradient = slope(small_grid, rewards, expert)
    for _ in range(3):
        direction = rng.normal(size=(49, 4))
        step = 1e-5 * direction
        ahead, behind = (
            negative_log_likelihood(small_grid, rewards + sign * step, expert) for sign in (1, -1)
        )
        along = small_grid.temperature * (ahead - behind) / 2e-5
        assert along == pytest.approx((gradient * direction).sum(), rel=1e-5)


def test_a_reward_of_states_is_recovered(small_grid):
    from scipy.optimize import minimize

    expert = small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))

    def of_states(cells):
        rewards = np.repeat(cells[:, None], 4, axis=1)
        loss = small_grid.temperature * negative_log_likelihood(small_grid, rewards, expert)
        return 1e4 * loss, 1e4 * slope(small_grid, rewards, expert).sum(axis=1)

    found = minimize(
        of_states,
        np.zeros(49),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 0.0},
    )
    rewards = np.repeat(found.x[:, None], 4, axis=1)
    learner = small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(rewards)))
    assert np.abs(learner - expert).sum() / 2 < 1e-6
    assert small_grid.starc(small_grid.rewards, rewards) < 1e-4


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"reward \(3,\), learner_occupancy \(3, 2\)"):
        mce_irl_loss(torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 2))
