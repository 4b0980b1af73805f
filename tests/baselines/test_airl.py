"""AIRL: its reward goes over to changed dynamics exactly where the theorem says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.adversarial import play
from irlbench.baselines.algorithms.airl import AIRLConfig, AIRLDiscriminator
from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.rivals import ExactRival
from irlbench.baselines.learners.steps import Steps
from irlbench.envs.gridworld.worlds import build_world
from irlbench.tabular.evaluation import expected_return, optimal_return
from irlbench.tabular.planning import value_iteration
from irlbench.tabular.policy_iteration import soft_policy_iteration
from irlbench.tabular.rewards import expected_reward, transition_rewards

# The same cells; the door in the wall opens to the right, then to the left. There is a way below.
TO_THE_RIGHT = "....#....\n....#....\n....>....\n....#...G\n....#....\n........."
TO_THE_LEFT = TO_THE_RIGHT.replace(">", "<")


def played(dynamics, expert, *, rounds, state_only):
    """AIRL's policy after its rounds as an occupancy, and its discriminator."""
    states, actions = expert.shape
    g, h = TableFunction(states, 1 if state_only else actions), TableFunction(states, 1)
    judge = AIRLDiscriminator(g, h, dynamics.discount)
    known = KnownDynamics(dynamics, expert)
    rival = ExactRival(known, None)
    config = AIRLConfig(
        gradient_steps=rounds, state_only=state_only, discriminator_learning_rate=0.2
    )
    play(rival, judge, config, Run(), limit=None, discount=dynamics.discount)
    return known.occupancy(rival.policy().probabilities), judge


def total_variation(occupancy, expert):
    return np.abs(occupancy - expert).sum() / 2


@pytest.fixture(scope="module")
def doors():
    """Deterministic rooms before and after the change, the true reward, and an expert before it."""
    before, after = (
        build_world(layout=layout, slip=0.0, wind=wind)
        for layout, wind in ((TO_THE_RIGHT, 0.0), (TO_THE_LEFT, 1.0))
    )
    dynamics = before.dynamics(100, 0.9)
    plan, chain = soft_policy_iteration(dynamics, before.rewards, 0.3)
    expert = 0.1 * chain.visits(dynamics.initial)[:, None] * plan.policy
    return dynamics, after.dynamics(100, 0.9), before.rewards, expert


def relative_regret(dynamics, reward, recovered):
    """Of acting greedily for a recovered reward: 0 is optimal, 1 what uniform moves lose."""
    Q = value_iteration(
        dynamics, expected_reward(dynamics, transition_rewards(recovered, dynamics)), 0.0
    ).Q
    best = np.isclose(Q, Q.max(axis=1, keepdims=True), rtol=1e-9, atol=1e-9)
    uniform = np.full(Q.shape, 1 / Q.shape[1])
    most = optimal_return(dynamics, reward, finite_horizon=False)
    found, nothing = (
        expected_return(dynamics, reward, policy, finite_horizon=False)
        for policy in (best / best.sum(axis=1, keepdims=True), uniform)
    )
    return (most - found) / (most - nothing)


def test_a_reward_of_states_transfers_and_one_of_actions_does_not(doors):
    """Deterministic, decomposable dynamics; both match the expert and plan well where they learnt.

    Fu, Luo and Levine (2018), section 6: with g of states alone, g is the true reward up to a
    constant (here times 1 / 0.3, the expert's temperature).
    """
    before, after, reward, expert = doors
    found = {}
    for state_only in (True, False):
        occupancy, judge = played(before, expert, rounds=500, state_only=state_only)
        g = judge.recovered().unshaped()
        assert total_variation(occupancy, expert) < 0.01
        assert relative_regret(before, reward, g) < 0.01
        found[state_only] = g
    assert relative_regret(after, reward, found[True]) < 0.05
    assert relative_regret(after, reward, found[False]) > 0.2
    assert np.corrcoef(found[True].values, reward)[0, 1] > 0.999
    assert np.ptp(0.3 * found[True].values - reward) < 0.01


def test_where_moves_slip_f_of_states_cannot_match_and_f_of_actions_does(grid, expert_occupancy):
    """f says g(s) + gamma h(s') - h(s): what is wanted of it, the advantage, is an expectation."""
    missed, _ = played(grid, expert_occupancy, rounds=250, state_only=True)
    assert 0.05 < total_variation(missed, expert_occupancy) < 0.2
    matched, _ = played(grid, expert_occupancy, rounds=250, state_only=False)
    assert total_variation(matched, expert_occupancy) < 0.01


def test_the_logit_is_f_less_log_pi_and_the_policy_is_paid_f():
    """Numbers by hand; the last of three transitions ends, so its potential counts as zero."""
    g, h = TableFunction(3, 1), TableFunction(3, 1)
    with torch.no_grad():
        g.values.copy_(torch.tensor([[1.0], [2.0], [-1.0]]))
        h.values.copy_(torch.tensor([[10.0], [20.0], [40.0]]))
    judge = AIRLDiscriminator(g, h, 0.5)
    steps = Steps(
        torch.tensor([0, 1, 1]),
        torch.tensor([1, 0, 1]),
        torch.tensor([1, 2, 2]),
        torch.tensor([False, False, True]),
        torch.ones(3, dtype=torch.float64),
    )
    f = [1 + 10 - 10, 2 + 20 - 20, 2 + 0 - 20]
    assert judge.paid_for(judge.logit(steps)).tolist() == f
    log_pi = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64)
    assert judge.logits_expert_is_high(steps, log_pi).tolist() == [2.0, 4.0, -17.5]
    recovered = judge.recovered()
    asked = (steps.observations, steps.actions, steps.next_observations, steps.terminated)
    assert recovered(*(part.numpy() for part in asked)).tolist() == f
    assert recovered.unshaped().arrays()["values"].tolist() == [1.0, 2.0, -1.0]
    assert (recovered.discount, recovered.temperature) == (0.5, 1.0)
