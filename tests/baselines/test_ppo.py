"""PPO: exact budgets, policies that act as Stable-Baselines3's do, the same from the same seed."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from irlbench.algorithm import Run
from irlbench.baselines.solvers import ppo as module
from irlbench.baselines.solvers.ppo import PPO, policy_from_sb3
from irlbench.errors import UsageError
from irlbench.policies.mlp import CategoricalMLPPolicy, GaussianMLPPolicy
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget, OpenProblem, Problem, StepMeter
from irlbench.randomness import RowGenerator
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward

SMALL = {"num_envs": 4, "rollout": 16, "batch_size": 32, "epochs": 2, "hidden": (8,), "saves": 2}
CARTPOLE, PENDULUM = "CartPole-v1", "Pendulum-v1"


def _batch(environment, rows):
    make = partial(gymnasium.make, environment, disable_env_checker=True)
    return SyncVectorEnv([make for _ in range(rows)])


def problem_of(environment=CARTPOLE, limit=None, cls=Problem, seed=0, batch=_batch):
    env = gymnasium.make(environment)
    return cls(
        task_id="control/toy-v0",
        world="control",
        observation_space=env.observation_space,
        action_space=env.action_space,
        horizon=500,
        discount=0.99,
        track="reference",
        seed=seed,
        needs=frozenset({"interaction"}),
        suppliers={"interaction": partial(batch, environment)},
        meter=StepMeter(limit),
    )


def solve(problem, reward=None, budget=None, run=None, **changes):
    solver = PPO.configure("control", {**SMALL, **changes})
    constant = LinearReward.constant(1.0)
    if reward is None and not isinstance(problem, OpenProblem):
        reward = constant
    return solver.solve(problem, reward, budget or Budget(), run or Run(problem.seed))


@pytest.mark.parametrize(
    ("limit", "used"),
    [(256, 256), (200, 200), (203, 200), (4, 4), (7, 4), (64, 64), (68, 68)],
)
def test_it_ends_at_the_budget(limit, used):
    problem = problem_of(limit=limit)
    solve(problem, steps=10_000)
    assert problem.meter.used == used
    problem = problem_of(limit=None)
    solve(problem, budget=Budget(steps=limit), steps=10_000)
    assert problem.meter.used == used


def test_it_takes_no_more_than_its_own_setting_and_what_others_left():
    problem = problem_of(limit=1000)
    solve(problem, steps=128)
    assert problem.meter.used == 128
    solve(problem, steps=100_000)
    assert problem.meter.used == 1000


def test_a_budget_below_one_step_of_the_batch_is_refused():
    with pytest.raises(UsageError, match="steps 4 environments at once, and 3 steps are granted"):
        solve(problem_of(limit=3))


def test_gradient_steps_are_billed_and_limited():
    run = Run(0)
    solve(problem_of(limit=128), run=run)
    # Two rollouts of 4 x 16 transitions: 2 epochs of 2 batches of 32 each.
    assert run.gradient_steps == 8
    budget = Budget(gradient_steps=7)
    limited = Run(0, budget=budget)
    problem = problem_of(limit=128)
    solve(problem, run=limited, budget=budget)
    assert limited.gradient_steps == 4
    assert problem.meter.used == 64


def test_it_logs_and_saves_along_the_way():
    run = Run(0)
    solve(problem_of(limit=256), run=run)
    assert [step for step, _ in run.saved] == [128, 256]
    assert [step for step, _ in run.logged] == [64, 128, 192, 256]
    assert all(np.isfinite(list(scalars.values())).all() for _, scalars in run.logged)
    assert set(run.logged[0][1]) == {"value_loss", "entropy_loss"}


def test_the_learning_rate_decays_to_zero_over_all_steps(monkeypatch):
    rates = []
    original = module._update

    def update(model, *rest):
        done = original(model, *rest)
        rates.append(model.policy.optimizer.param_groups[0]["lr"])
        return done

    monkeypatch.setattr(module, "_update", update)
    solve(problem_of(limit=256), learning_rate=0.1)
    np.testing.assert_allclose(rates, [0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM])
def test_the_policy_acts_as_stable_baselines_does(environment, normalise, monkeypatch, tmp_path):
    models: list = []

    def keep(model):
        models[:] = [model]
        return policy_from_sb3(model)

    monkeypatch.setattr(module, "policy_from_sb3", keep)
    policy = solve(problem_of(environment, limit=512), normalise=normalise, learning_rate=0.01)
    model = models[0]
    discrete = environment == CARTPOLE
    assert isinstance(policy, CategoricalMLPPolicy if discrete else GaussianMLPPolicy)
    rng = np.random.default_rng(0)
    low = np.maximum(model.observation_space.low, -3)
    high = np.minimum(model.observation_space.high, 3)
    observations = rng.uniform(low, high, size=(2000, len(low))).astype(np.float32)
    scaling = model.get_vec_normalize_env()
    assert (scaling is not None) == normalise
    seen = observations if scaling is None else scaling.normalize_obs(observations)
    wanted, _ = model.predict(seen, deterministic=True)
    save_policy(policy, tmp_path)
    generator = RowGenerator(np.arange(2000))
    for ours in (policy, load_policy(tmp_path)):
        actions, _ = ours.act(observations, deterministic=True, generator=generator)
        if discrete:
            np.testing.assert_array_equal(actions, wanted)
            assert set(actions) == {0, 1}, "both actions occur"
        else:
            np.testing.assert_allclose(actions, wanted, atol=2e-6)
    sampled = policy.act(observations, generator=generator)[0]
    with torch.no_grad():
        log_pi = model.policy.get_distribution(torch.as_tensor(seen)).log_prob(
            torch.as_tensor(sampled)
        )
    np.testing.assert_allclose(policy.log_prob(observations, sampled), log_pi, atol=1e-4)


@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM])
def test_equal_seeds_give_equal_policies(environment):
    def arrays(seed):
        return solve(problem_of(environment, limit=192, seed=seed)).arrays()

    first, again, other = arrays(1), arrays(1), arrays(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["hidden.0.weight"], other["hidden.0.weight"])


class Near(RewardFunction):
    """Pays for actions near a target: Pendulum ends by time alone, so nothing else matters."""

    def __init__(self, target):
        self.target = target

    def __call__(self, observation, action, next_observation, terminated):
        return -((np.asarray(action)[:, 0] - self.target) ** 2).astype(np.float64)


QUICK = {"learning_rate": 0.01, "steps": 4096, "rollout": 64, "batch_size": 64, "epochs": 4}


def _usual_action(policy):
    angles = np.linspace(-3, 3, 200)
    observations = np.stack([np.cos(angles), np.sin(angles), angles], axis=1)
    actions, _ = policy.act(
        observations, deterministic=True, generator=RowGenerator(np.arange(200))
    )
    return actions.mean()


@pytest.mark.parametrize("target", [-1.0, 1.0])
def test_it_maximises_the_reward_that_is_given(target):
    policy = solve(problem_of(PENDULUM), Near(target), **QUICK)
    assert _usual_action(policy) == pytest.approx(target, abs=0.4)


def test_an_open_problem_pays_its_own_reward():
    class Paying(SyncVectorEnv):
        def step(self, actions):
            observations, _, *rest = super().step(actions)
            return observations, Near(1.0)(None, actions, None, None), *rest

    def paying(environment, rows):
        return Paying([partial(gymnasium.make, environment)] * rows)

    problem = problem_of(PENDULUM, cls=OpenProblem, batch=paying)
    policy = solve(problem, **QUICK)
    assert _usual_action(policy) == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"num_envs": 0}, {"learning_rate": 0.0}])
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        PPO.configure("control", changes)
