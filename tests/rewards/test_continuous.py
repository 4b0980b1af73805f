"""Rewards over continuous actions: what they compute, saved and loaded, and what they refuse."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import norm

from irlbench.errors import DataError
from irlbench.policies.mlp import GaussianMLPPolicy, SquashedGaussianMLPPolicy
from irlbench.reward import RewardFunction, load_reward, save_reward
from irlbench.rewards.composed import ShapedReward
from irlbench.rewards.continuous import (
    ActorCriticReward,
    PolicyLogRatioReward,
    StateActionMLPReward,
    ValueGapReward,
)
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward

RNG = np.random.default_rng(0)
N, OBSERVED, ACTING = 7, 3, 2
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
S = RNG.normal(size=(N, OBSERVED)).astype(np.float32)
A = RNG.uniform(LOW, HIGH, size=(N, ACTING)).astype(np.float32)
NEXT = RNG.normal(size=(N, OBSERVED)).astype(np.float32)
ENDED = np.array([False, False, True, False, True, False, False])


def network(inputs: int, head: str = "reward", outputs: int = 1) -> dict[str, np.ndarray]:
    shapes = {
        "hidden.0.weight": (5, inputs),
        "hidden.0.bias": (5,),
        f"{head}.weight": (outputs, 5),
        f"{head}.bias": (outputs,),
        "observation_mean": (inputs,),
    }
    arrays = {k: RNG.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}
    return {**arrays, "observation_std": np.full(inputs, 2.0, np.float32)}


def critic() -> StateActionMLPReward:
    return StateActionMLPReward(network(OBSERVED + ACTING), "relu")


def potential() -> MLPReward:
    return MLPReward(network(OBSERVED), "state")


def actor(squashed: bool = True, inputs: int = OBSERVED) -> GaussianMLPPolicy:
    arrays = network(inputs, "mean", ACTING)
    spread = {"log_std": np.array([-0.5, -1.5], np.float32)}
    bounds = {"action_low": LOW, "action_high": HIGH}
    kind = SquashedGaussianMLPPolicy if squashed else GaussianMLPPolicy
    return kind({**arrays, **spread, **bounds}, "tanh")


def test_a_network_of_both_reads_the_observation_beside_the_action() -> None:
    arrays = network(OBSERVED + ACTING)
    reward = StateActionMLPReward(arrays, "tanh", 0.9, 0.2)
    both = (np.concatenate([S, A], axis=1) - arrays["observation_mean"]) / 2
    hidden = np.tanh(both @ arrays["hidden.0.weight"].T + arrays["hidden.0.bias"])
    wanted = (hidden @ arrays["reward.weight"].T + arrays["reward.bias"])[:, 0]
    np.testing.assert_allclose(reward(S, A, NEXT, ENDED), wanted, rtol=1e-5)
    flattened = reward(S[:, None, :], A.reshape(N, 1, ACTING), NEXT, ENDED)
    np.testing.assert_array_equal(flattened, reward(S, A, NEXT, ENDED))


@pytest.mark.parametrize("squashed", [True, False])
def test_a_policy_says_the_density_of_the_action_that_noise_leads_to(squashed: bool) -> None:
    policy = actor(squashed)
    noise = RNG.normal(size=(6, ACTING)) * 0.3
    actions, log_pi = policy.with_noise(S, noise)
    assert actions.shape == (N, 6, ACTING) and log_pi.shape == (N, 6)
    assert ((actions >= LOW) & (actions <= HIGH)).all()
    inside = ((actions > LOW + 1e-3) & (actions < HIGH - 1e-3)).all(axis=2)
    assert inside.sum() > 3
    for k in range(6):
        told = policy.log_prob(S, actions[:, k])
        np.testing.assert_allclose(log_pi[inside[:, k], k], told[inside[:, k]], atol=2e-3)


def test_the_density_is_that_of_a_distribution_over_the_bounds() -> None:
    """Importance weights: E[1 / (density times volume)] is 1 where every action is likely."""
    arrays = {
        "mean.weight": np.zeros((ACTING, OBSERVED), np.float32),
        "mean.bias": np.array([0.1, -0.2], np.float32),
        "log_std": np.array([0.0, 0.1], np.float32),
        "action_low": LOW,
        "action_high": HIGH,
    }
    policy = SquashedGaussianMLPPolicy(arrays)
    _, log_pi = policy.with_noise(S[:1], RNG.normal(size=(200_000, ACTING)))
    assert np.exp(-log_pi - policy.log_volume).mean() == pytest.approx(1, abs=0.02)


def test_the_density_stays_finite_where_the_action_rounds_to_its_bound() -> None:
    actions, log_pi = actor().with_noise(S, np.full((1, ACTING), 80.0))
    assert (actions == HIGH).all() and np.isfinite(log_pi).all()


@pytest.mark.parametrize("squashed", [True, False])
@pytest.mark.parametrize("critics", [1, 2])
def test_an_actor_critic_reward_is_q_less_the_discounted_soft_value(squashed, critics) -> None:
    Qs, policy = [critic() for _ in range(critics)], actor(squashed)
    noise = RNG.normal(size=(4, ACTING)).astype(np.float32)
    reward = ActorCriticReward(Qs, policy, 0.8, 0.3, noise)
    found = reward(S, A, NEXT, ENDED)
    for i in range(N):
        V = 0.0
        for z in noise:
            action, log_pi = policy.with_noise(NEXT[i : i + 1], z[None])
            Q = min(Q.of(NEXT[i : i + 1], action[:, 0])[0] for Q in Qs)
            V += (Q - 0.3 * log_pi[0, 0]) / len(noise)
        wanted = min(Q.of(S[i : i + 1], A[i : i + 1])[0] for Q in Qs) - (0.8 * V) * (not ENDED[i])
        assert found[i] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_the_draws_that_a_reward_brings_itself_come_in_opposite_pairs() -> None:
    reward = ActorCriticReward([critic()], actor(), 0.9, 0.1)
    assert reward.noise.shape == (16, ACTING)
    np.testing.assert_array_equal(reward.noise[:8], -reward.noise[8:])
    again = ActorCriticReward([critic()], actor(), 0.9, 0.1)
    np.testing.assert_array_equal(reward.noise, again.noise)
    assert norm.cdf(reward.noise).std() == pytest.approx(12**-0.5, rel=0.3)


def test_a_value_gap_is_q_less_the_discounted_value() -> None:
    Q, Q2, V = critic(), critic(), potential()
    value = np.where(ENDED, 0.0, V.of_actions(NEXT)[:, 0])
    one = ValueGapReward(Q, V, 0.9)(S, A, NEXT, ENDED)
    np.testing.assert_allclose(one, Q.of(S, A) - 0.9 * value, rtol=1e-5)
    two = ValueGapReward([Q, Q2], V, 0.9)(S, A, NEXT, ENDED)
    np.testing.assert_allclose(two, np.minimum(Q.of(S, A), Q2.of(S, A)) - 0.9 * value, rtol=1e-5)


def test_a_ratio_of_policies_is_one_of_densities() -> None:
    policy, reference = actor(), actor()
    plain = PolicyLogRatioReward(policy, None, 0.5)(S, A, NEXT, ENDED)
    uniform = -np.log((HIGH - LOW).astype(float)).sum()
    np.testing.assert_allclose(plain, 0.5 * (policy.log_prob(S, A) - uniform), rtol=1e-6)
    ratio = PolicyLogRatioReward(policy, reference, 2.0)(S, A, NEXT, ENDED)
    np.testing.assert_allclose(
        ratio, 2 * (policy.log_prob(S, A) - reference.log_prob(S, A)), rtol=1e-6
    )
    assert (PolicyLogRatioReward(policy, policy)(S, A, NEXT, ENDED) == 0).all()


def test_a_shaped_reward_may_have_one_of_both_as_its_core() -> None:
    g, h = critic(), potential()
    f = ShapedReward(g, h, 0.9)
    following = np.where(ENDED, 0.0, h.of_actions(NEXT)[:, 0])
    wanted = g.of(S, A) + 0.9 * following - h.of_actions(S)[:, 0]
    np.testing.assert_allclose(f(S, A, NEXT, ENDED), wanted, rtol=1e-5)
    assert f.unshaped() is g


EVERY: list[RewardFunction] = [
    StateActionMLPReward(network(OBSERVED + ACTING), "relu", 0.9, 0.1),
    ShapedReward(critic(), potential(), 0.9, 1.0),
    ShapedReward(critic(), LinearReward(np.ones(OBSERVED), 1.0), 0.9, 1.0),
    ActorCriticReward([critic()], actor(), 0.99, 0.0),
    ActorCriticReward([critic(), critic()], actor(False), 0.99, 0.3, np.ones((3, ACTING), "f4")),
    ValueGapReward(critic(), potential(), 0.95, 0.2),
    ValueGapReward([critic(), critic()], potential(), 1.0),
    PolicyLogRatioReward(actor(), None, 0.3, 0.9),
    PolicyLogRatioReward(actor(), actor(False)),
]


@pytest.mark.parametrize("reward", EVERY)
def test_saved_and_loaded_they_pay_the_same(tmp_path, reward) -> None:
    save_reward(reward, tmp_path)
    loaded = load_reward(tmp_path)
    assert type(loaded) is type(reward)
    for name in ("kind", "discount", "temperature"):
        assert getattr(loaded, name) == getattr(reward, name)
    np.testing.assert_array_equal(loaded(S, A, NEXT, ENDED), reward(S, A, NEXT, ENDED))
    assert loaded.is_finite()


@pytest.mark.parametrize("reward", EVERY)
def test_a_row_pays_the_same_in_any_batch(reward) -> None:
    many = np.arange(20_000) % N  # more rows than go through a network at once
    found = reward(S[many], A[many], NEXT[many], ENDED[many])
    np.testing.assert_allclose(found, reward(S, A, NEXT, ENDED)[many], rtol=1e-5, atol=1e-5)


def test_the_memory_it_takes_does_not_grow_with_draws_and_critics() -> None:
    reward = ActorCriticReward([critic(), critic()], actor(), 0.9, 0.1)
    rows = 60_000  # times 16 draws: one million actions
    seen = RNG.normal(size=(rows, OBSERVED)).astype(np.float32)
    acting = np.zeros((rows, ACTING), np.float32)
    tracemalloc.start()
    reward(seen, acting, seen, np.zeros(rows, dtype=bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20, f"{peak / 2**20:.0f} MiB"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: StateActionMLPReward(network(5, outputs=2)), "it has one output"),
        (lambda: StateActionMLPReward(network(1)), "1 inputs and 1 outputs"),
        (lambda: ActorCriticReward([], actor(), 0.9, 0.1), "one critic or two"),
        (lambda: ActorCriticReward([critic()] * 3, actor(), 0.9, 0.1), "one critic or two"),
        (lambda: ActorCriticReward([critic()], actor(inputs=4), 0.9, 0.1), "does not fit critics"),
        (lambda: ActorCriticReward([critic()], actor(), 0.9, -1.0), "from 0 on, got -1"),
        (lambda: ActorCriticReward([critic()], actor(), 0.9, np.nan), "from 0 on, got nan"),
        (
            lambda: ActorCriticReward([critic()], actor(), 0.9, 0.1, np.ones((4, 3), "f4")),
            r"noise \(4, 3\)",
        ),
        (lambda: ValueGapReward(critic(), MLPReward(network(5), "state"), 0.9), "V is of states"),
        (
            lambda: ValueGapReward(critic(), MLPReward(network(3), "state-action"), 0.9),
            "V is of states",
        ),
        (lambda: PolicyLogRatioReward(actor(), actor(inputs=4)), "3 and 4 observation"),
        (lambda: PolicyLogRatioReward(actor(), None, np.inf), "from 0 on, got inf"),
        (lambda: ShapedReward(critic(), TableReward(np.ones(3)), 0.9), "potential of 3 states"),
        (
            lambda: ShapedReward(critic(), MLPReward(network(5), "state"), 0.9),
            "vectors of 5 beside a reward of 5 inputs",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, told) -> None:
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize("reward", [EVERY[0], EVERY[3], EVERY[5], EVERY[7]])
def test_actions_of_other_dimensions_are_refused(reward) -> None:
    with pytest.raises(ValueError, match="dimensions"):
        reward(S, np.zeros((N, ACTING + 1), np.float32), NEXT, ENDED)


@pytest.mark.parametrize("reward", [EVERY[4], EVERY[5], EVERY[8]])
@pytest.mark.parametrize(
    "change",
    [
        {"parts": []},
        {"parts": {}},
        {"parts": {"policy": {"policy": "causal-lm"}}},
        {"parts": {"policy": {"policy": "uniform", "actions": 5}}},
        {"kind": "state"},
        {"discount": 2},
        {"temperature": -1},
        {"temperature": "warm"},
    ],
)
def test_settings_of_other_parts_are_refused(tmp_path, reward, change) -> None:
    save_reward(reward, tmp_path)
    file = tmp_path / "reward.json"
    content = json.loads(file.read_text())
    content["settings"] = {**content["settings"], **change}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"not a whole {reward.form} reward"):
        load_reward(tmp_path)


def test_a_policy_where_a_reward_belongs_is_refused(tmp_path) -> None:
    save_reward(PolicyLogRatioReward(actor()), tmp_path)
    file = tmp_path / "reward.json"
    saved = json.loads(file.read_text())
    for kind, settings in (
        ("shaped", {"kind": "transition", "parts": {"g": "policy", "h": "policy"}}),
        ("log-ratio", {"kind": "state-action", "parts": {"policy": "policy"}}),
        ("inverse-bellman", {"kind": "transition", "parts": {"Q": "policy"}}),
        ("q-minus-v", {"kind": "transition", "parts": {"Q": "policy", "V": "policy"}}),
    ):
        declared = saved["settings"]["parts"]["policy"]
        arrays = actor().arrays()
        parts = dict.fromkeys(settings["parts"], declared)
        changed = {**saved["settings"], **settings, "parts": parts}
        save_file(
            {f"{name}.{key}": a for name in parts for key, a in arrays.items()},
            tmp_path / "reward.safetensors",
        )
        file.write_text(json.dumps({**saved, "kind": kind, "settings": changed}))
        with pytest.raises(DataError, match=r"is wanted|got SquashedGaussianMLPPolicy"):
            load_reward(tmp_path)
