"""Expert models by name, in a world small enough to solve on paper."""

from __future__ import annotations

from math import exp, log

import gymnasium as gym
import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.envs.gridworld.experts import ExpertModel
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.errors import UsageError
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.registry import registry
from irlbench.running.experts import train_expert

TAU, GAMMA = 0.5, 0.5
UP, RIGHT, DOWN, LEFT = range(4)


@pytest.fixture(autouse=True, scope="module")
def _two_cells():
    """A start and a goal: right leads there and stays, left leads back and stays."""
    kwargs = {"layout": "SG", "slip": 0.0}
    for id, steps in (("test/TwoCells-v0", 7), ("test/NoLimit-v0", None)):
        gym.register(
            id,
            entry_point="irlbench.envs.gridworld.environment:GridworldEnv",
            max_episode_steps=steps,
            kwargs=kwargs,
        )
    gym.register(
        "test/RiskyPath-v0",
        entry_point="irlbench.envs.gridworld.environment:WorldEnv",
        max_episode_steps=5,
        kwargs={"world": "risky-path", "risk": 0.5, "lava": 0.0},
    )
    yield
    for id in ("test/TwoCells-v0", "test/NoLimit-v0", "test/RiskyPath-v0"):
        del gym.registry[id]


def task(expert, tmp_path, environment="test/TwoCells-v0", discount=GAMMA):
    return GridworldTask(
        name="two-cells",
        version=0,
        summary="a start and a goal",
        environment=environment,
        discount=discount,
        expert=expert,
        pool=2,
        demonstrations=1,
        budget=Budget(),
        assets=tmp_path,
    )


def made(expert, tmp_path, **more):
    policy = train_expert(task(expert, tmp_path, **more), tmp_path)
    assert isinstance(policy, TablePolicy)
    return policy.probabilities


def test_the_optimal_expert_goes_to_the_goal_and_stays(tmp_path):
    pi = made(ExpertModel("optimal"), tmp_path)
    assert pi[0].tolist() == pytest.approx([0, 1, 0, 0])
    assert pi[1].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_the_boltzmann_expert_weighs_optimal_values(tmp_path):
    """V*(goal) = 1 / (1 - gamma) = 2, V*(start) = gamma 2 = 1: Q* = gamma V* + r of the cell."""
    pi = made(ExpertModel("boltzmann", temperature=TAU), tmp_path)
    stay, go = exp(0.5 * 1 / TAU), exp(0.5 * 2 / TAU)
    assert pi[0].tolist() == pytest.approx(np.array([stay, go, stay, stay]) / (3 * stay + go))
    stay, back = exp((1 + 0.5 * 2) / TAU), exp((1 + 0.5 * 1) / TAU)
    assert pi[1].tolist() == pytest.approx(np.array([stay, stay, stay, back]) / (3 * stay + back))


def test_the_causal_entropy_expert_expects_its_own_noise(tmp_path):
    """V(s) = tau log sum exp(Q / tau), iterated by hand until it stands still."""
    start = goal = 0.0
    for _ in range(200):
        stay, go = exp(GAMMA * start / TAU), exp(GAMMA * goal / TAU)
        there, back = exp((1 + GAMMA * goal) / TAU), exp((1 + GAMMA * start) / TAU)
        start, goal = TAU * log(3 * stay + go), TAU * log(3 * there + back)
    pi = made(ExpertModel("maximum-causal-entropy", temperature=TAU), tmp_path)
    stay, go = exp(GAMMA * start / TAU), exp(GAMMA * goal / TAU)
    assert pi[0].tolist() == pytest.approx(np.array([stay, go, stay, stay]) / (3 * stay + go))
    boltzmann = made(ExpertModel("boltzmann", temperature=TAU), tmp_path)
    assert abs(pi[0, RIGHT] - boltzmann[0, RIGHT]) > 1e-3


@pytest.mark.parametrize(("discount", "risky"), [(None, 0.0), (0.3, 1.0)])
def test_an_expert_may_plan_by_another_discount(tmp_path, discount, risky):
    """With harmless lava the shortcut of the risky path is best below a discount of one half."""
    expert = ExpertModel("optimal", discount=discount)
    assert made(expert, tmp_path, environment="test/RiskyPath-v0", discount=0.9)[0, 1] == risky


def test_an_expert_may_be_mistaken_about_the_dynamics(tmp_path):
    mistaken = ExpertModel("optimal", believes={"risk": 0.0})
    given = task(mistaken, tmp_path, "test/RiskyPath-v0", 0.9)
    assert made(mistaken, tmp_path, environment="test/RiskyPath-v0", discount=0.9)[0, 1] == 1.0
    true, believed = (
        p.resource("dynamics").probabilities[0, 1].tolist()
        for p in (
            task(ExpertModel("optimal"), tmp_path, "test/RiskyPath-v0").expert_problem(0, tmp_path),
            given.expert_problem(0, tmp_path),
        )
    )
    assert (true, believed) == ([0.5, 0.5], [1.0, 0.0])
    assert given._dynamics().probabilities[0, 1].tolist() == [0.5, 0.5], "the world is as it is"
    assert made(ExpertModel("optimal"), tmp_path, environment="test/RiskyPath-v0", discount=0.9)[
        0, 1
    ] == pytest.approx(0.0)


def test_recipes_say_what_applies_and_no_more(tmp_path):
    assert ExpertModel("maximum-causal-entropy", temperature=0.3).recipe() == {
        "solver": "soft-value-iteration",
        "settings": {"temperature": 0.3},
    }
    mistaken = ExpertModel("boltzmann", 0.3, discount=0.5, believes={"risk": 0.1})
    assert mistaken.recipe() == {
        "solver": "boltzmann",
        "settings": {"temperature": 0.3},
        "discount": 0.5,
        "believes": {"risk": 0.1},
    }
    hashes = {
        task(expert, tmp_path, "test/RiskyPath-v0").hash
        for expert in (mistaken, ExpertModel("boltzmann", 0.3), ExpertModel("optimal"))
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("name", "temperature", "message"),
    [
        ("greedy", 0.0, "'greedy'"),
        ("optimal", 0.3, "got 0.3 for 'optimal'"),
        ("boltzmann", 0.0, "got 0.0 for 'boltzmann'"),
        ("maximum-causal-entropy", -1.0, "got -1.0"),
    ],
)
def test_experts_that_cannot_be_are_refused(name, temperature, message):
    with pytest.raises(ValueError, match=message):
        ExpertModel(name, temperature)


def test_an_environment_without_an_end_is_refused(tmp_path):
    with pytest.raises(UsageError, match="test/NoLimit-v0 has no max_episode_steps"):
        task(ExpertModel("optimal"), tmp_path, "test/NoLimit-v0")


def test_the_solver_of_boltzmann_experts_is_registered(tmp_path):
    solver = registry().solver("boltzmann")
    given = task(ExpertModel("boltzmann", 1.0), tmp_path)
    with pytest.raises(UsageError, match="needs a reward function"):
        solver.configure("gridworld").solve(
            given.expert_problem(0, tmp_path), None, Budget(), Run()
        )
    with pytest.raises(UsageError, match="discount below 1"):
        solver.configure("gridworld").solve(
            task(ExpertModel("boltzmann", 1.0), tmp_path, discount=1.0).expert_problem(0, tmp_path),
            given.true_reward(),
            Budget(),
            Run(),
        )
    for settings in ({"temperature": 0.0}, {"tolerance": 1.0}):
        with pytest.raises((ValueError, UsageError), match=next(iter(settings))):
            solver.configure("gridworld", settings)
