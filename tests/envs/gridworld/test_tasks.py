"""Four rooms as a task: frozen parts, demonstrations without rewards, references that hold."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.references import Expert, Random, Survival
from irlbench.baselines.solvers.soft_value_iteration import SoftValueIteration
from irlbench.data.minari_store import read_rewards
from irlbench.envs.gridworld.experts import ExpertModel
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.envs.gridworld.tasks import FOUR_ROOMS
from irlbench.errors import DataError, ResourceError, UsageError
from irlbench.policies.table import TablePolicy
from irlbench.problem import Budget
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.registry import registry, why_not
from irlbench.task import ProblemRequest, TaskOptions

GOAL = int(FOUR_ROOMS._model().rewards.argmax())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    FOUR_ROOMS.prepare(TaskOptions(), folder)
    return folder


@pytest.fixture(scope="module")
def judge(home):
    return FOUR_ROOMS.evaluator(TaskOptions(), home)


def problem(home, *needs, seed=0, demonstrations=20, budget=None):
    request = ProblemRequest(
        seed=seed,
        needs=frozenset(needs),
        track="demonstrations",
        demonstrations=demonstrations,
        budget=budget or Budget(),
    )
    return FOUR_ROOMS.problem(request, home)


def normalised(scores):
    low, high = (FOUR_ROOMS.info.references[name]["return"] for name in ("random", "expert"))
    return (scores["return"] - low) / (high - low)


def fit(algorithm, home, seed=0):
    given = problem(home, *algorithm.needs_for("gridworld", algorithm.tracks[0]), seed=seed)
    return algorithm.configure("gridworld").fit(given, Budget(), Run(seed)).policy


# --- what is declared and frozen


def test_the_registry_finds_it():
    assert registry().task("gridworld/four-rooms") is FOUR_ROOMS
    for algorithm in (BehaviouralCloning, Random, Expert, Survival):
        assert why_not(algorithm, FOUR_ROOMS) is None


def test_its_module_imports_nothing_heavy():
    code = (
        "import sys, irlbench.envs.gridworld.tasks as t; t.FOUR_ROOMS.hash;"
        "heavy = {'torch', 'scipy', 'minari', 'h5py', 'polars', 'stable_baselines3', 'safetensors'}"
        "; sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_frozen_references_are_what_is_measured(home, judge):
    references = FOUR_ROOMS.info.references
    assert judge.evaluate(fit(Random, home), "test").scores == pytest.approx(
        references["random"], abs=1e-9
    )
    assert judge.evaluate(fit(Expert, home), "validation").scores == pytest.approx(
        references["expert"], abs=1e-9
    )


def test_the_shipped_expert_solves_the_true_reward_as_its_recipe_says(home):
    recipe = FOUR_ROOMS.info.recipe["expert"]
    assert recipe["solver"] == SoftValueIteration.id
    solver = SoftValueIteration.configure("gridworld", recipe["settings"])
    given = FOUR_ROOMS.expert_problem(0, home)
    solved = solver.solve(given, FOUR_ROOMS.true_reward(), Budget(), Run())
    shipped = fit(Expert, home)
    assert isinstance(solved, TablePolicy) and isinstance(shipped, TablePolicy)
    assert solved.log_probabilities == pytest.approx(shipped.log_probabilities, abs=1e-9)


def test_an_expert_that_was_changed_is_refused(home, tmp_path, monkeypatch):
    changed = tmp_path / "four-rooms-v0"
    shutil.copytree(FOUR_ROOMS._assets, changed)
    monkeypatch.setattr(FOUR_ROOMS, "_assets", changed)
    fit(Expert, home)
    path = changed / "expert.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(DataError, match="reinstall"):
        fit(Expert, home)
    with pytest.raises(DataError, match="reinstall"):
        FOUR_ROOMS.evaluator(TaskOptions(), home)


def test_a_task_without_an_expert_yet_can_make_one(home):
    bare = GridworldTask(
        name="bare",
        version=0,
        summary="not measured yet",
        environment="irlbench/FourRooms-v0",
        discount=0.9,
        expert=ExpertModel("maximum-causal-entropy", temperature=0.3),
        pool=2,
        demonstrations=1,
        budget=Budget(),
        assets=home / "nothing here",
    )
    assert bare.info.references == {}
    solver = SoftValueIteration.configure("gridworld", bare.info.recipe["expert"]["settings"])
    expert = solver.solve(bare.expert_problem(0, home), bare.true_reward(), Budget(), Run())
    scores = bare.evaluator(TaskOptions(), home).reference(expert).scores
    assert scores["return"] > 50
    assert "kl_to_expert" not in scores
    with pytest.raises(
        DataError, match=r"irlbench experts train gridworld/bare-v0 --out .*nothing"
    ):
        bare.prepare(TaskOptions(), home)


def test_the_hash_covers_the_expert_the_map_and_the_seeds():
    changed: list[dict[str, Any]] = [
        {"recipe": {**FOUR_ROOMS.info.recipe, "expert": {"sha256": "0" * 64}}},
        {"recipe": {**FOUR_ROOMS.info.recipe, "layout": "0" * 64}},
        {"protocol": {**FOUR_ROOMS.info.protocol, "test_seed": 1}},
        {"discount": 0.98},
    ]
    hashes = set()
    for changes in changed:
        other = object.__new__(GridworldTask)
        other.info = replace(FOUR_ROOMS.info, **changes)
        hashes.add(other.hash)
    assert len(hashes - {FOUR_ROOMS.hash}) == len(changed)


# --- demonstrations


def test_demonstrations_are_episodes_of_the_expert(home):
    demonstrations = problem(home, "demonstrations", demonstrations=None).demonstrations
    assert len(demonstrations) == 200 and demonstrations.steps == 20_000
    for episode in demonstrations:
        assert not episode.terminations.any()
        assert episode.truncations.tolist() == [False] * 99 + [True]
    model = FOUR_ROOMS._model()
    steps = demonstrations.transitions()
    led = model.successors[steps.observations, steps.actions] == steps.next_observations[:, None]
    assert led.any(axis=1).all()
    expert = fit(Expert, home)
    counts = np.zeros((104, 4))
    np.add.at(counts, (steps.observations, steps.actions), 1)
    share = counts[GOAL] / counts[GOAL].sum()
    error = np.sqrt(share * (1 - share) / counts[GOAL].sum())
    assert counts[GOAL].sum() > 10_000
    assert (np.abs(share - expert.probabilities[GOAL]) < 4 * error).all()


def test_demonstrations_hold_no_rewards_and_the_file_does(home):
    given = problem(home, "demonstrations").demonstrations
    known = {"observations", "actions", "terminations", "truncations", "following"}
    assert set(vars(given[0])) == known
    assert given[0].following is None
    assert "return" not in json.dumps(dict(given.provenance))
    (folder,) = (home / "data" / "gridworld").glob("*/built-*")
    returns = [rewards.sum() for rewards in read_rewards(folder)]
    expected = FOUR_ROOMS.info.references["expert"]["return"]
    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - expected) < 4 * error


def test_seeds_draw_demonstrations(home):
    def drawn(seed, count):
        found = problem(home, "demonstrations", seed=seed, demonstrations=count).demonstrations
        return [tuple(episode.observations) for episode in found]

    assert drawn(0, 20) == drawn(0, 20)
    assert drawn(0, 20) != drawn(1, 20)
    assert drawn(0, 20)[:5] == drawn(0, 5)


def test_the_pool_is_built_once(home):
    stamps = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    first = FOUR_ROOMS.prepare(TaskOptions(), home)
    assert len(first.built["demonstrations"]) == 64
    assert FOUR_ROOMS.prepare(TaskOptions(), home) == first
    for path, stamp in stamps.items():
        if path.suffix != ".lock":
            assert path.stat().st_mtime_ns == stamp


def test_the_seeds_of_the_pool_and_of_evaluation_are_apart():
    recipe, protocol = FOUR_ROOMS.info.recipe, FOUR_ROOMS.info.protocol
    ranges = [
        range(protocol["test_seed"], protocol["test_seed"] + protocol["test_episodes"]),
        range(
            protocol["validation_seed"],
            protocol["validation_seed"] + protocol["validation_episodes"],
        ),
        range(recipe["seed"], recipe["seed"] + recipe["episodes"]),
    ]
    assert min(r.start for r in ranges) >= EVALUATION_SEEDS
    assert len({seed for r in ranges for seed in r}) == sum(len(r) for r in ranges)


@pytest.mark.parametrize("option", ["data", "demos", "model"])
def test_options_it_has_no_use_for_are_refused(home, option):
    with pytest.raises(UsageError, match=f"--{option}"):
        FOUR_ROOMS.prepare(TaskOptions(**{option: "something"}), home)


# --- resources


def test_every_resource_it_names_is_supplied(home):
    given = problem(home, *FOUR_ROOMS.info.supplies)
    for name in FOUR_ROOMS.info.supplies - {"interaction"}:
        assert given.resource(name) is not None
    assert given.resource("dynamics").horizon == 100
    assert given.resource("dynamics").discount == 0.99
    assert np.array_equal(given.resource("features"), np.eye(104))
    with pytest.raises(ResourceError, match="does not supply"):
        problem(home, "reference_model").resource("reference_model")


def test_interaction_pays_nothing_is_billed_and_limited(home):
    given = problem(home, "interaction", budget=Budget(steps=1500))
    envs = given.make_environment(10)
    state, _ = envs.reset()
    assert envs.num_envs == 10 and state.shape == (10,)
    ends = 0
    for _ in range(150):
        _, rewards, _, truncations, info = envs.step(np.zeros(10, dtype=np.int64))
        assert not rewards.any() and info == {}
        ends += truncations.sum()
    assert ends == 10, "one episode of 100 steps ended in each row"
    assert given.meter.used == 1490, "the step that began anew is not billed"


def test_learning_environments_do_what_the_dynamics_say(home):
    given = problem(home, "interaction", "dynamics")
    dynamics, envs = given.resource("dynamics"), given.make_environment(500)
    state, _ = envs.reset()
    for step in range(50):
        actions = np.full(500, step % 4)
        following, *_ = envs.step(actions)
        assert (dynamics.successors[state, actions] == following[:, None]).any(axis=1).all()
        state = following


# --- algorithms on it


def test_behavioural_cloning_reaches_095_of_the_expert(home, judge):
    scores = [
        normalised(judge.evaluate(fit(BehaviouralCloning, home, seed), "test").scores)
        for seed in range(5)
    ]
    assert min(scores) >= 0.95, scores


def test_survival_gains_nothing(home, judge):
    scores = judge.evaluate(fit(Survival, home), "test").scores
    assert abs(normalised(scores)) < 1e-9


def test_an_optimal_policy_has_no_regret_and_the_expert_little(home, judge):
    solver = SoftValueIteration.configure("gridworld", {"temperature": 0.0, "finite_horizon": True})
    given = FOUR_ROOMS.expert_problem(0, home)
    best = judge.evaluate(
        solver.solve(given, FOUR_ROOMS.true_reward(), Budget(), Run()), "test"
    ).scores
    assert best["regret"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < FOUR_ROOMS.info.references["expert"]["regret"] < 2
    assert best["return"] > FOUR_ROOMS.info.references["expert"]["return"]
