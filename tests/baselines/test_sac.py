"""SAC as a solver: exact budgets, what is random, what is handed in, and that it maximises."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from irlbench.algorithm import Run
from irlbench.baselines.learners.soft_actor_critic import SoftActorCritic
from irlbench.baselines.solvers import sac as module
from irlbench.baselines.solvers.sac import SAC
from irlbench.errors import DivergenceError, UsageError
from irlbench.policies.mlp import SquashedGaussianMLPPolicy
from irlbench.problem import Budget, OpenProblem, Problem, StepMeter
from irlbench.randomness import RowGenerator
from irlbench.registry import registry
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.task import TaskOptions

SMALL = {"actor_critic_hidden": (8,), "batch_size": 16, "random_steps": 20, "saves": 2}


def _batch(rows):
    make = partial(gymnasium.make, "Pendulum-v1", disable_env_checker=True)
    return SyncVectorEnv([make for _ in range(rows)])


def problem_of(limit=None, cls=Problem, seed=0, batch=_batch, horizon=200):
    env = gymnasium.make("Pendulum-v1")
    return cls(
        task_id="control/toy-v0",
        world="control",
        observation_space=env.observation_space,
        action_space=env.action_space,
        horizon=horizon,
        discount=0.99,
        track="reference",
        seed=seed,
        needs=frozenset({"interaction"}),
        suppliers={"interaction": batch},
        meter=StepMeter(limit),
    )


def solve(problem, reward=None, budget=None, run=None, **changes):
    solver = SAC.configure("control", {**SMALL, **changes})
    if reward is None and not isinstance(problem, OpenProblem):
        reward = LinearReward.constant(1.0)
    return solver.solve(problem, reward, budget or Budget(), run or Run(problem.seed))


@pytest.mark.parametrize(
    ("limit", "rows", "used"), [(60, 1, 60), (60, 4, 60), (63, 4, 60), (4, 4, 4)]
)
def test_it_ends_at_the_budget(limit, rows, used):
    problem = problem_of(limit)
    solve(problem, num_envs=rows, steps=1000)
    assert problem.meter.used == used
    problem = problem_of()
    solve(problem, budget=Budget(steps=limit), num_envs=rows, steps=1000)
    assert problem.meter.used == used
    problem = problem_of()
    solve(problem, num_envs=rows, steps=limit)
    assert problem.meter.used == used


def test_a_budget_below_one_step_of_the_batch_is_refused():
    with pytest.raises(UsageError, match="4 environments are stepped at once, and 3 steps are"):
        solve(problem_of(3), num_envs=4)


def test_every_step_after_the_random_ones_is_an_update():
    run = Run()
    solve(problem_of(60), run=run)
    assert run.gradient_steps == 40
    budget = Budget(gradient_steps=7)
    run, problem = Run(budget=budget), problem_of()
    solve(problem, run=run, budget=budget, steps=1000)
    assert (run.gradient_steps, problem.meter.used) == (7, 27)


def test_the_first_steps_are_random_and_nobody_is_asked(monkeypatch):
    asked, original = [], SoftActorCritic.act
    problem = problem_of(60)

    def act(self, observations, generator):
        asked.append(problem.meter.used)
        return original(self, observations, generator)

    monkeypatch.setattr(SoftActorCritic, "act", act)
    solve(problem, random_steps=35)
    assert asked == list(range(35, 60))


def test_it_logs_and_saves_along_the_way(monkeypatch):
    monkeypatch.setattr(module, "_LOG_EVERY", 25)
    run = Run()
    policy = solve(problem_of(100), run=run, saves=3)
    assert [step for step, _ in run.saved] == [33, 67, 100]
    assert [step for step, _ in run.logged] == [25, 50, 75, 100]
    assert set(run.logged[0][1]) == {"critic_loss", "entropy", "temperature"}
    last = run.saved[-1][1].arrays()  # type: ignore[attr-defined]
    assert all(np.array_equal(last[name], array) for name, array in policy.arrays().items())
    assert isinstance(policy, SquashedGaussianMLPPolicy)


def test_rows_begin_anew_at_every_so_many_steps_or_horizons(monkeypatch):
    monkeypatch.setattr(module, "STEPS_BETWEEN_RESTARTS", 30)
    resets, original = [], SyncVectorEnv.reset

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            resets.append((problem.meter.used, seed))
        return original(self, seed=seed, options=options)

    monkeypatch.setattr(SyncVectorEnv, "reset", reset)
    problem = problem_of(100, horizon=5)
    solve(problem)
    assert [used for used, _ in resets] == [0, 30, 60, 90]
    assert len({seed for _, seed in resets}) == 4
    resets.clear()
    problem = problem_of(100, horizon=40)
    solve(problem)
    assert [used for used, _ in resets] == [0, 40, 80]


def test_equal_seeds_give_equal_policies():
    def arrays(seed):
        return solve(problem_of(60, seed=seed)).arrays()

    first, again, other = arrays(1), arrays(1), arrays(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["hidden.0.weight"], other["hidden.0.weight"])


class Near(RewardFunction):
    """Pays for actions near a target: Pendulum ends by time alone, so nothing else matters."""

    def __init__(self, target):
        self.target = target

    def __call__(self, observation, action, next_observation, terminated):
        return -((np.asarray(action)[:, 0] - self.target) ** 2).astype(np.float64)


QUICK = {
    "actor_critic_hidden": (32,),
    "batch_size": 32,
    "random_steps": 200,
    "actor_learning_rate": 3e-3,
    "critic_learning_rate": 3e-3,
    "temperature": 0.05,
    "learn_temperature": False,
}


def usual_action(policy):
    angles = np.linspace(-3, 3, 200)
    observations = np.stack([np.cos(angles), np.sin(angles), angles], axis=1)
    actions, _ = policy.act(
        observations, deterministic=True, generator=RowGenerator(np.arange(200))
    )
    return actions.mean()


def test_it_maximises_the_reward_that_is_given():
    policy = solve(problem_of(1600), Near(-1.0), **QUICK)
    assert usual_action(policy) == pytest.approx(-1, abs=0.5)


def test_an_open_problem_pays_its_own_reward():
    class Paying(SyncVectorEnv):
        def step(self, actions):
            observations, _, *rest = super().step(actions)
            return observations, Near(1.0)(None, actions, None, None), *rest

    def paying(rows):
        return Paying([partial(gymnasium.make, "Pendulum-v1")] * rows)

    policy = solve(problem_of(1600, OpenProblem, batch=paying), **QUICK)
    assert usual_action(policy) == pytest.approx(1, abs=0.5)


def test_what_diverges_says_where():
    with pytest.raises(DivergenceError, match=r"learning diverged: .* at step \d+; smaller step"):
        solve(problem_of(3000), actor_learning_rate=1e18, critic_learning_rate=1e18)
    with pytest.raises(DivergenceError, match=r"an action is nan at step 2\d;"):
        solve(problem_of(3000, OpenProblem), actor_learning_rate=1e38)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("saves", 0),
        ("num_envs", 0),
        ("random_steps", -1),
        ("temperature", 0.0),
        ("critics", 0),
        ("critic_learning_rate", 0.0),
        ("actor_learning_rate", -1.0),
        ("temperature_learning_rate", 0.0),
        ("critic_target_rate", 0.0),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=f"sac: {name} must .*{value}"):
        SAC.configure("control", {name: value})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pendulum_is_swung_up_in_five_thousand_steps(tmp_path):
    """A mean of -250 an episode, where the uniform policy gets about -1,200."""
    task = registry().task("control/pendulum-v0")
    changes = {
        "steps": 5000,
        "random_steps": 500,
        "actor_critic_hidden": (64, 64),
        "batch_size": 128,
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
    }
    policy = solve(task.expert_problem(0, tmp_path), **changes)
    scores = task.evaluator(TaskOptions(), tmp_path).evaluate(policy, "test").scores
    assert scores["return"] > -250
