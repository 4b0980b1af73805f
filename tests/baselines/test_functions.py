"""Functions of what is observed: tables, networks over features, networks over vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import (
    Functions,
    IndexedFunction,
    ObservationFunction,
    TableFunction,
    indexed,
    of_chosen,
)
from irlbench.baselines.settings import FunctionConfig, SamplingConfig
from irlbench.errors import ResourceError
from irlbench.problem import Problem

FEATURES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
STATES = np.arange(6)


def problem(*, vectors=False, features=True):
    seen = spaces.Box(-9, 9, (2, 2), np.float32) if vectors else spaces.Discrete(6)
    return Problem(
        task_id="gridworld/small-v0",
        world="gridworld",
        observation_space=seen,
        action_space=spaces.Discrete(4),
        horizon=5,
        discount=0.9,
        track="demonstrations",
        seed=0,
        needs=frozenset({"features"} if features else ()),
        suppliers={"features": lambda: FEATURES},
    )


def functions(kind="table", seed=0, **changes):
    representation = "network" if kind == "features" else "table"
    config = FunctionConfig(representation=representation, hidden=(8,), **changes)
    return Functions(problem(vectors=kind == "vectors"), config, Run(seed))


def observations(kind):
    if kind != "vectors":
        return torch.arange(6)
    return torch.from_numpy(np.random.default_rng(1).normal(size=(6, 2, 2)).astype(np.float32))


def trained(kind, outputs=4):
    """One whose values are of different sizes everywhere."""
    made = functions(kind, network_learning_rate=0.05, learning_rate=0.5)
    function = made.make("Q", outputs)
    optimiser = made.optimiser(function)
    wanted = torch.from_numpy(np.random.default_rng(2).normal(size=(6, outputs)))
    for _ in range(10):
        optimiser.zero_grad()
        ((function(observations(kind)) - wanted) ** 2).sum().backward()
        optimiser.step()
    return function


KINDS = ["table", "features", "vectors"]


@pytest.mark.parametrize("kind", KINDS)
def test_new_ones_are_near_zero_of_float64_and_learn(kind):
    new = functions(kind).make("Q", 4)(observations(kind))
    assert new.shape == (6, 4)
    assert new.dtype == torch.float64
    assert new.abs().max() < 0.1
    assert trained(kind)(observations(kind)).abs().max() > 0.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_policy_is_the_softmax_of_the_values(kind, temperature):
    function = trained(kind)
    values = function(observations(kind)).detach()
    wanted = torch.log_softmax(values / temperature, dim=1).numpy()
    policy, seen = function.policy(temperature), observations(kind).numpy()
    for action in range(4):
        found = policy.log_prob(seen, np.full(6, action))
        assert found == pytest.approx(wanted[:, action], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outputs", [1, 4])
def test_the_reward_pays_the_values(kind, outputs):
    function, seen = trained(kind, outputs), observations(kind)
    reward = function.reward(0.9, 0.5)
    assert reward.kind == ("state" if outputs == 1 else "state-action")
    assert (reward.discount, reward.temperature) == (0.9, 0.5)
    actions = np.array([0, 1, 2, 3, 0, 1])
    paid = reward(seen.numpy(), actions, seen.numpy(), np.zeros(6, dtype=bool))
    wanted = of_chosen(function(seen), torch.from_numpy(actions)).detach().numpy()
    assert paid == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_policy_and_reward_are_apart_from_further_updates(kind):
    function, seen = trained(kind), observations(kind).numpy()
    policy, reward = function.policy(1.0), function.reward(0.9)
    before = policy.log_prob(seen, np.zeros(6, int)), reward.of_actions(seen).copy()
    with torch.no_grad():
        for parameter in function.parameters():
            parameter.mul_(-2.0)
    after = policy.log_prob(seen, np.zeros(6, int)), reward.of_actions(seen)
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))
    assert not np.allclose(function.reward(0.9).of_actions(seen), before[1])


@pytest.mark.parametrize("kind", ["features", "vectors"])
def test_equal_names_and_seeds_draw_equal_weights(kind):
    def weights(name, seed=0):
        return functions(kind, seed).make(name, 4)(observations(kind)).detach().numpy()

    assert np.array_equal(weights("Q"), weights("Q"))
    assert not np.allclose(weights("Q"), weights("g"))
    assert not np.allclose(weights("Q"), weights("Q", seed=1))


def test_a_network_over_features_is_a_function_of_them_alone():
    alike = np.array(FEATURES)
    alike[3] = alike[1]
    given = problem()
    given._made["features"] = alike
    config = FunctionConfig(representation="network", hidden=(8,))
    function = Functions(given, config, Run()).make("Q", 4)
    values = indexed(function).table().detach()
    assert torch.equal(values[3], values[1])
    assert not torch.allclose(values[3], values[2])
    assert torch.equal(function(torch.tensor([3, 5])), values[[3, 5]])


def test_vectors_are_scaled_by_what_is_demonstrated():
    seen = observations("vectors")
    far = seen * 3 + 7
    plain, scaled = functions("vectors").make("Q", 4, seen), functions("vectors").make("Q", 4, far)
    assert torch.allclose(plain(seen), scaled(far), atol=1e-6)
    assert not torch.allclose(plain(seen), functions("vectors").make("Q", 4)(seen), atol=1e-6)


def test_a_network_over_indices_needs_features():
    config = FunctionConfig(representation="network")
    with pytest.raises(ResourceError) as refused:
        Functions(problem(features=False), config, Run())
    assert "gridworld/small-v0 has no features" in str(refused.value)
    assert "set representation=table" in str(refused.value)


def test_what_is_a_table_is_told_apart():
    rates = {"learning_rate": 0.05, "network_learning_rate": 3e-3}
    table, features, vectors = (functions(kind, **rates) for kind in KINDS)
    assert [f.tabular for f in (table, features, vectors)] == [True, False, False]
    assert [f.indexed for f in (table, features, vectors)] == [True, True, False]
    assert table.learning_rate == 0.05
    assert features.learning_rate == vectors.learning_rate == 3e-3
    assert isinstance(table.make("Q", 4), TableFunction)
    assert isinstance(features.make("Q", 4), IndexedFunction)
    assert isinstance(vectors.make("Q", 4), ObservationFunction)
    with pytest.raises(TypeError, match="observed as indices"):
        indexed(vectors.make("Q", 4))


def test_the_optimiser_is_of_all_functions_given():
    made = functions("table", learning_rate=0.25)
    one, other = made.make("g", 1), made.make("h", 1)
    optimiser = made.optimiser(one, other, weight_decay=0.5)
    (group,) = optimiser.param_groups
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.25, 0.5, 2)
    (one(torch.arange(6)).sum() - other(torch.arange(6)).sum()).backward()
    optimiser.step()
    assert one(STATES).detach().numpy() == pytest.approx(-0.25)
    assert other(STATES).detach().numpy() == pytest.approx(0.25)


def test_the_values_of_the_actions_taken():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert of_chosen(values, torch.tensor([1, 0, 1])).tolist() == [2.0, 3.0, 6.0]
    assert of_chosen(values[:, :1], torch.tensor([1, 0, 1])).tolist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (FunctionConfig, {"representation": "tree"}, "representation is one of table, network"),
        (FunctionConfig, {"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        (FunctionConfig, {"learning_rate": float("nan")}, "learning_rate must be positive"),
        (FunctionConfig, {"network_learning_rate": -1.0}, "network_learning_rate must be positive"),
        (FunctionConfig, {"hidden": (8, 0)}, r"hidden layers have widths from 1 on, got \(8, 0\)"),
        (SamplingConfig, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (SamplingConfig, {"num_envs": 0}, "num_envs must be at least 1, got 0"),
        (SamplingConfig, {"buffer": -5}, "buffer must be at least 1, got -5"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(config, changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)
