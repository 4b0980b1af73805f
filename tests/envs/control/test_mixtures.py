"""Sets of mixed quality, and preferences over their segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irlbench.data.annotator import SimulatedAnnotator
from irlbench.data.demonstrations import Episode
from irlbench.data.minari_store import built_folder, read_dataset, read_rewards
from irlbench.data.preference_store import preference_folder
from irlbench.envs.control.behaviours import SHARES, NoisyPolicy
from irlbench.envs.control.mixtures import Mixture, record_in_turns
from irlbench.envs.control.preferences import PreferencePool
from irlbench.envs.control.rollouts import run_episodes
from irlbench.envs.control.task import SEEDS
from irlbench.envs.control.tasks import CARTPOLE, HOPPER
from irlbench.errors import DataError, ResourceError, UsageError
from irlbench.policies.uniform import UniformPolicy
from irlbench.task import ProblemRequest, TaskOptions

SMALL = Mixture(steps=300, random_actions=(0.0, 1.0))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache folder with what CartPole supplies."""
    home = tmp_path_factory.mktemp("home")
    CARTPOLE.prepare(TaskOptions(), home)
    return home


def ask(home, *needs, count=None, seed=0):
    request = ProblemRequest(seed, frozenset(needs), "preferences", None, count)
    return CARTPOLE.problem(request, home)


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("observations", "actions", "terminations", "truncations")
    )


# --- mixtures


@pytest.mark.parametrize("task", [CARTPOLE, HOPPER], ids=["cartpole", "hopper"])
def test_every_behaviour_acts_for_as_many_steps(task):
    arguments = task.info.environment, task.expert(), 100, 7
    done = SMALL.record(*arguments)
    lengths = [len(episode) for episode in done.episodes]
    expert, chance = SMALL.grouped(lengths)
    assert [*expert, *chance] == list(range(len(lengths)))
    assert sum(lengths[i] for i in expert) == 300, "it never falls: three episodes, cut"
    # No episode more than it takes.
    assert 0 <= sum(lengths[i] for i in chance) - 300 < lengths[chance[-1]]
    assert np.mean([lengths[i] for i in chance]) < 60
    again = SMALL.record(*arguments)
    assert all(map(same, done.episodes, again.episodes))
    # Environments that ran other episodes before are as good as new ones.
    policy = NoisyPolicy(task.expert(), done.action_space, 1.0)
    fresh = run_episodes(
        arguments[0],
        policy,
        range(7 + 10**5 + 3, 7 + 10**5 + 6),
        deterministic=True,
        horizon=100,
        record=True,
    )
    assert fresh.recording is not None
    for place, episode, rewards in zip(
        chance[3:6], fresh.recording.episodes, fresh.recording.rewards, strict=True
    ):
        assert same(done.episodes[place], episode)
        np.testing.assert_array_equal(done.rewards[place], rewards)


def test_policies_take_turns():
    chance = UniformPolicy(actions=2)
    done = record_in_turns("CartPole-v1", [CARTPOLE.expert(), chance], 5, 100, 11)
    lengths = [len(episode) for episode in done.episodes]
    assert lengths[::2] == [100, 100, 100] and max(lengths[1::2]) < 100
    alone = run_episodes("CartPole-v1", chance, [12, 14], deterministic=True, horizon=100)
    assert lengths[1::2] == list(alone.lengths)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"random_actions": ()}, {"random_actions": (0.5, 1.5)}]
)
def test_mixtures_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Mixture(**wrong)


# --- preferences


def walk(steps, start=0):
    """An episode whose observations count, and whose rewards are they."""
    last = np.arange(steps) == steps - 1
    observations = np.arange(start, start + steps + 1, dtype=np.float64)[:, None]
    return Episode(observations, np.zeros(steps, np.int64), last, ~last & last), observations[
        :-1, 0
    ]


def test_segments_cover_an_episode_and_end_with_it():
    pool = PreferencePool(segment=50)
    for steps, firsts in ((130, [0, 50, 80]), (100, [0, 50]), (50, [0]), (20, [0])):
        cut = pool._cut(*walk(steps))
        assert [int(part.observations[0, 0]) for part, _ in cut] == firsts
        assert {len(part) for part, _ in cut} == {min(steps, 50)}
        assert all(np.array_equal(part.observations[:-1, 0], earned) for part, earned in cut)
        assert [bool(part.terminations[-1]) for part, _ in cut] == [False] * (len(cut) - 1) + [True]


def test_behaviours_meet_equally_often_and_the_better_reward_wins():
    behaviours = [[walk(40, start=1000 * kind + 100 * i) for i in range(9)] for kind in range(4)]
    pool = PreferencePool(segment=10, given=1, pairs=160)
    pairs = pool.compare(behaviours, 5).pairs()
    kinds = (pairs.observations[:, :, 0, 0] // 1000).astype(int)
    met = np.zeros((4, 4), int)
    np.add.at(met, (kinds[:, 0], kinds[:, 1]), 1)
    assert (met == 10).all()
    returns = pairs.observations[:, :, :-1, 0].sum(axis=2)
    np.testing.assert_array_equal(
        pairs.first_preferred, (1 + np.sign(returns[:, 0] - returns[:, 1])) / 2
    )
    # 36 segments for 80 places: each is used two or three times.
    _, counts = np.unique(pairs.observations[:, :, 0, 0], return_counts=True)
    assert len(counts) == 144 and set(counts) <= {2, 3}
    again = pool.compare(behaviours, 5).pairs()
    np.testing.assert_array_equal(again.observations, pairs.observations)
    other = replace(pool, annotator=SimulatedAnnotator(flip_probability=1.0)).compare(behaviours, 5)
    np.testing.assert_array_equal(other.pairs().first_preferred, 1 - pairs.first_preferred)


@pytest.mark.parametrize("wrong", [{"segment": 0}, {"given": 0}, {"given": 10, "pairs": 9}])
def test_pools_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PreferencePool(**wrong)


# --- what tasks supply


def test_cartpoles_preferences_tell_behaviours_apart(home):
    given = ask(home, "preferences").preferences
    assert len(given) == CARTPOLE.prepare(TaskOptions(), home).available_preferences == 800
    pairs = given.pairs()
    lengths = pairs.mask.sum(axis=2)
    # Whole episodes, and the reward is their length.
    np.testing.assert_array_equal(
        pairs.first_preferred, (1 + np.sign(lengths[:, 0] - lengths[:, 1])) / 2
    )
    assert lengths.max() == CARTPOLE.info.horizon
    assert (pairs.first_preferred != 0.5).mean() > 0.6
    assert CARTPOLE.info.preferences == 200


def test_a_seed_draws_its_preferences_and_they_are_counted(home):
    def drawn(seed, count):
        problem = ask(home, "preferences", count=count, seed=seed)
        given = problem.preferences
        assert problem.costs() == {"steps": 0, "preferences": count}
        return [one.items[0].observations.tobytes() for one in given]

    assert drawn(0, 20) == drawn(0, 20)
    assert drawn(0, 5) == drawn(0, 20)[:5]
    assert drawn(0, 20) != drawn(1, 20)
    with pytest.raises(DataError, match="801 preferences asked for, 800 there are"):
        drawn(0, 801)


def test_offline_transitions_are_of_all_behaviours_and_hold_no_reward(home):
    problem = ask(home, "offline_transitions")
    steps = problem.resource("offline_transitions")
    folder = built_folder(home, *CARTPOLE._recorded.mixed)
    stored = read_dataset(folder)
    assert len(steps) == stored.steps == problem.costs()["offline_transitions"]
    np.testing.assert_array_equal(steps.observations[:3], stored[0].observations[:3])
    np.testing.assert_array_equal(steps.next_observations[:3], stored[0].observations[1:4])
    groups = Mixture().grouped([len(episode) for episode in stored])
    assert len(groups) == len(SHARES) and groups[-1].stop == len(stored)
    means = [np.mean([len(stored[i]) for i in group]) for group in groups]
    assert means == sorted(means, reverse=True) and means[-1] < 30 < 499 < means[0]
    assert not any("reward" in name for name in vars(steps))
    assert sum(map(len, read_rewards(folder))) == stored.steps
    with pytest.raises(ResourceError, match="not declared"):
        problem.resource("preferences")


def test_a_learner_reads_and_never_builds(tmp_path):
    with pytest.raises(DataError):
        _ = ask(tmp_path, "preferences").preferences
    with pytest.raises(DataError):
        ask(tmp_path, "offline_transitions").resource("offline_transitions")
    assert not (tmp_path / "data").exists()


def test_sets_lie_where_no_learner_may_look(home):
    (hidden, *_) = CARTPOLE.hidden_files(TaskOptions(), home)
    for folder in (
        built_folder(home, *CARTPOLE._recorded.mixed),
        preference_folder(home, *CARTPOLE._recorded.preferences),
    ):
        assert folder.is_dir() and folder.is_relative_to(hidden)


def test_the_recipe_says_how_and_the_seeds_are_apart():
    for task, segment in ((CARTPOLE, 500), (HOPPER, 50)):
        recipe = task.info.recipe
        assert recipe["preferences"]["segment"] == segment
        assert recipe["mixture"]["random_actions"] == list(SHARES)
        assert {"preferences", "offline_transitions"} <= task.info.supplies
    starts = sorted(SEEDS.values())
    assert min(np.diff(starts)) >= 4 * 10**5
