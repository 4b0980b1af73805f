"""Policies act by the distribution that they declare, and come back from disk unchanged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces
from safetensors.numpy import save_file

from irlbench.data.demonstrations import Episode
from irlbench.errors import DataError
from irlbench.policies.mlp import (
    CategoricalMLPPolicy,
    GaussianMLPPolicy,
    SquashedGaussianMLPPolicy,
)
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import KINDS, Policy, load_policy, save_policy
from irlbench.randomness import RowGenerator

ROWS = 20_000
LOW, HIGH = np.array([-1.0, 0.0]), np.array([3.0, 0.5])


def generator(rows=ROWS, first=0):
    return RowGenerator(first + np.arange(rows), stream=1)


def weights(head, outputs, *, inputs=3, width=4, seed=0, **more):
    rng = np.random.default_rng(seed)
    arrays = {
        "hidden.0.weight": rng.normal(size=(width, inputs)),
        "hidden.0.bias": rng.normal(size=width),
        f"{head}.weight": rng.normal(size=(outputs, width)),
        f"{head}.bias": rng.normal(size=outputs),
        **more,
    }
    return {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items()}


def categorical(**more):
    return CategoricalMLPPolicy(weights("logits", 3), **more)


def gaussian_weights(log_std=(-1.0, -2.0), **more):
    return weights("mean", 2, action_low=LOW, action_high=HIGH, log_std=log_std, **more)


def a_policy_of_each_kind():
    rng = np.random.default_rng(0)
    layered = gaussian_weights()
    del layered["log_std"]
    layered["log_std.weight"] = rng.normal(size=(2, 4)).astype(np.float32)
    layered["log_std.bias"] = np.full(2, -1, dtype=np.float32)
    normalised = gaussian_weights(observation_mean=[1.0, 2.0, 3.0], observation_std=[1.0, 0.5, 2.0])
    return {
        "uniform": UniformPolicy(5),
        "uniform box": UniformPolicy(low=LOW, high=HIGH),
        "table": TablePolicy(rng.normal(size=(6, 3))),
        "time-dependent table": TimeDependentTablePolicy(rng.normal(size=(4, 6, 3))),
        "categorical": categorical(),
        "categorical relu": categorical(activation="relu"),
        "gaussian": GaussianMLPPolicy(gaussian_weights()),
        "gaussian, normalised": GaussianMLPPolicy(normalised),
        "squashed": SquashedGaussianMLPPolicy(layered),
    }


def observations_for(name, rows=50):
    if "table" in name:
        return np.arange(rows) % 6
    return np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)


# --- every kind


@pytest.mark.parametrize("name", a_policy_of_each_kind())
def test_a_saved_policy_acts_the_same(name, tmp_path):
    policy, observed = a_policy_of_each_kind()[name], observations_for(name)
    save_policy(policy, tmp_path)
    loaded = load_policy(tmp_path)
    assert type(loaded) is type(policy) and loaded.kind in KINDS
    first = state = None
    for _ in range(3):
        wanted, first = policy.act(observed, first, generator=generator(50))
        found, state = loaded.act(observed, state, generator=generator(50))
        assert np.array_equal(found, wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]


@pytest.mark.parametrize("name", a_policy_of_each_kind())
def test_rows_act_the_same_in_any_batch(name):
    policy, observed = a_policy_of_each_kind()[name], observations_for(name, 6)
    whole, _ = policy.act(observed, generator=generator(6))
    parts = [policy.act(observed[i : i + 2], generator=generator(2, first=i))[0] for i in (0, 2, 4)]
    assert whole == pytest.approx(np.concatenate(parts), abs=1e-6)


@pytest.mark.parametrize("name", a_policy_of_each_kind())
def test_a_number_that_is_not_finite_is_noticed(name):
    policy = a_policy_of_each_kind()[name]
    assert policy.is_finite()
    arrays = {key: array.copy() for key, array in policy.arrays().items()}
    if arrays:
        first = sorted(arrays)[0]
        arrays[first].flat[0] = np.nan
        assert not type(policy).from_saved(arrays, policy.settings()).is_finite()


@pytest.mark.parametrize(
    "name", [n for n in a_policy_of_each_kind() if n != "time-dependent table"]
)
def test_scoring_episodes_is_the_log_probability_of_each_step(name):
    policy = a_policy_of_each_kind()[name]
    observed = observations_for(name, 7)
    actions, _ = policy.act(observed, generator=generator(7))
    ends = np.zeros(6, dtype=bool)
    whole = Episode(observed, actions[:6], ends, ends)
    short = Episode(observed[:3], actions[:2], ends[:2], ends[:2])
    expected = policy.log_prob(observed, actions)
    found = policy.score([whole, short])
    assert [len(f) for f in found] == [6, 2]
    assert found[0] == pytest.approx(expected[:6])
    assert found[1] == pytest.approx(expected[:2])
    assert policy.score([]) == []
    with pytest.raises(DataError, match="observations and actions"):
        policy.score([Episode(observed, None, ends, ends)])


# --- tables


def test_a_table_by_hand():
    policy = TablePolicy(np.log([[1.0, 3.0], [2.0, 2.0]]) + 7.0)
    assert policy.probabilities == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]))
    found = policy.log_prob(np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert found == pytest.approx(np.log([0.25, 0.75, 0.5]))


def test_a_table_samples_by_its_probabilities():
    policy = TablePolicy(np.log([[0.2, 0.5, 0.3]]))
    actions, state = policy.act(np.zeros(ROWS, dtype=int), generator=generator())
    share = np.bincount(actions, minlength=3) / ROWS
    assert np.abs(share - [0.2, 0.5, 0.3]).max() < 4 * np.sqrt(0.25 / ROWS)
    assert state is None
    actions, _ = policy.act(np.zeros(10, dtype=int), deterministic=True, generator=generator(10))
    assert actions.tolist() == [1] * 10


def test_large_logits_do_not_overflow():
    policy = TablePolicy(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]]))
    assert policy.is_finite()
    assert policy.probabilities == pytest.approx(np.array([[1.0, 0, 0], [1 / 3] * 3]))


def test_a_time_dependent_table_counts_steps_per_row():
    chosen = np.full((3, 1, 4), -1000.0)
    chosen[[0, 1, 2], 0, [0, 1, 2]] = 0.0
    policy = TimeDependentTablePolicy(chosen)
    observed, rng = np.zeros(2, dtype=int), generator(2)
    first, state = policy.act(observed, generator=rng)
    second, state = policy.act(observed, state, generator=rng)
    third, state = policy.act(observed, state, reset_mask=np.array([False, True]), generator=rng)
    fourth, state = policy.act(observed, state, generator=rng, deterministic=True)
    fifth, _ = policy.act(observed, state, generator=rng)
    assert [a.tolist() for a in (first, second, third)] == [[0, 0], [1, 1], [2, 0]]
    assert [a.tolist() for a in (fourth, fifth)] == [[2, 1], [2, 2]], "the last step repeats"
    with pytest.raises(NotImplementedError):
        policy.log_prob(observed, first)


# --- uniform


def test_uniform_over_actions():
    policy = UniformPolicy.over(spaces.Discrete(5))
    actions, _ = policy.act(np.zeros(ROWS), generator=generator())
    share = np.bincount(actions, minlength=5) / ROWS
    assert len(share) == 5 and np.abs(share - 0.2).max() < 4 * np.sqrt(0.16 / ROWS)
    assert policy.log_prob(np.zeros(3), np.zeros(3)) == pytest.approx([-np.log(5)] * 3)


def test_uniform_over_a_box():
    policy = UniformPolicy.over(spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32)))
    actions, _ = policy.act(np.zeros(ROWS), generator=generator())
    assert actions.dtype == np.float32
    assert (actions >= LOW).all() and (actions <= HIGH).all()
    for i in range(2):
        counts = np.histogram(actions[:, i], bins=20, range=(LOW[i], HIGH[i]))[0]
        assert np.abs(counts / ROWS - 0.05).max() < 4 * np.sqrt(0.05 / ROWS)
    inside = policy.log_prob(np.zeros(2), np.array([[0.0, 0.2], [4.0, 0.2]]))
    assert inside.tolist() == pytest.approx([-np.log(4 * 0.5), -np.inf])


@pytest.mark.parametrize("arguments", [{}, {"low": LOW}, {"actions": 2, "low": LOW, "high": HIGH}])
def test_uniform_is_over_actions_or_over_a_box(arguments):
    with pytest.raises(ValueError, match="actions, or both bounds"):
        UniformPolicy(**arguments)


# --- networks


def test_a_network_by_hand():
    policy = CategoricalMLPPolicy(
        {
            "hidden.0.weight": np.array([[1.0, -1.0], [0.5, 2.0]]),
            "hidden.0.bias": np.array([0.0, -1.0]),
            "logits.weight": np.array([[1.0, 0.0], [0.0, 1.0]]),
            "logits.bias": np.array([0.0, 0.5]),
        },
        activation="relu",
    )
    # hidden = relu([1 - 2, 0.5 + 4 - 1]) = [0, 3.5]; logits = [0, 4]
    expected = np.array([0.0, 4.0]) - np.log(1 + np.exp(4.0))
    assert policy.log_probabilities(np.array([[1.0, 2.0]]))[0] == pytest.approx(expected)


def test_networks_compute_what_torch_computes():
    import torch

    arrays = weights("logits", 3)
    x = torch.tensor(observations_for("mlp"))
    hidden = torch.tanh(
        x @ torch.tensor(arrays["hidden.0.weight"]).T + torch.tensor(arrays["hidden.0.bias"])
    )
    logits = hidden @ torch.tensor(arrays["logits.weight"]).T + torch.tensor(arrays["logits.bias"])
    expected = torch.log_softmax(logits, dim=-1).numpy()
    assert categorical().log_probabilities(x.numpy()) == pytest.approx(expected, abs=1e-5)


def test_observations_are_normalised_first():
    arrays = weights("logits", 3)
    mean, std = np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.5, 1.0])
    scaled = CategoricalMLPPolicy({**arrays, "observation_mean": mean, "observation_std": std})
    observed = observations_for("mlp")
    assert scaled.log_probabilities(observed * std + mean) == pytest.approx(
        CategoricalMLPPolicy(arrays).log_probabilities(observed), abs=1e-5
    )


def test_a_categorical_network_samples_by_its_probabilities():
    policy = categorical()
    observed = np.repeat(observations_for("mlp", 1), ROWS, axis=0)
    expected = np.exp(policy.log_probabilities(observed[:1])[0])
    actions, _ = policy.act(observed, generator=generator())
    share = np.bincount(actions, minlength=3) / ROWS
    assert np.abs(share - expected).max() < 4 * np.sqrt(0.25 / ROWS)
    assert policy.log_prob(observed[:3], np.arange(3)) == pytest.approx(np.log(expected))
    modes, _ = policy.act(observed[:4], deterministic=True, generator=generator(4))
    assert modes.tolist() == [expected.argmax()] * 4


def test_a_gaussian_samples_by_its_density_and_is_clipped():
    policy = GaussianMLPPolicy(gaussian_weights(log_std=(-1.0, -3.0)))
    wide = GaussianMLPPolicy(
        {**gaussian_weights(), "action_low": LOW - 99, "action_high": HIGH + 99}
    )
    observed = np.repeat(observations_for("mlp", 1), ROWS, axis=0)
    modes, _ = wide.act(observed[:1], deterministic=True, generator=generator(1))
    actions, _ = wide.act(observed, generator=generator())
    std = np.exp([-1.0, -2.0])
    assert np.abs(actions.mean(axis=0) - modes[0]).max() < 4 * std.max() / np.sqrt(ROWS)
    assert actions.std(axis=0) == pytest.approx(std, rel=0.03)
    z = (actions[:5] - modes) / std
    expected = (-0.5 * z**2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    assert wide.log_prob(observed[:5], actions[:5]) == pytest.approx(expected, abs=1e-4)
    clipped, _ = policy.act(observed, generator=generator())
    assert (clipped >= LOW).all() and (clipped <= HIGH).all()


def test_a_squashed_gaussian_has_the_density_of_what_it_samples():
    """The density integrates to one, and its mean is that of samples."""
    arrays = weights(
        "mean", 1, action_low=np.array([-2.0]), action_high=np.array([1.0]), log_std=(-0.5,)
    )
    policy = SquashedGaussianMLPPolicy(arrays)
    observed = observations_for("mlp", 1)
    grid = np.linspace(-2.0, 1.0, 20_001)[1:-1, None]
    density = np.exp(policy.log_prob(np.repeat(observed, len(grid), axis=0), grid))
    assert density.sum() * 3.0 / 20_000 == pytest.approx(1.0, abs=1e-3)
    mean = (density * grid[:, 0]).sum() * 3.0 / 20_000
    actions, _ = policy.act(np.repeat(observed, ROWS, axis=0), generator=generator())
    assert (actions > -2.0).all() and (actions < 1.0).all()
    assert abs(actions.mean() - mean) < 4 * actions.std() / np.sqrt(ROWS)
    assert np.isfinite(policy.log_prob(observed, np.array([[1.0]]))).all(), "at the bound too"


@pytest.mark.parametrize(
    ("changes", "activation", "message"),
    [
        ({}, "sigmoid", "sigmoid"),
        ({"logits.bias": np.zeros(7)}, "tanh", r"logits: weight \(3, 4\) does not fit bias \(7,\)"),
        ({"hidden.0.weight": np.zeros(4)}, "tanh", "hidden.0"),
    ],
)
def test_networks_that_do_not_fit_are_refused(changes, activation, message):
    with pytest.raises(ValueError, match=message):
        CategoricalMLPPolicy({**weights("logits", 3), **changes}, activation)


# --- files


def saved(folder):
    save_policy(TablePolicy(np.zeros((2, 2))), folder)
    return folder / "policy.json", folder / "policy.safetensors"


def test_an_unknown_kind_is_neither_saved_nor_loaded(tmp_path):
    class Own(Policy):
        def act(self, observations, state=None, **kwargs):
            return observations, None

    with pytest.raises(DataError, match="'custom' cannot be saved"):
        save_policy(Own(), tmp_path)
    described, _ = saved(tmp_path)
    content = json.loads(described.read_text())
    described.write_text(json.dumps({**content, "kind": "os.system"}))
    with pytest.raises(DataError, match=r"policy\.json: unknown kind 'os.system'"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no settings"),
        ('{"kind": "table", "settings": {}}', "format None; this version reads format 1"),
        ('{"format": 2, "kind": "table", "settings": {}}', "format 2"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, content, message):
    described, _ = saved(tmp_path)
    described.write_text(content)
    with pytest.raises(DataError, match=message):
        load_policy(tmp_path)


def test_a_pickle_in_the_place_of_weights_is_refused_unread(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    _, arrays = saved(tmp_path)
    arrays.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="no safetensors file"):
        load_policy(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing", "without the table", "flat table"])
def test_damaged_weights_are_refused(tmp_path, damage):
    _, arrays = saved(tmp_path)
    if damage == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:-3])
    elif damage == "missing":
        arrays.unlink()
    elif damage == "without the table":
        save_file({"other": np.zeros(2)}, arrays)
    else:
        save_file({"log_probabilities": np.zeros(0)}, arrays)
    with pytest.raises(DataError, match=r"policy\.(json|safetensors)"):
        load_policy(tmp_path)
