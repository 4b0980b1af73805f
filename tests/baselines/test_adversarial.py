"""What GAIL and AIRL share: both tracks, budgets, the same bits again, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.airl import AIRL
from irlbench.baselines.algorithms.gail import GAIL
from irlbench.errors import UsageError
from irlbench.policies.mlp import CategoricalMLPPolicy
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.registry import registry, require_pair
from irlbench.reward import load_reward, save_reward
from irlbench.task import ProblemRequest, TaskOptions

CLIFF, LOCK = "gridworld/windy-cliff-v0", "gridworld/combination-lock-v0"
DYNAMICS, INTERACTION = "demonstrations+dynamics", "demonstrations+interaction"
both = pytest.mark.parametrize("algorithm", [GAIL, AIRL])
tracks = pytest.mark.parametrize("track", [DYNAMICS, INTERACTION])


@pytest.fixture(scope="module")
def fit_on(tmp_path_factory):
    """Fits an algorithm to what a track of a task gives: solution, run and problem."""
    home = tmp_path_factory.mktemp("tasks")

    def fit(algorithm, name, track, *, seed=0, given=5, budget=None, **changes):
        task, budget = registry().task(name), budget or Budget()
        needs = algorithm.needs_for("gridworld", track)
        needs |= algorithm.optional & task.info.supplies
        problem = task.problem(ProblemRequest(seed, needs, track, given, budget=budget), home)
        run = Run(seed, budget=budget, meter=problem.meter)
        made = algorithm.configure("gridworld", changes)
        return made.fit(problem, budget, run), run, problem

    return fit


@both
@tracks
@pytest.mark.parametrize("representation", ["table", "network"])
def test_a_seed_gives_the_same_bits_again_and_another_seed_others(
    fit_on, algorithm, track, representation
):
    settings = {"gradient_steps": 12, "num_envs": 20, "representation": representation, "saves": 3}
    first, run, problem = fit_on(algorithm, CLIFF, track, **settings)
    again, _, _ = fit_on(algorithm, CLIFF, track, **settings)
    other, _, _ = fit_on(algorithm, CLIFF, track, seed=1, **settings)
    assert isinstance(first.policy, TablePolicy)
    mine, same, another = (
        (s.policy.log_probabilities.tobytes(), *(a.tobytes() for a in s.reward.arrays().values()))
        for s in (first, again, other)
    )
    assert mine == same
    assert not set(mine) & set(another)
    steps = 12 * 20 if track == INTERACTION else 0
    assert problem.meter.used == steps
    assert run.gradient_steps == 12
    assert [step for step, _ in run.saved] == ([80, 160, 240] if steps else [4, 8, 12])


@both
def test_vectors_are_learnt_from(fit_on, tmp_path, algorithm):
    solution, _, _ = fit_on(algorithm, LOCK, INTERACTION, gradient_steps=5, batch_size=32)
    assert isinstance(solution.policy, CategoricalMLPPolicy)
    save_reward(solution.reward, tmp_path)
    again = load_reward(tmp_path)
    rows = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)
    asked = (rows, np.arange(6), rows[::-1].copy(), np.zeros(6, dtype=bool))
    assert again(*asked) == pytest.approx(solution.reward(*asked), abs=0)
    assert np.ptp(again(*asked)) > 0


@pytest.mark.parametrize(
    ("algorithm", "changes", "form", "kind"),
    [
        (GAIL, {}, "table", "state-action"),
        (GAIL, {"of_actions": False}, "table", "state"),
        (AIRL, {}, "shaped", "state"),
        (AIRL, {"state_only": False}, "shaped", "state-action"),
    ],
)
def test_its_reward_is_saved_and_loaded(fit_on, tmp_path, algorithm, changes, form, kind):
    solution, _, _ = fit_on(algorithm, CLIFF, DYNAMICS, gradient_steps=3, **changes)
    save_reward(solution.reward, tmp_path)
    again = load_reward(tmp_path)
    assert (again.form, again.unshaped().kind) == (form, kind)
    mine, loaded = solution.reward.arrays(), again.arrays()
    assert mine.keys() == loaded.keys()
    for name, values in mine.items():
        assert np.array_equal(loaded[name], values)
        assert values.any()
    if form == "shaped":
        assert np.array_equal(again.unshaped().arrays()["values"], mine["g.values"])


@both
@tracks
def test_the_budget_ends_it(fit_on, algorithm, track):
    _, run, _ = fit_on(algorithm, CLIFF, track, budget=Budget(gradient_steps=3))
    assert run.gradient_steps == 3
    solution, run, problem = fit_on(algorithm, CLIFF, track, budget=Budget(seconds=0.0))
    assert run.gradient_steps == problem.meter.used == 0
    assert np.ptp(solution.policy.probabilities) == 0


@both
def test_environment_steps_end_it_too(fit_on, algorithm):
    _, run, problem = fit_on(algorithm, CLIFF, INTERACTION, num_envs=20, budget=Budget(steps=70))
    assert problem.meter.used == 60  # there is no room for another step of all 20
    assert run.gradient_steps == 3


@both
@tracks
def test_a_short_fit_goes_most_of_the_way_to_the_expert(fit_on, tmp_path, algorithm, track):
    """Risky-path, 20 demonstrations, 300 rounds: what uniform moves lose, less a hundredth."""
    name = "gridworld/risky-path-v0"
    evaluator = registry().task(name).evaluator(TaskOptions(), tmp_path)
    solution, run, _ = fit_on(algorithm, name, track, given=20, gradient_steps=300)
    uniform = TablePolicy(np.zeros_like(solution.policy.log_probabilities))
    lost, found = (
        evaluator.evaluate(policy, "test").scores["regret"] for policy in (uniform, solution.policy)
    )
    assert found < 0.01 * lost
    assert "discriminator_loss" in run.logged[-1][1]


@both
def test_what_does_not_fit_is_refused(algorithm):
    for name, value in (
        ("gradient_steps", 0),
        ("newest", 0),
        ("saves", 0),
        ("batch_size", 0),
        ("num_envs", 0),
        ("buffer", 0),
        ("discriminator_learning_rate", 0.0),
        ("network_discriminator_learning_rate", 0.0),
        ("learning_rate", 0.0),
        ("network_learning_rate", -1.0),
        ("weight_decay", -0.1),
        ("target_rate", 1.5),
    ):
        with pytest.raises(UsageError, match=f"{name} must .*got {value}"):
            algorithm.configure("gridworld", {name: value})
    with pytest.raises(UsageError, match="representation is one of table, network"):
        algorithm.configure("gridworld", {"representation": "forest"})
    assert registry().algorithm(algorithm.id) is algorithm
    for task in ("gridworld/four-rooms-v0", "control/cartpole-v0", "control/pendulum-v0"):
        require_pair(algorithm, registry().task(task))


def test_names_that_are_checked_before_torch_is_loaded_are_the_objectives() -> None:
    from irlbench.baselines.algorithms import gail, iq_learn
    from irlbench.baselines.objectives import gail as gail_objective
    from irlbench.baselines.objectives import iq_learn as iq_objective

    assert gail.REWARD_FORMS == gail_objective.REWARD_FORMS
    assert iq_learn.VALUE_TERMS == iq_objective.VALUE_TERMS
