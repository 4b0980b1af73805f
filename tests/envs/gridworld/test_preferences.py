"""Preferences of gridworlds: where their items come from, how they are judged, what they teach."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import irlbench
from irlbench.baselines.objectives.bradley_terry import bradley_terry_loss, segment_returns
from irlbench.data.annotator import SimulatedAnnotator
from irlbench.data.preference_store import preference_folder, read_preference_summary
from irlbench.envs.gridworld import tasks
from irlbench.envs.gridworld.emission import rotate
from irlbench.envs.gridworld.experts import ExpertModel
from irlbench.envs.gridworld.preferences import PreferencePool
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.errors import DataError, ResourceError, UsageError
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.running.store import Store
from irlbench.serialisation import read_safetensors
from irlbench.tabular.planning import value_iteration
from irlbench.task import ProblemRequest, TaskOptions

ALL = [task for task in vars(tasks).values() if isinstance(task, GridworldTask)]
PAGE = Path(__file__).parents[3] / "docs" / "gridworlds.md"
EXACT = SimulatedAnnotator()


def name_of(task):
    return task.id.split("/")[1].removesuffix("-v0")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def pools(home):
    """The preferences of a task, and its latent states as arrays, made once."""
    made = {}

    def pool(task):
        if task.id not in made:
            prepared = task.prepare(TaskOptions(), home)
            given = preferences(task, home, None)
            assert len(given) == prepared.available_preferences
            pairs = given.pairs()
            made[task.id] = given, replace(pairs, observations=states_of(task, pairs.observations))
        return made[task.id]

    return pool


def preferences(task, home, count, seed=0):
    request = ProblemRequest(seed, frozenset({"preferences"}), "preferences", None, count)
    return task.problem(request, home).preferences


def states_of(task, observations):
    """The states behind observations; those of padding mean nothing."""
    emission = task._model().emission
    if emission is None:
        return observations
    flat = rotate(observations.reshape(-1, emission.dimension).astype(np.float64))
    return (flat @ emission.codes.T).argmax(axis=1).reshape(observations.shape[:3])


def earned(task, pairs):
    """True rewards of pairs over states, `[pairs, 2, time]`."""
    rewards, states = task._model().rewards, pairs.observations[:, :, :-1]
    found = rewards[states] if rewards.ndim == 1 else rewards[states, pairs.actions]
    return np.where(pairs.mask, found, 0.0)


# --- items


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_items_are_segments_that_the_world_can_produce(task, pools):
    given, pairs = pools(task)
    model, recipe = task._model(), task.info.recipe["preferences"]
    assert len(given) == recipe["pairs"] and pairs.mask.shape[2] <= recipe["segment"]
    states, following = pairs.observations[:, :, :-1], pairs.observations[:, :, 1:]
    led = model.successors[states, pairs.actions] == following[..., None]
    possible = (led & (model.probabilities[states, pairs.actions] > 0)).any(axis=-1)
    assert possible[pairs.mask].all()
    assert np.array_equal(model.terminal[following] & pairs.mask, pairs.terminations)
    # A shorter one is a whole episode that ended.
    lengths = pairs.mask.sum(axis=2)
    assert (pairs.terminations.any(axis=2) | (lengths == recipe["segment"])).all()


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_segments_begin_anywhere_and_whole_episodes_at_the_start(task, pools):
    _, pairs = pools(task)
    starts = task._model().starts
    whole = task.info.recipe["preferences"]["segment"] >= task.info.horizon
    assert np.isin(pairs.observations[:, :, 0], starts).all() == whole or len(starts) > 20
    flags = [
        bool(item.truncations[-1] or item.terminations[-1])
        for comparison in pools(task)[0]
        for item in comparison.items
    ]
    assert all(flags) == whole
    if not whole:  # each place that a segment can begin in is as likely
        share = 1 / (task.info.horizon - task.info.recipe["preferences"]["segment"] + 1)
        assert np.mean(flags) == pytest.approx(share, abs=4 * (share / len(flags)) ** 0.5)


def test_every_two_behaviours_are_compared_equally_often():
    task = tasks.EARLY_TERMINATION
    pool = PreferencePool(segment=10, annotator=EXACT, given=1, pairs=4000, random_actions=(0, 1))
    pairs = pool.simulate(task._model(), task._expert(), 10, EVALUATION_SEEDS).pairs()
    lengths = pairs.mask.sum(axis=2)
    pair = np.arange(4000)
    # The expert ends at once, in two steps; who acts at random often stays longer.
    assert (lengths[pair % 2 == 0, 0] == 2).all() and (lengths[pair // 2 % 2 == 0, 1] == 2).all()
    for item, random in ((0, pair % 2 == 1), (1, pair // 2 % 2 == 1)):
        assert 0.4 < (lengths[random, item] > 2).mean() < 0.8
        left = (pairs.actions[random, item] == 0)[pairs.mask[random, item]]
        assert left.mean() == pytest.approx(0.5, abs=0.03)


def test_segments_of_episodes_that_end_early():
    task = tasks.EARLY_TERMINATION
    pool = PreferencePool(segment=2, annotator=EXACT, given=1, pairs=2000, random_actions=(1,))
    pairs = pool.simulate(task._model(), task._expert(), 10, EVALUATION_SEEDS).pairs()
    states, ended = pairs.observations, pairs.terminations
    assert pairs.mask.all() and not ended[:, :, 0].any()
    assert np.array_equal(states[:, :, 2] == 2, ended[:, :, 1])
    assert {tuple(s) for s in states.reshape(-1, 3).tolist()} == {(0, 1, 0), (1, 0, 1), (0, 1, 2)}
    # Of 2k steps, with probability 0.5^k, the last two are one place of 2k - 1.
    share = sum(0.5**k / (2 * k - 1) for k in range(1, 6))
    error = (share * (1 - share) / 4000) ** 0.5
    assert ended[:, :, 1].mean() == pytest.approx(share, abs=4 * error)


def test_a_random_action_is_taken_as_often_as_said():
    task = tasks.FOUR_ROOMS
    expert = TablePolicy(np.tile([0.0, -1000.0, -1000.0, -1000.0], (104, 1)))
    pool = PreferencePool(segment=20, annotator=EXACT, given=1, pairs=200, random_actions=(0.2,))
    actions = pool.simulate(task._model(), expert, 100, 0).pairs().actions
    # Of the random ones a quarter is the expert's.
    assert (actions != 0).mean() == pytest.approx(0.15, abs=4 * (0.15 * 0.85 / actions.size) ** 0.5)


def test_the_same_recipe_gives_the_same_bits(pools, tmp_path):
    for task in (tasks.GARNET, tasks.COMBINATION_LOCK):
        again = task.prepare(TaskOptions(), tmp_path).built["preferences"]
        assert again == pools(task)[0].provenance["content_hash"]


# --- judgements


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_answers_are_the_annotators_on_the_true_reward(task, pools):
    given, pairs = pools(task)
    annotator = SimulatedAnnotator(**task.info.recipe["preferences"]["annotator"])
    rewards = earned(task, pairs)
    ties = pairs.first_preferred == 0.5
    assert np.array_equal(ties, annotator.ties(rewards, pairs.mask))
    chance = annotator.first_preferred(rewards, pairs.mask)[~ties]
    excess = pairs.first_preferred[~ties] - chance
    assert abs(excess.sum()) <= 4 * np.sqrt((chance * (1 - chance)).sum())
    # And not only in the mean: where one is much better, it is the one.
    sure = np.abs(chance - 0.5) > 0.49
    assert sure.sum() > 100
    assert (np.abs(excess[sure]) < 0.5).mean() > 0.98
    assert {comparison.annotator for comparison in given} == {"simulated"}


def figures(task, pools):
    """Shares of pairs that tie, and of the others that are judged against their returns."""
    _, pairs = pools(task)
    returns = earned(task, pairs).sum(axis=2)
    ties = pairs.first_preferred == 0.5
    wrong = (returns[:, 0] > returns[:, 1]) != (pairs.first_preferred > 0.5)
    return ties.mean(), wrong[~ties].mean()


@pytest.mark.parametrize("task", ALL[::2], ids=name_of)
def test_the_page_says_how_informative_they_are(task, pools):
    recipe = task.info.recipe["preferences"]
    page = PAGE.read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name_of(task)}` \| (\d.*) \|$", page, re.MULTILINE)
    segment, temperature, tie, given, ties, wrong = row.split(" | ")
    assert int(segment) == recipe["segment"] and int(given) == task.info.preferences
    assert float(temperature) == recipe["annotator"]["temperature"]
    assert float(tie) == recipe["annotator"]["tie_threshold"]
    found = figures(task, pools)
    # As told, to a percent.
    assert [float(share.rstrip("%")) for share in (ties, wrong)] == [
        pytest.approx(100 * share, abs=0.6) for share in found
    ]
    assert ALL[ALL.index(task) + 1].info.recipe["preferences"] == recipe


# --- what a learner gets


def test_a_seed_draws_the_same_pairs_and_smaller_numbers_are_prefixes(pools, home):
    pools(tasks.GARNET)
    few, more = (preferences(tasks.GARNET, home, count, seed=5) for count in (10, 100))
    assert (len(few), len(more)) == (10, 100)
    for one, other in zip(few, more, strict=False):
        assert one.ranks == other.ranks
        assert np.array_equal(one.items[0].observations, other.items[0].observations)
    assert few.provenance["id"] == "gridworld/garnet-v0/preferences"
    assert few.provenance["recipe"]["preferences"] == tasks.GARNET.info.recipe["preferences"]


def test_the_learners_process_only_reads(pools, home, monkeypatch, tmp_path):
    def fails(*_):
        raise AssertionError("nothing is judged for a learner")

    pools(tasks.GARNET)
    monkeypatch.setattr(SimulatedAnnotator, "ranks", fails)
    assert len(preferences(tasks.GARNET, home, 3)) == 3
    with pytest.raises(DataError, match="cannot be read"):
        preferences(tasks.GARNET, tmp_path, 3)


def test_no_reward_is_in_the_file(pools, home):
    pools(tasks.GARNET)
    folder = preference_folder(home, *tasks.GARNET._judged())
    assert read_safetensors(folder / "preferences.safetensors").keys() == {
        *("observations", "actions", "terminations", "truncations", "lengths"),
        *("ranks", "sizes", "weights", "annotators"),
    }
    assert read_preference_summary(folder).recipe["preferences"]["seed"] >= EVALUATION_SEEDS


def test_seeds_of_preferences_are_apart_from_all_others():
    for task in ALL:
        recipe, protocol = task.info.recipe, task.info.protocol
        blocks = [
            range(recipe["preferences"]["seed"], recipe["preferences"]["seed"] + 4000),
            range(recipe["seed"], recipe["seed"] + recipe["episodes"]),
            *(
                range(protocol[f"{s}_seed"], protocol[f"{s}_seed"] + protocol[f"{s}_episodes"])
                for s in ("test", "validation")
            ),
        ]
        assert all(block[0] >= EVALUATION_SEEDS for block in blocks)
        assert len(set().union(*blocks)) == sum(map(len, blocks))


@pytest.mark.parametrize("task", [tasks.FOUR_ROOMS, tasks.GARNET], ids=name_of)
def test_a_reward_learnt_from_the_usual_number_is_worth_the_experts(task, pools, home):
    """Bradley-Terry on a table of states, then planning: the labels are the right way round."""
    pools(task)
    pairs = preferences(task, home, task.info.preferences).pairs()
    table = torch.zeros(task._model().states, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=200, line_search_fn="strong_wolfe")
    seen = torch.from_numpy(pairs.observations[:, :, :-1].copy())
    mask, label = torch.from_numpy(pairs.mask.copy()), torch.tensor(pairs.first_preferred)

    def closure():
        optimizer.zero_grad()
        returns = segment_returns(table[seen], mask.float())
        loss = bradley_terry_loss(returns, label.float()) + 0.01 * (table**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    plan = value_iteration(task._dynamics(), table.detach().numpy().astype(np.float64), 0.0)
    policy = TablePolicy(np.log(np.maximum(plan.policy, 1e-300)))
    found = task.evaluator(TaskOptions(), home).evaluate(policy, "test").scores["return"]
    low, high = (task.info.references[name]["return"] for name in ("random", "expert"))
    assert (found - low) / (high - low) > 0.95


# --- tasks without, and pools that cannot be


def test_a_task_without_preferences_supplies_none(tmp_path):
    task = GridworldTask(
        name="four-rooms",
        version=0,
        summary="",
        environment="irlbench/FourRooms-v0",
        discount=0.99,
        expert=ExpertModel("maximum-causal-entropy", temperature=0.3),
        pool=2,
        demonstrations=1,
        budget=Budget(),
    )
    assert "preferences" not in task.info.recipe and task.info.preferences is None
    assert task.prepare(TaskOptions(), tmp_path).available_preferences is None
    with pytest.raises(ResourceError, match="does not supply 'preferences'"):
        preferences(task, tmp_path, 1)
    assert task.hash != tasks.FOUR_ROOMS.hash


def test_the_demonstrations_do_not_depend_on_the_preferences(home):
    one, other = tasks.GARNET, tasks.GARNET_TRANSFER
    recipe = {**one.info.recipe, "preferences": {"pairs": 1}}
    changed = replace(one.info, recipe=recipe)
    twin = object.__new__(GridworldTask)
    vars(twin).update(vars(one), info=changed)
    assert twin._pool(home)[0] == one._pool(home)[0] != other._pool(home)[0]
    assert twin._judged() != one._judged()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment": 0}, "segment must be at least 1 step, got 0"),
        ({"given": 0}, "given must be 1 to 2000, the pairs there are: 0"),
        ({"given": 3000}, "given must be 1 to 2000, the pairs there are: 3000"),
        ({"random_actions": ()}, r"random_actions must be probabilities, got \(\)"),
        ({"random_actions": (0.5, 2)}, r"random_actions must be probabilities, got \(0.5, 2\)"),
    ],
)
def test_pools_that_cannot_be_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        PreferencePool(**{"segment": 5, "annotator": EXACT, "given": 10, **change})


# --- runs

PLUGIN = '''
from dataclasses import dataclass

import numpy as np

from irlbench import Algorithm, Solution
from irlbench.policies.table import TablePolicy


@dataclass(frozen=True)
class Nothing:
    """No hyperparameters."""


class Preferred(Algorithm):
    """How often each action is taken in the better segments."""

    id = "counting/preferred"
    summary = "for tests"
    worlds = ("gridworld",)
    needs = frozenset({"preferences"})
    tracks = ("preferences",)
    Config = Nothing

    def fit(self, problem, budget, run):
        pairs = problem.preferences.pairs()
        counts = np.ones((int(problem.observation_space.n), int(problem.action_space.n)))
        share = np.stack([pairs.first_preferred, 1 - pairs.first_preferred], axis=1)
        weights = np.where(pairs.mask, share[:, :, None], 0)
        np.add.at(counts, (pairs.observations[:, :, :-1], pairs.actions), weights)
        return Solution(TablePolicy(np.log(counts)))
'''


def test_how_many_are_given_is_part_of_a_trial(tmp_path):
    plugin, out = tmp_path / "counting.py", tmp_path / "out"
    plugin.write_text(PLUGIN)
    run = {"algorithms": ["counting/preferred"], "plugins": [plugin], "seeds": 1, "out": out}
    with pytest.raises(UsageError, match=r"2001 preferences asked for, .*risky-path-v0 has 2000"):
        irlbench.run("gridworld/risky-path", preferences=[10, 2001], **run)
    assert irlbench.run("gridworld/risky-path", preferences=[10, 100], **run).done == 2
    assert irlbench.run("gridworld/risky-path", **run).done == 1
    records = list(Store(out).records())
    counts = {record.spec["preferences"]: record.costs["preferences"] for record in records}
    assert counts == {10: 10, 100: 100, 50: 50}
    assert {record.spec["track"] for record in records} == {"preferences"}
    assert all(len(record.data["built"]["preferences"]) == 64 for record in records)
