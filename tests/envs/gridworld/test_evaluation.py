"""Exact scores are what enumerating every trajectory, or running very many, gives."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from irlbench.envs.gridworld.evaluation import (
    GridworldEvaluator,
    action_probabilities,
)
from irlbench.envs.gridworld.maps import FOUR_ROOMS
from irlbench.envs.gridworld.model import gridworld_model
from irlbench.envs.gridworld.rollouts import roll_out
from irlbench.policies.mlp import CategoricalMLPPolicy
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.tabular.evaluation import optimal_return
from irlbench.tabular.occupancy import state_distributions
from irlbench.task import Split

SEEDS = np.arange(4000)


def logits(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 2


def evaluator(layout, horizon, discount=0.9, slip=0.4, expert=None, seeds=SEEDS):
    model = gridworld_model(layout, slip)
    expert = expert or TablePolicy(logits(model.states, 4, seed=99))
    splits: dict[Split, Any] = {"test": seeds, "validation": seeds + 10_000}
    return GridworldEvaluator(model, model.dynamics(horizon, discount), expert, splits)


def enumerated(layout, horizon, discount, tables, slip=0.4, expert=None):
    """Return, discounted return and KL to the expert, over every trajectory there is."""
    model = gridworld_model(layout, slip)
    total = discounted = divergence = mass = 0.0
    choices = list(itertools.product(range(4), range(4)))
    for start in range(model.states):
        for trajectory in itertools.product(choices, repeat=horizon):
            state, probability, rewards, logs = start, 1 / model.states, [], 0.0
            for step, (action, turn) in enumerate(trajectory):
                probability *= tables[step][state, action] * model.turns[turn]
                rewards.append(model.rewards[state])
                if expert is not None:
                    logs += np.log(tables[step][state, action] / expert[state, action])
                state = int(model.successors[state, action, turn])
            total += probability * sum(rewards)
            discounted += probability * sum(r * discount**t for t, r in enumerate(rewards))
            divergence += probability * logs / horizon
            mass += probability
    assert mass == pytest.approx(1.0)
    return total, discounted, divergence


def test_a_table_is_scored_as_by_enumeration():
    layout, horizon, discount = "G.\n#.", 3, 0.8
    policy, expert = TablePolicy(logits(3, 4)), TablePolicy(logits(3, 4, seed=1))
    judge = evaluator(layout, horizon, discount, expert=expert)
    scores = judge.evaluate(policy, "test").scores
    total, discounted, divergence = enumerated(
        layout, horizon, discount, [policy.probabilities] * horizon, expert=expert.probabilities
    )
    dynamics = gridworld_model(layout, 0.4).dynamics(horizon, discount)
    best = optimal_return(dynamics, np.eye(3)[0], finite_horizon=True)
    assert scores["return"] == pytest.approx(total, abs=1e-12)
    assert scores["regret"] == pytest.approx(best - discounted, abs=1e-12)
    assert scores["kl_to_expert"] == pytest.approx(divergence, abs=1e-12)
    assert scores["length"] == pytest.approx(horizon)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_time_dependent_table_repeats_its_last_step(steps):
    layout, horizon, discount = "G.", 3, 0.8
    policy = TimeDependentTablePolicy(logits(steps, 2, 4))
    scores = evaluator(layout, horizon, discount).evaluate(policy, "test").scores
    tables = [policy.probabilities[min(t, steps - 1)] for t in range(horizon)]
    assert scores["return"] == pytest.approx(
        enumerated(layout, horizon, discount, tables)[0], abs=1e-12
    )


def test_the_best_of_all_plans_has_no_regret():
    """Over 2 steps in 2 cells, try each of the 4^4 deterministic plans."""
    layout, horizon, discount = "G.", 2, 0.7
    judge = evaluator(layout, horizon, discount)
    regrets = []
    for plan in itertools.product(range(4), repeat=4):
        chosen = np.full((2, 2, 4), -1000.0)
        chosen[np.repeat([0, 1], 2), np.tile([0, 1], 2), plan] = 0.0
        scores = judge.evaluate(TimeDependentTablePolicy(chosen), "test").scores
        regrets.append(scores["regret"])
    assert min(regrets) == pytest.approx(0.0, abs=1e-12)
    assert max(regrets) > 0.1


def test_sampled_and_exact_scores_agree():
    horizon = 60
    model = gridworld_model(FOUR_ROOMS, 0.1)
    policy = TablePolicy(logits(104, 4))
    judge = evaluator(FOUR_ROOMS, horizon, 0.95, 0.1)

    class Opaque(TablePolicy):
        kind = "custom"

        def arrays(self):
            raise AssertionError("a policy that cannot be saved is only asked to act")

    class Silent(Policy):
        def act(self, observations, state=None, **kwargs):
            return policy.act(observations, state, **kwargs)

    exact = judge.evaluate(policy, "test")
    sampled = judge.evaluate(Silent(), "test")
    assert exact.episodes == {}
    returns = np.array(sampled.episodes["return"])
    assert len(returns) == len(SEEDS)
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert 0 < error < 0.2
    assert abs(returns.mean() - exact.scores["return"]) < 4 * error
    assert sampled.scores["return"] == pytest.approx(returns.mean())
    assert abs(sampled.scores["regret"] - exact.scores["regret"]) < 4 * error
    assert sampled.scores["length"] == horizon
    assert "kl_to_expert" not in sampled.scores, "its distribution is not known"
    again = judge.evaluate(Silent(), "test")
    assert again.scores == sampled.scores
    assert judge.evaluate(Silent(), "validation").scores != sampled.scores
    assert roll_out(model, Opaque(logits(104, 4)), SEEDS, horizon).rewards.sum(axis=1).tolist() == (
        returns.tolist()
    )


def test_the_states_policies_visit_are_those_of_roll_outs():
    model, horizon = gridworld_model("....\n.##.\n...G", 0.3), 12
    policy = TimeDependentTablePolicy(logits(5, model.states, 4))
    table = action_probabilities(policy, model.states, 4, horizon)
    assert table is not None
    exact = np.array(list(state_distributions(model.dynamics(horizon, 1.0), table)))
    seen = roll_out(model, policy, np.arange(20_000), horizon).observations
    for step in range(horizon):
        found = np.bincount(seen[:, step], minlength=model.states) / len(seen)
        error = np.sqrt(exact[step] * (1 - exact[step]) / len(seen))
        assert (np.abs(found - exact[step]) < 4.5 * error).all()


def test_every_closed_kind_with_a_log_probability_is_scored_exactly():
    weights = {
        "hidden.0.weight": np.array([[0.3], [-0.2]]),
        "hidden.0.bias": np.array([0.1, 0.4]),
        "logits.weight": logits(4, 2),
        "logits.bias": logits(4),
    }
    network = CategoricalMLPPolicy(weights)
    judge = evaluator("G..\n...", 5)
    table = TablePolicy(network.log_probabilities(np.arange(6)))
    assert judge.evaluate(network, "test").scores == pytest.approx(
        judge.evaluate(table, "test").scores
    )
    uniform = judge.evaluate(UniformPolicy(4), "test").scores
    assert uniform == pytest.approx(judge.evaluate(TablePolicy(np.zeros((6, 4))), "test").scores)


def test_policies_of_other_actions_are_refused():
    judge = evaluator("G..\n...", 5)
    with pytest.raises(ValueError, match=r"4 actions is judged here.* sum to 0\.8"):
        judge.evaluate(UniformPolicy(5), "test")
    with pytest.raises(ValueError, match=r"6 states and 4 actions.*\(5, 4\)"):
        judge.evaluate(TablePolicy(np.zeros((5, 4))), "test")


def test_a_deterministic_policy_has_a_finite_distance_to_the_expert():
    expert = TablePolicy(logits(2, 4, seed=1))
    chosen = np.where(np.arange(4) == 2, 0.0, -1000.0) * np.ones((2, 1))
    judge = evaluator("G.", 1, expert=expert)
    scores = judge.evaluate(TablePolicy(chosen), "test").scores
    assert scores["kl_to_expert"] == pytest.approx(-expert.log_probabilities[:, 2].mean())
    assert judge.evaluate(expert, "test").scores["kl_to_expert"] == pytest.approx(0.0, abs=1e-15)


def test_nothing_is_earned_after_a_terminal_state():
    """Cell 0 pays 1 and cell 1 ends the episode: always right earns 1 from cell 0, then stops."""
    model = gridworld_model("G.", 0.0)
    dynamics = replace(model.dynamics(5, 0.9), terminal=np.array([False, True]))
    dynamics = replace(dynamics, initial=np.array([1.0, 0.0]))
    judge = GridworldEvaluator(model, dynamics, TablePolicy(np.zeros((2, 4))), {})
    right = TablePolicy(np.where(np.arange(4) == 1, 0.0, -1000.0) * np.ones((2, 1)))
    stay = TablePolicy(np.where(np.arange(4) == 0, 0.0, -1000.0) * np.ones((2, 1)))
    assert judge.evaluate(right, "test").scores["return"] == pytest.approx(1.0)
    assert judge.evaluate(right, "test").scores["length"] == pytest.approx(1.0)
    assert judge.evaluate(stay, "test").scores["return"] == pytest.approx(5.0)
    assert judge.evaluate(stay, "test").scores["regret"] == pytest.approx(0.0)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (7, 3, 4)])
def test_tables_of_another_shape_are_refused(shape):
    policy = TablePolicy if len(shape) == 2 else TimeDependentTablePolicy
    with pytest.raises(ValueError, match="2 states and 4 actions"):
        evaluator("G.", 3).evaluate(policy(np.zeros(shape)), "test")


def test_a_policy_of_its_own_kind_is_judged_by_what_it_does():
    class Stays(TablePolicy):
        kind = "own"

        def act(self, observations, state=None, **more):
            return np.zeros(len(observations), dtype=np.int64), None

    model = gridworld_model(FOUR_ROOMS, 0.1)
    assert action_probabilities(Stays(np.zeros((model.states, 4))), model.states, 4, 10) is None
