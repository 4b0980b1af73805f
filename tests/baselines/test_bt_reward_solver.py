"""Which solver turns a Bradley-Terry reward into a policy, and that it is part of the trial."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bt_reward import BTReward
from irlbench.baselines.algorithms.ipl import IPL
from irlbench.errors import UnknownNameError, UsageError
from irlbench.policies.table import TablePolicy
from irlbench.rewards.table import TableReward
from irlbench.running import plan
from irlbench.tabular.planning import value_iteration
from irlbench.task import Prepared


def test_the_track_chooses_the_solver_and_a_setting_another():
    usual = BTReward.Config()
    for track, wanted in (
        ("preferences+interaction", "soft-q-learning"),
        ("preferences+dynamics", "soft-value-iteration"),
    ):
        assert BTReward.solvers_for("gridworld", track, usual) == (wanted,)
        told = BTReward.Config(solver="boltzmann")
        assert BTReward.solvers_for("gridworld", track, told) == ("boltzmann",)
    assert IPL.solvers_for("gridworld", "preferences", IPL.Config()) == ()


def test_the_solver_determines_the_trial():
    def planned(track, **settings):
        choices = plan.Choices(
            targets=("gridworld/four-rooms",),
            algorithms=("bt-reward",),
            seeds=(0,),
            track=track,
            settings={f"bt-reward.{name}": value for name, value in settings.items()},
        )
        cells = plan.cells(choices)
        (spec,) = plan.trials(cells, {c.task.id: Prepared() for c in cells}, choices)
        return spec

    sampled, known = planned("preferences+interaction"), planned("preferences+dynamics")
    assert list(sampled.solvers) == ["soft-q-learning"]
    assert sampled.solvers["soft-q-learning"]["config"]["gradient_steps"] > 0
    assert list(known.solvers) == ["soft-value-iteration"]
    told = planned("preferences+dynamics", solver="boltzmann")
    assert list(told.solvers) == ["boltzmann"]
    assert len({spec.id for spec in (sampled, known, told)}) == 3
    with pytest.raises(UsageError, match="did you mean 'boltzmann'"):
        planned("preferences+dynamics", solver="boltzman")


def test_the_solver_does_what_it_is_told(small_world):
    given = {"preferences": small_world.preferences(200), "gradient_steps": 50}
    track = "preferences+dynamics"
    usual, told, warm = (
        small_world.fit(BTReward, track, **given, **changes)[0]
        for changes in ({}, {"solver": "boltzmann"}, {"temperature": 1.0})
    )
    assert np.array_equal(usual.reward.values, told.reward.values)
    hard = value_iteration(small_world.dynamics, usual.reward.values, 0.0)
    assert told.policy.log_probabilities == pytest.approx(
        TablePolicy(hard.Q / 0.1).log_probabilities, abs=1e-6
    )
    soft = value_iteration(small_world.dynamics, usual.reward.values, 1.0)
    assert warm.policy.probabilities == pytest.approx(soft.policy, abs=1e-6)
    with pytest.raises(UnknownNameError, match="boltzman"):
        small_world.fit(BTReward, track, **given, solver="boltzman")
    with pytest.raises(
        UsageError, match=r"soft-q-learning: temperature must be positive, got 0\.0"
    ):
        small_world.fit(BTReward, track, **given, solver="soft-q-learning", temperature=0.0)


def test_the_reward_model_needs_preferences_alone(small_world):
    """Fitted without a solver, from nothing else, it is the one that a solver is given."""
    given = small_world.preferences(200)
    usual, _, _ = small_world.fit(
        BTReward, "preferences+dynamics", preferences=given, gradient_steps=50
    )
    problem = small_world.problem("preferences", {"preferences"}, preferences=given)
    alone = BTReward.configure("gridworld", {"gradient_steps": 50}).fit_reward(problem, Run(0))
    assert isinstance(alone, TableReward)
    assert np.array_equal(alone.values, usual.reward.values)
    assert alone.values.any()
    assert problem.usage == {"preferences": 200}
