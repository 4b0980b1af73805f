"""Rewards of networks, and rewards made of others: what they compute, saved and loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from irlbench.errors import DataError
from irlbench.reward import RewardFunction, load_reward, save_reward
from irlbench.rewards.composed import InverseBellmanReward, LogRatioReward, ShapedReward
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward

RNG = np.random.default_rng(0)
Q = RNG.normal(size=(4, 3))
STATES = np.array([0, 1, 2, 3, 0])
ACTIONS = np.array([2, 0, 1, 2, 0])
NEXT = np.array([1, 2, 3, 0, 3])
ENDED = np.array([False, False, True, False, True])


def network(outputs: int, dimensions: int = 2) -> dict[str, np.ndarray]:
    shapes = {
        "hidden.0.weight": (5, dimensions),
        "hidden.0.bias": (5,),
        "reward.weight": (outputs, 5),
        "reward.bias": (outputs,),
        "observation_mean": (dimensions,),
    }
    arrays = {k: RNG.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}
    return {**arrays, "observation_std": np.full(dimensions, 2.0, np.float32)}


def test_a_shaped_reward_telescopes_and_ends_with_a_potential_of_zero() -> None:
    g, h = TableReward(Q), TableReward(RNG.normal(size=4))
    f = ShapedReward(g, h, discount=0.9)
    found = f(STATES, ACTIONS, NEXT, ENDED)
    for i, (s, a, t, over) in enumerate(zip(STATES, ACTIONS, NEXT, ENDED, strict=True)):
        wanted = Q[s, a] + (0.0 if over else 0.9 * h.values[t]) - h.values[s]
        assert found[i] == pytest.approx(wanted)
    assert f.unshaped() is g
    assert f.kind == "transition"


def test_an_inverse_bellman_reward_is_q_less_the_discounted_soft_value() -> None:
    reward = InverseBellmanReward(TableReward(Q), discount=0.8, temperature=0.5)
    found = reward(STATES, ACTIONS, NEXT, ENDED)
    V = 0.5 * logsumexp(Q / 0.5, axis=1)
    wanted = Q[STATES, ACTIONS] - 0.8 * np.where(ENDED, 0.0, V[NEXT])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("reference", [None, RNG.normal(size=(4, 3))])
def test_a_log_ratio_is_of_probabilities(reference: np.ndarray | None) -> None:
    other = None if reference is None else TableReward(reference)
    reward = LogRatioReward(TableReward(Q), other, temperature=0.3)
    ratio = log_softmax(Q, axis=1) - (
        -np.log(3) if reference is None else log_softmax(reference, axis=1)
    )
    found = reward(STATES, ACTIONS, NEXT, ENDED)
    np.testing.assert_allclose(found, 0.3 * ratio[STATES, ACTIONS], rtol=1e-12)


def test_a_network_of_states_and_one_of_actions() -> None:
    seen = RNG.normal(size=(5, 2)).astype(np.float32)
    for outputs, kind in ((1, "state"), (3, "state-action")):
        arrays = network(outputs)
        reward = MLPReward(arrays, kind, "tanh", 0.9)
        x = (seen - arrays["observation_mean"]) / 2
        x = np.tanh(x @ arrays["hidden.0.weight"].T + arrays["hidden.0.bias"])
        rows = x @ arrays["reward.weight"].T + arrays["reward.bias"]
        column = ACTIONS if outputs > 1 else np.zeros(5, dtype=int)
        found = reward(seen, ACTIONS, seen, ENDED)
        np.testing.assert_allclose(found, rows[np.arange(5), column], rtol=1e-5)


def test_a_network_is_refused_as_what_it_is_not() -> None:
    with pytest.raises(ValueError, match="3 outputs is no state reward"):
        MLPReward(network(3), "state")
    with pytest.raises(ValueError, match="is no transition reward"):
        MLPReward(network(3), "transition")
    with pytest.raises(ValueError, match="per action"):
        LogRatioReward(TableReward(Q[:, 0]), None)
    with pytest.raises(ValueError, match="of states"):
        ShapedReward(TableReward(Q), TableReward(Q), 0.9)
    with pytest.raises(ValueError, match="4 states and vectors of 2"):
        ShapedReward(TableReward(Q), LinearReward(np.ones(2), 1.0), 0.9)
    with pytest.raises(ValueError, match="3 actions beside 2"):
        LogRatioReward(TableReward(Q), TableReward(Q[:, :2]))
    with pytest.raises(ValueError, match="temperature"):
        InverseBellmanReward(TableReward(Q), 0.9, 0.0)


EVERY: list[RewardFunction] = [
    MLPReward(network(1), "state", "relu", 0.9, 0.1),
    MLPReward(network(3), "state-action"),
    ShapedReward(TableReward(Q), TableReward(Q[:, 0]), 0.9, 1.0),
    ShapedReward(MLPReward(network(3), "state-action"), LinearReward(np.ones(2), 1.0), 0.7),
    InverseBellmanReward(TableReward(Q), 0.99, 0.3),
    InverseBellmanReward(MLPReward(network(3), "state-action"), 0.99, 0.3),
    LogRatioReward(TableReward(Q), None, 0.9, 0.2),
    LogRatioReward(TableReward(Q), TableReward(Q * 2), 0.9),
]


@pytest.mark.parametrize("reward", EVERY)
def test_saved_and_loaded_they_pay_the_same(tmp_path, reward) -> None:
    save_reward(reward, tmp_path)
    loaded = load_reward(tmp_path)
    assert type(loaded) is type(reward)
    for name in ("kind", "discount", "temperature"):
        assert getattr(loaded, name) == getattr(reward, name)
    tabular = all(p.form == "table" for p in getattr(reward, "parts", dict)().values())
    vectors = not tabular or reward.form == "mlp"
    seen = RNG.normal(size=(5, 2)).astype(np.float32) if vectors else STATES
    following = seen[::-1] if vectors else NEXT
    np.testing.assert_array_equal(
        loaded(seen, ACTIONS, following, ENDED), reward(seen, ACTIONS, following, ENDED)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"parts": []},
        {"parts": {}},
        {"parts": {"g": 1, "h": 2}},
        {"parts": {"g": {"form": "shaped"}, "h": {"form": "shaped"}}},
        {"kind": "state"},
        {"discount": 2},
    ],
)
def test_settings_of_other_parts_are_refused(tmp_path, change) -> None:
    save_reward(ShapedReward(TableReward(Q), TableReward(Q[:, 0]), 0.9), tmp_path)
    file = tmp_path / "reward.json"
    content = json.loads(file.read_text())
    content["settings"] = {**content["settings"], **change}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not a whole shaped reward"):
        load_reward(tmp_path)
