"""What every learner of a function of the observation has in common, whatever its objective."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.bt_reward import BTReward
from irlbench.baselines.algorithms.dpo import DPO
from irlbench.baselines.algorithms.ipl import IPL
from irlbench.baselines.algorithms.iq_learn import IQLearn
from irlbench.baselines.algorithms.sqil import SQIL
from irlbench.errors import ResourceError
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget
from irlbench.registry import registry
from irlbench.reward import load_reward, save_reward

ALGORITHMS = (IQLearn, SQIL, IPL, BTReward, DPO)
TRACKS = [(algorithm, track) for algorithm in ALGORITHMS for track in algorithm.tracks]
KINDS: dict[str, dict[str, Any]] = {
    "table": {},
    "features": {"also": ("features",), "representation": "network", "hidden": (8,)},
    "vectors": {"vectors": True, "hidden": (8,)},
}
#: Dynamics are of states that are seen as indices.
EVERY = [
    (algorithm, track, kind)
    for algorithm, track in TRACKS
    for kind in KINDS
    if not (kind == "vectors" and "dynamics" in track)
]


@pytest.fixture
def fitted(small_world):
    """Fits for a few steps."""

    def fit(algorithm, track, kind="table", seed=0, budget=None, **changes):
        if algorithm in (IQLearn, SQIL):
            changes = {"num_envs": 20, **changes}
        if algorithm is BTReward and budget is None:
            # Its solver takes what the model leaves of the budget.
            budget = Budget(gradient_steps=20)
        return small_world.fit(
            algorithm,
            track,
            seed=seed,
            budget=budget,
            demonstrations=small_world.demonstrations(4),
            preferences=small_world.preferences(20),
            **{"gradient_steps": 10, **KINDS[kind], **changes},
        )

    return fit


def asked(world, kind, solution):
    """log pi and reward of every state and action, with every state next."""
    states, actions, following = (i.ravel() for i in np.indices((16, 4, 16)))
    codes = world.codes if kind == "vectors" else np.arange(16)
    ends = following == 3
    paid = solution.reward(codes[states], actions, codes[following], ends)
    return solution.policy.log_prob(codes[states], actions), paid


@pytest.mark.parametrize(("algorithm", "track", "kind"), EVERY)
def test_each_representation_runs_saves_and_loads(
    fitted, small_world, tmp_path, algorithm, track, kind
):
    solution, run, _ = fitted(algorithm, track, kind)
    assert run.gradient_steps > 0
    log_pi, paid = asked(small_world, kind, solution)
    assert np.isfinite(log_pi).all()
    assert np.isfinite(paid).all()
    assert np.ptp(paid) > 0
    save_policy(solution.policy, tmp_path)
    save_reward(solution.reward, tmp_path)
    again = type(solution)(load_policy(tmp_path), load_reward(tmp_path))
    assert type(again.reward) is type(solution.reward)
    for was, now in zip((log_pi, paid), asked(small_world, kind, again), strict=True):
        assert now == pytest.approx(was, abs=1e-6)


@pytest.mark.parametrize(("algorithm", "track"), TRACKS)
def test_a_network_without_features_is_refused_with_what_to_do(fitted, algorithm, track):
    with pytest.raises(ResourceError, match=r"no features .*set representation=table"):
        fitted(algorithm, track, representation="network")


@pytest.mark.parametrize(("algorithm", "track", "kind"), EVERY)
def test_a_seed_decides_every_bit(fitted, small_world, algorithm, track, kind):
    """Smaller batches than there are data, so that seeds tell."""
    changes = {"batch_size": 8}
    first, again, other = (
        fitted(algorithm, track, kind, seed=seed, **changes)[0] for seed in (0, 0, 1)
    )

    def bits(solution):
        return b"".join(array.tobytes() for array in asked(small_world, kind, solution))

    assert bits(first) == bits(again)
    # With known dynamics a table learns from all there is: nothing is drawn.
    drawn = not (algorithm in (IQLearn, SQIL) and "dynamics" in track and kind == "table")
    assert (bits(first) != bits(other)) == drawn


@pytest.mark.parametrize(("algorithm", "track"), TRACKS)
def test_the_budget_of_gradient_steps_is_kept_and_billed(fitted, algorithm, track):
    _, run, problem = fitted(algorithm, track, budget=Budget(gradient_steps=4))
    assert run.gradient_steps == 4
    if algorithm in (IQLearn, SQIL):
        assert problem.meter.used == (4 * 20 if "interaction" in track else 0)
        _, run, _ = fitted(algorithm, track, budget=Budget(gradient_steps=0))
        assert run.gradient_steps == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_time_that_is_up_ends_it(fitted, algorithm):
    _, run, _ = fitted(algorithm, algorithm.tracks[0], budget=Budget(seconds=0.0))
    assert run.gradient_steps == 0


@pytest.mark.parametrize("algorithm", [IQLearn, SQIL])
def test_the_budget_of_steps_is_kept_and_billed(fitted, algorithm):
    track = "demonstrations+interaction"
    _, run, problem = fitted(algorithm, track, budget=Budget(steps=70))
    assert (problem.meter.used, run.gradient_steps) == (60, 3)
    assert problem.costs()["steps"] == 60


def test_the_solver_keeps_to_the_budget_of_steps(fitted):
    _, run, problem = fitted(BTReward, "preferences+interaction", budget=Budget(steps=90))
    assert (problem.meter.used, run.gradient_steps) == (80, 10 + 4)


@pytest.mark.parametrize(
    ("algorithm", "track"),
    [(a, t) for a, t in TRACKS if "preferences" in t and "interaction" not in t],
)
def test_weight_decay_is_of_networks_and_the_prior_of_tables(fitted, small_world, algorithm, track):

    def same(kind, field):
        found = [
            asked(small_world, kind, fitted(algorithm, track, kind, **changes)[0])[1]
            for changes in ({}, {field: 5.0})
        ]
        return np.array_equal(*found)

    assert not same("table", "l2")
    assert same("table", "weight_decay")
    assert not same("features", "weight_decay")
    # With known dynamics IPL's prior is on the implied reward, however Q is represented.
    assert same("features", "l2") == (algorithm is not IPL or track == "preferences")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_they_are_found_by_name_in_their_worlds(algorithm):
    assert registry().algorithm(algorithm.id) is algorithm
    assert algorithm.worlds == ("gridworld", "control")
    assert algorithm.actions == ("discrete", "continuous")
    also = {"offline_transitions"} if algorithm is IPL else set()
    assert algorithm.optional == {"features"} | also
    for world in algorithm.worlds:
        for track in algorithm.tracks:
            assert algorithm.needs_for(world, track) == set(track.split("+"))


def test_clonings_reward_is_the_log_of_the_ratios_of_counts(small_world):
    """Less that of the uniform policy."""
    demonstrations = small_world.demonstrations(30)
    solution, _, problem = small_world.fit(
        BehaviouralCloning, "demonstrations", demonstrations=demonstrations
    )
    steps = demonstrations.transitions()
    counts = Counter(zip(steps.observations.tolist(), steps.actions.tolist(), strict=True))
    visits = Counter(steps.observations.tolist())
    pairs = np.array(sorted(counts))
    assert len(pairs) > 20
    wanted = [np.log(counts[s, a] / visits[s] * 4) for s, a in pairs.tolist()]
    states, actions = pairs.T
    none = np.zeros(len(pairs), dtype=bool)
    assert solution.reward(states, actions, states, none) == pytest.approx(wanted, abs=0.02)
    log_pi = solution.policy.log_prob(states, actions)
    found = solution.reward(states, actions, states, none)
    assert found == pytest.approx(log_pi + np.log(4))
    assert solution.reward.kind == "state-action"
    assert solution.reward.discount == problem.discount


def test_clonings_reward_is_nothing_where_nothing_was_seen(small_world):
    whole = small_world.demonstrations(1)
    solution, _, _ = small_world.fit(
        BehaviouralCloning, "demonstrations", demonstrations=whole, gradient_steps=50
    )
    unseen = sorted(set(range(16)) - set(whole.transitions().observations.tolist()))
    assert unseen
    for action in range(4):
        state = np.array(unseen)
        paid = solution.reward(state, np.full(len(state), action), state, state < 0)
        assert paid == pytest.approx(0.0, abs=1e-12)


def test_cloning_of_vectors_pays_its_log_pi_too(small_world, tmp_path):
    solution, _, _ = small_world.fit(
        BehaviouralCloning,
        "demonstrations",
        demonstrations=small_world.demonstrations(5),
        vectors=True,
        gradient_steps=50,
        hidden=(8,),
    )
    log_pi, paid = asked(small_world, "vectors", solution)
    assert paid == pytest.approx(log_pi + np.log(4), abs=1e-5)
    assert np.ptp(paid) > 0.5
    save_reward(solution.reward, tmp_path)
    again = type(solution)(solution.policy, load_reward(tmp_path))
    assert asked(small_world, "vectors", again)[1] == pytest.approx(paid, abs=1e-6)
