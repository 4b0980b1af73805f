"""The risky path: which way is best depends on what an agent can control, foresees and believes."""

from __future__ import annotations

import itertools
from math import exp

import numpy as np
import pytest

from irlbench.envs.gridworld.worlds.risky_path import (
    DETOUR,
    GOAL,
    LAVA,
    RISKY,
    SAFE,
    START,
    risky_path,
)
from irlbench.tabular.planning import value_iteration


def choice(model, discount, temperature=0.0):
    """pi(risky | start)."""
    plan = value_iteration(model.dynamics(5, discount), model.rewards, temperature)
    return float(plan.policy[START, RISKY])


def test_transitions_by_hand():
    model = risky_path(risk=0.3, detour_risk=0.1)
    possible = {
        (s, a): {
            int(t): float(p)
            for t, p in zip(model.successors[s, a], model.probabilities[s, a], strict=True)
            if p > 0
        }
        for s, a in itertools.product(range(4), range(2))
    }
    assert possible == {
        (START, SAFE): {DETOUR: 1.0},
        (START, RISKY): {GOAL: 0.7, LAVA: 0.3},
        (DETOUR, SAFE): {GOAL: 0.9, LAVA: 0.1},
        (DETOUR, RISKY): {DETOUR: 1.0},
        (GOAL, SAFE): {GOAL: 1.0},
        (GOAL, RISKY): {GOAL: 1.0},
        (LAVA, SAFE): {LAVA: 1.0},
        (LAVA, RISKY): {LAVA: 1.0},
    }
    assert model.rewards.tolist() == [0.0, 0.0, 1.0, -100.0]
    assert model.starts.tolist() == [START] and not model.terminal.any()


def test_the_detour_is_best_and_the_shortcut_where_it_is_safe():
    assert choice(risky_path(), 0.9) == 0.0
    assert choice(risky_path(risk=0.0), 0.9) == 1.0
    assert choice(risky_path(risk=0.0, detour_risk=0.5), 0.9) == 1.0


@pytest.mark.parametrize(("discount", "risky"), [(0.49, 1.0), (0.51, 0.0)])
def test_the_best_way_flips_with_the_discount(discount, risky):
    """With harmless lava the shortcut is worth gamma/2 / (1 - gamma), the detour gamma^2 / (1 - gamma)."""
    assert choice(risky_path(lava=0.0), discount) == risky


@pytest.mark.parametrize(("risk", "risky"), [(0.004, 0.0), (0.0005, 1.0)])
def test_the_best_way_flips_with_what_is_believed(risk, risky):
    """The shortcut is worth gamma (1 - 101 risk) / (1 - gamma): best below risk (1 - gamma) / 101."""
    assert choice(risky_path(risk=risk), 0.9) == risky
    assert (risk < 0.1 / 101) == bool(risky)


def test_maximum_entropy_over_trajectories_takes_the_risk_and_causal_entropy_does_not():
    """P(trajectory) ~ P(luck) exp(return), over 5 steps: luck is weighed as if it were chosen."""
    model = risky_path()
    weights = {SAFE: 0.0, RISKY: 0.0}
    for actions in itertools.product(range(2), repeat=4):
        reached = [(START, 1.0, 0.0)]
        for action in actions:
            reached = [
                (int(led), chance * float(p), total + float(model.rewards[state]))
                for state, chance, total in reached
                for led, p in zip(
                    model.successors[state, action], model.probabilities[state, action], strict=True
                )
                if p > 0
            ]
        for state, chance, total in reached:
            weights[actions[0]] += chance * exp(total + model.rewards[state])
    over_trajectories = weights[RISKY] / sum(weights.values())
    assert over_trajectories > 0.6
    assert choice(model, 0.9, temperature=1.0) < 1e-6


def test_returns_by_hand():
    """Five steps: the detour earns 0 + 0 + 1 + 1 + 1, the shortcut 0 + 4 x 1 or 0 - 4 x 100."""
    from irlbench.envs.gridworld.evaluation import GridworldEvaluator
    from irlbench.policies.table import TablePolicy

    model = risky_path()
    judge = GridworldEvaluator(model, model.dynamics(5, 0.9), None, {})
    for action, wanted in ((SAFE, 3.0), (RISKY, 0.5 * 4 - 0.5 * 400)):
        policy = TablePolicy(np.where(np.arange(2) == action, 0.0, -1000.0) * np.ones((4, 1)))
        assert judge.evaluate(policy, "test").scores["return"] == pytest.approx(wanted)
