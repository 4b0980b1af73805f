"""Every gridworld task: frozen parts that hold, sensible scores, and a variant for transfer."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.references import Expert, Random, Survival
from irlbench.data.minari_store import read_rewards
from irlbench.envs.gridworld import tasks
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.errors import ResourceError
from irlbench.policies.mlp import CategoricalMLPPolicy
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.registry import registry, why_not
from irlbench.task import ProblemRequest, TaskOptions

ALL = [task for task in vars(tasks).values() if isinstance(task, GridworldTask)]
PAIRS = [(task, registry().task(task.info.transfer)) for task in ALL if task.info.transfer]
PAGE = Path(__file__).parents[3] / "docs" / "gridworlds.md"
LOCKS = (tasks.COMBINATION_LOCK, tasks.COMBINATION_LOCK_TRANSFER)


def name_of(task):
    return task.id.split("/")[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def problem(task, home, needs, seed=0, demonstrations=None):
    return task.problem(
        ProblemRequest(seed, frozenset(needs), "demonstrations", demonstrations), home
    )


def fit(task, algorithm, home, seed=0):
    given = problem(
        task,
        home,
        algorithm.needs_for("gridworld", algorithm.tracks[0]),
        seed,
        task.info.demonstrations,
    )
    return algorithm.configure("gridworld").fit(given, Budget(), Run(seed)).policy


def scores(task, policy, home, split="test"):
    return task.evaluator(TaskOptions(), home).evaluate(policy, split).scores


def normalised(task, found):
    low, high = (task.info.references[name]["return"] for name in ("random", "expert"))
    return (found["return"] - low) / (high - low)


def test_there_are_seven_each_with_a_variant():
    assert len(ALL) == 14 and len(PAIRS) == 7
    for task, variant in PAIRS:
        assert registry().task(task.id) is task
        assert variant.id == task.id.replace("-v0", "-transfer-v0")
        assert variant.info.transfer is None
        assert gym.spec(variant.info.environment).id == variant.info.environment


# --- frozen parts


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_frozen_references_are_what_is_measured(task, home):
    references = task.info.references
    names = {score.name for score in task.info.scores}
    for name, algorithm in (("random", Random), ("expert", Expert)):
        assert set(references[name]) == names
        found = scores(task, fit(task, algorithm, home), home)
        # An expert over observations is a network of float32.
        error = 1e-4 if task in LOCKS else 1e-9
        assert found == pytest.approx(dict(references[name]), abs=error)


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_shipped_expert_solves_the_true_reward_as_its_recipe_says(task, home):
    recipe = task.info.recipe["expert"]
    solver = registry().solver(recipe["solver"]).configure("gridworld", recipe["settings"])
    solved = solver.solve(task.expert_problem(0, home), task.true_reward(), Budget(), Run())
    shipped = task._expert()
    assert isinstance(solved, TablePolicy)
    assert solved.probabilities == pytest.approx(shipped.probabilities, abs=1e-7)


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_range_of_scores_is_wide_and_the_expert_good(task, home):
    random, expert = (task.info.references[name] for name in ("random", "expert"))
    assert expert["return"] > random["return"]
    assert expert["regret"] < 0.07 * random["regret"]
    if "kl_to_expert" in expert:
        assert abs(expert["kl_to_expert"]) < 1e-9 < 0.5 < random["kl_to_expert"]


def test_what_ships_is_small():
    folder = Path(tasks.__file__).parent / "assets"
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 500_000


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_recipe_holds_every_parameter_of_the_world(task):
    kwargs = gym.spec(task.info.environment).kwargs
    if "layout" in kwargs:
        assert len(task.info.recipe["layout"]) == 64
        assert task.info.recipe["slip"] == kwargs["slip"]
    else:
        assert task.info.recipe["world"] == kwargs
    assert task.info.recipe["seed"] == EVALUATION_SEEDS + 2 * 10**6


# --- transfer


@pytest.mark.parametrize(("task", "variant"), PAIRS, ids=name_of)
def test_a_variant_has_the_same_reward_and_other_dynamics(task, variant, home):
    ours, other = task._model(), variant._model()
    assert np.array_equal(ours.rewards, other.rewards)
    assert (ours.states, ours.actions) == (other.states, other.actions)
    assert np.array_equal(ours.cells, other.cells)
    assert task.info.horizon == variant.info.horizon

    def chances(model):
        table = np.zeros((model.states, model.actions, model.states))
        places = np.indices(model.successors.shape)
        np.add.at(table, (places[0], places[1], model.successors), model.probabilities)
        return table

    assert np.abs(chances(ours) - chances(other)).max() > 0.25
    for name in ("observation_space", "action_space"):
        assert getattr(problem(task, home, ()), name) == getattr(problem(variant, home, ()), name)


# What the experts of the tasks are worth in the variants, as docs/gridworlds.md says.
MOVED = (0.77, 0.13, 0.67, -0.02, -1.7, -3.3, -0.02)


def test_the_page_says_how_lost_the_experts_are(home):
    found = [normalised(v, scores(v, t._demonstrator(), home)) for t, v in PAIRS]
    assert found == pytest.approx(MOVED, abs=0.04)
    *most, last = (f"{score:g}" for score in MOVED)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"{', '.join(most)} and {last} (0 is random" in page


@pytest.mark.parametrize(("task", "variant"), PAIRS, ids=name_of)
def test_the_expert_is_lost_in_the_variant_and_its_reward_is_not(task, variant, home):
    moved = scores(variant, task._demonstrator(), home)
    assert normalised(variant, moved) < 0.8
    recipe = task.info.recipe["expert"]
    solver = registry().solver(recipe["solver"]).configure("gridworld", recipe["settings"])
    again = solver.solve(variant.expert_problem(0, home), task.true_reward(), Budget(), Run())
    assert normalised(variant, scores(variant, again, home)) == pytest.approx(1.0, abs=1e-6)


# --- demonstrations and algorithms


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_demonstrations_are_what_the_expert_does_there(task, home):
    prepared = task.prepare(TaskOptions(), home)
    demonstrations = problem(task, home, {"demonstrations"}).demonstrations
    assert len(demonstrations) == prepared.available == task.info.recipe["episodes"]
    lengths = np.array([len(episode) for episode in demonstrations])
    expert = task.info.references["expert"]
    assert lengths.mean() == pytest.approx(expert["length"])
    for episode in demonstrations:
        assert not (episode.terminations | episode.truncations)[:-1].any()
        assert episode.terminations[-1] != episode.truncations[-1]
    (folder,) = (home / "data" / task.id).glob("built-*")
    returns = np.array([rewards.sum() for rewards in read_rewards(folder)])
    error = returns.std(ddof=1) / np.sqrt(len(returns))
    assert abs(returns.mean() - expert["return"]) <= 4 * error + 1e-9
    if task in LOCKS:
        return
    model, steps = task._model(), demonstrations.transitions()
    led = model.successors[steps.observations, steps.actions] == steps.next_observations[:, None]
    possible = model.probabilities[steps.observations, steps.actions] > 0
    assert (led & possible).any(axis=1).all()


# Least and most that behavioural cloning is normalised to, from the demonstrations it gets.
CLONED = {
    "windy-cliff": (0.7, 0.97),
    "object-world": (0.2, 0.7),
    "garnet": (0.8, 0.98),
    "risky-path": (0.98, 1.0),
    "early-termination": (0.98, 1.0),
    "combination-lock": (0.2, 0.95),
}


@pytest.mark.parametrize("task", [task for task, _ in PAIRS[1:]], ids=name_of)
def test_behavioural_cloning_scores_as_its_note_says(task, home):
    least, most = CLONED[task.id.split("/")[1].removesuffix("-v0")]
    found = [
        normalised(task, scores(task, fit(task, BehaviouralCloning, home, seed), home))
        for seed in range(1 if task in LOCKS else 2)
    ]
    assert least < min(found) and max(found) <= most, found
    assert (least > 0.97) == (task.info.note is not None)


@pytest.mark.parametrize("task", [t for t in ALL if t not in LOCKS], ids=name_of)
def test_survival_wins_nowhere(task, home):
    assert normalised(task, scores(task, fit(task, Survival, home), home)) < 1e-9


def test_survival_never_ends_an_episode_that_costs(home):
    task = tasks.EARLY_TERMINATION
    found = scores(task, fit(task, Survival, home), home)
    assert found["length"] > 9.99 and normalised(task, found) < -3


# --- hidden states


@pytest.mark.parametrize("task", LOCKS, ids=name_of)
def test_what_is_of_states_is_not_supplied_where_they_are_hidden(task, home):
    supplied = {"demonstrations", "preferences", "interaction", "expert_policy"}
    assert task.info.supplies == supplied
    for name in ("dynamics", "features"):
        with pytest.raises(ResourceError, match="does not supply"):
            problem(task, home, {name}).resource(name)
    assert "dynamics" in str(why_not(Survival, task))
    assert isinstance(fit(task, Expert, home), CategoricalMLPPolicy)
    given = problem(task, home, {"demonstrations", "interaction"}, demonstrations=3)
    assert given.demonstrations[0].observations.shape == (13, 16)
    envs = given.make_environment(4)
    assert envs.reset()[0].shape == (4, 16)
    observed, rewards, *_, info = envs.step(np.zeros(4, dtype=np.int64))
    assert observed.dtype == np.float32 and not rewards.any() and info == {}


@pytest.mark.parametrize("task", [t for t in ALL if t not in LOCKS], ids=name_of)
def test_features_are_one_per_state_or_those_of_the_world(task, home):
    features = problem(task, home, {"features"}).resource("features")
    states = task._model().states
    if "object-world" in task.id:
        assert features.shape == (1024, 128)
    else:
        assert np.array_equal(features, np.eye(states))
