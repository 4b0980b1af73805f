"""The control tasks: frozen references that hold, problems that hide the reward."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.cli import main
from irlbench.data.minari_store import read_rewards
from irlbench.envs.control import task as control_task
from irlbench.envs.control import tasks
from irlbench.envs.control.rollouts import run_episodes
from irlbench.envs.control.task import SEEDS, ControlTask, shortfall
from irlbench.envs.control.tasks import CARTPOLE, HOPPER
from irlbench.errors import (
    BudgetExceeded,
    DataError,
    ResourceError,
    UnknownNameError,
    UsageError,
)
from irlbench.policies.uniform import UniformPolicy
from irlbench.problem import Budget
from irlbench.randomness import EVALUATION_SEEDS, RowGenerator
from irlbench.registry import registry, why_not
from irlbench.task import ProblemRequest, TaskOptions

ALL = [task for task in vars(tasks).values() if isinstance(task, ControlTask)]
READY = [task for task in ALL if task.info.lacks is None]
WAITING = [task for task in ALL if task.info.lacks is not None]
#: Hashes that committed records are filed under.
RECORDED = {
    "control/cartpole-v0": "fdc3793401d8148bf11e503d24b9a006981279ce5e2db68e9c98a3feb90f6e47",
    "control/hopper-v0": "04bbe4d11a37fe23c20e7d04009f6903d462a570879ff1465f1527ad3909ade2",
}
BOTH = pytest.mark.parametrize("task", [CARTPOLE, HOPPER], ids=["cartpole", "hopper"])


def ask(task, home, *needs, seed=0, demonstrations=None, **options):
    request = ProblemRequest(
        seed=seed,
        needs=frozenset(needs),
        track="demonstrations",
        demonstrations=demonstrations,
        budget=Budget(steps=100),
        options=TaskOptions(**options),
    )
    return task.problem(request, home)


@pytest.fixture(scope="module")
def cartpole_home(tmp_path_factory):
    """A cache folder with CartPole's demonstrations."""
    home = tmp_path_factory.mktemp("home")
    CARTPOLE.prepare(TaskOptions(), home)
    return home


def name_of(task):
    return task.id.split("/")[1]


def test_every_task_is_registered():
    assert {task.id for task in ALL} == {
        name for name in registry().names("tasks") if name.startswith("control/")
    }
    assert {id: registry().task(id).hash for id in RECORDED} == RECORDED


@pytest.mark.parametrize("task", READY, ids=name_of)
def test_what_ships_is_what_the_task_declares(task):
    assert task.expert_recipe()["solver"] in registry().names("solvers")
    folder = control_task.ASSETS / name_of(task)
    frozen = json.loads((folder / "references.json").read_text())
    recipe = task.info.recipe["expert"]
    assert recipe == {**frozen["expert"]["recipe"], "sha256": frozen["expert"]["sha256"]}
    assert len({"solver", "trained_with", "policy_of"} & set(recipe)) == 1, "how it was made"
    if "solver" in recipe:
        assert recipe == {**task.expert_recipe(), "sha256": recipe["sha256"]}, "it can be remade"
    assert task.info.references == frozen["references"]
    for scores in frozen["references"].values():
        assert scores["episodes"] == task.info.protocol["reference_episodes"]
    observations, actions = task.spaces()
    generator = RowGenerator(np.arange(3))
    acted, _ = task.expert().act(np.zeros((3, *observations.shape)), generator=generator)
    assert all(actions.contains(action) for action in acted.astype(actions.dtype))


def test_cartpoles_demonstrations_ship_and_are_what_its_recipe_makes(cartpole_home):
    assert [name_of(task) for task in ALL if task.frozen is not None] == ["cartpole-v0"]
    prepared = CARTPOLE.prepare(TaskOptions(), cartpole_home)
    assert prepared.built["demonstrations"] == CARTPOLE.frozen.content_hash
    assert prepared.available == CARTPOLE.info.recipe["demonstrations"]["count"] == 50
    shipped = CARTPOLE.frozen.recording(CARTPOLE.info.environment)
    made = run_episodes(
        CARTPOLE.info.environment,
        CARTPOLE.expert(),
        range(SEEDS["demonstrations"], SEEDS["demonstrations"] + 50),
        deterministic=True,
        horizon=CARTPOLE.info.horizon,
        record=True,
    ).recording
    # On another kind of processor the last bits may differ: that is what they ship for.
    for ours, its in zip(made.episodes, shipped.episodes, strict=True):
        assert np.allclose(ours.observations, its.observations, atol=1e-3)
        assert ours.actions.dtype == its.actions.dtype and len(ours) == len(its) == 500
    learnt = ask(CARTPOLE, cartpole_home, "demonstrations", demonstrations=50).demonstrations
    drawn = {episode.observations.tobytes() for episode in learnt}
    assert drawn == {episode.observations.tobytes() for episode in shipped.episodes}


def test_other_demonstrations_than_those_that_are_frozen_are_refused(tmp_path):
    frozen = CARTPOLE.frozen
    assert frozen is not None
    with np.load(frozen.path) as arrays:
        changed = dict(arrays)
    changed["actions_7"] = 1 - changed["actions_7"]
    np.savez_compressed(tmp_path / "demonstrations.npz", **changed)
    other = dataclasses.replace(frozen, path=tmp_path / "demonstrations.npz")
    with pytest.raises(DataError, match=r"demonstrations of content .* frozen: restore the file"):
        other.recording(CARTPOLE.info.environment)
    (tmp_path / "demonstrations.npz").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        other.recording(CARTPOLE.info.environment)


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_solver_takes_what_the_recipe_of_an_expert_says(task):
    recipe = task.expert_recipe()
    configured = registry().solver(recipe["solver"]).configure(task.world, recipe["settings"])
    assert configured.config.steps == recipe["budget"]["steps"]


@pytest.mark.parametrize("task", ALL, ids=name_of)
def test_the_environment_is_as_declared(task):
    observations, actions = task.spaces()
    assert task.info.actions == ("discrete" if hasattr(actions, "n") else "continuous")
    assert gymnasium.spec(task.info.environment).max_episode_steps == task.info.horizon
    assert len(observations.shape) == 1


@pytest.mark.parametrize("task", READY, ids=name_of)
def test_an_expert_is_better_than_chance_and_one_that_falls_short_is_noted(task):
    random, expert = (task.info.references[name]["return"] for name in ("random", "expert"))
    assert expert > random
    made_for = registry().task(task.info.recipe["expert"].get("policy_of", task.id))
    found = made_for.info.references["expert"]["return"]
    falls_short = found < tasks.BARS.get(made_for.id, -np.inf)
    assert (f"it returns {found:,.0f} ± " in (task.info.note or "")) == falls_short


def test_the_note_on_an_expert_follows_from_its_references_and_the_bar():
    references = {"expert": {"return": 1382.36, "return_error": 103.05, "episodes": 50}}
    assert shortfall(references, 1382.0) is None
    assert shortfall({}, 1.0) is None
    assert shortfall(references, 4000.0) == (
        "its expert falls short: it returns 1,382 ± 103 over 50 episodes, and 4,000 was wanted"
    )


@pytest.mark.parametrize("task", WAITING, ids=name_of)
def test_a_task_without_an_expert_is_not_ready(task, tmp_path, capsys):
    made_by = f"its expert is not made yet (irlbench experts train {task.id})"
    said = f"{task.id} is not ready: {made_by}"
    for name in registry().names("algorithms"):
        assert why_not(registry().algorithm(name), task) == said
    for refused in (lambda: task.prepare(TaskOptions(), tmp_path), task.expert):
        with pytest.raises(UsageError) as error:
            refused()
        assert str(error.value) == said
    assert main(["run", task.id, "--algorithms", "random", "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert main(["experts", "evaluate", task.id]) == 2
    assert said in capsys.readouterr().err
    assert main(["list", "tasks", task.id]) == 0
    assert made_by in capsys.readouterr().out


def test_cartpoles_references_hold_and_its_expert_never_falls(tmp_path):
    evaluator = CARTPOLE.evaluator(TaskOptions(), tmp_path)
    expert = evaluator.reference(CARTPOLE.expert())
    assert expert.episodes["return"] == [500.0] * 50
    frozen = CARTPOLE.info.references
    assert frozen["expert"]["return"] == 500
    random = evaluator.reference(UniformPolicy(actions=2))
    assert random.scores["return"] == pytest.approx(frozen["random"]["return"])
    assert random.scores == {"return": random.scores["length"], "length": random.scores["length"]}


GRADED = [task for task in ALL if task.grades()]


def test_policies_of_medium_grade_ship_where_they_are_quickly_made():
    assert {name_of(task): list(task.grades()) for task in GRADED} == {
        "cartpole-v0": ["medium"],
        "acrobot-v0": ["medium"],
    }


@pytest.mark.parametrize("task", GRADED, ids=name_of)
def test_a_medium_policy_is_between_chance_and_the_expert(task, tmp_path, monkeypatch):
    frozen = task.grades()["medium"]
    evaluator = task.evaluator(TaskOptions(), tmp_path)
    now = evaluator.reference(task.graded("medium"))
    assert now.scores["return"] == pytest.approx(frozen["scores"]["return"])
    low, high = (task.info.references[name]["return"] for name in ("random", "expert"))
    assert 0.3 < (frozen["scores"]["return"] - low) / (high - low) < 0.7
    assert frozen["recipe"]["step"] < frozen["recipe"]["budget"]["steps"]
    with pytest.raises(
        UnknownNameError, match=r"unknown grade of .*'mediun'; did you mean 'medium'"
    ):
        task.graded("mediun")
    shutil.copytree(control_task.ASSETS / name_of(task), tmp_path / name_of(task))
    shutil.copy(
        tmp_path / name_of(task) / "expert.safetensors",
        tmp_path / name_of(task) / "medium.safetensors",
    )
    monkeypatch.setattr(task, "_assets", tmp_path / name_of(task))
    with pytest.raises(DataError, match=r"medium\.safetensors: has SHA-256 .* frozen for"):
        task.graded("medium")


@pytest.mark.slow
@pytest.mark.parametrize("task", READY, ids=name_of)
def test_references_hold(task, tmp_path):
    evaluator = task.evaluator(TaskOptions(), tmp_path)
    frozen = task.info.references
    bounds = task.spaces()[1]
    for name, policy in {"expert": task.expert(), "random": UniformPolicy.over(bounds)}.items():
        now = evaluator.reference(policy)
        # MuJoCo's bits differ between kinds of processor: within the standard error.
        error = frozen[name]["return_error"]
        assert now.scores["return"] == pytest.approx(frozen[name]["return"], abs=2 * error + 1e-6)


@BOTH
def test_an_expert_that_is_another_is_refused(task, tmp_path, monkeypatch):
    name = name_of(task)
    shutil.copytree(control_task.ASSETS / name, tmp_path / name)
    path = tmp_path / name / "expert.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    monkeypatch.setattr(task, "_assets", tmp_path / name)
    with pytest.raises(DataError, match=f"{name}/expert.safetensors: has SHA-256 .* frozen for"):
        task.expert()


def test_a_task_whose_expert_is_not_made_yet_says_which_file_is_missing():
    assert control_task.shipped("no-such-task-v0")["references"] == {}


@BOTH
def test_evaluation_repeats_itself_and_the_splits_differ(task, tmp_path):
    policy = UniformPolicy.over(task.spaces()[1])
    evaluator = task.evaluator(TaskOptions(), tmp_path)
    first, again = (evaluator.evaluate(policy, "test") for _ in range(2))
    assert first == again
    other = evaluator.evaluate(policy, "validation")
    counts = task.info.protocol
    assert len(first.episodes["return"]) == counts["test"]
    assert len(other.episodes["return"]) == counts["validation"]
    assert set(first.episodes["return"][:5]) != set(other.episodes["return"][:5])
    assert first.scores["return"] == pytest.approx(np.mean(first.episodes["return"]))


def test_seeds_of_different_uses_are_apart():
    spans = {
        "test": max(t.info.protocol["reference_episodes"] for t in ALL),
        "validation": max(t.info.protocol["validation"] for t in ALL),
        "demonstrations": max(t.info.recipe["demonstrations"]["count"] for t in ALL),
    }
    used = [set(range(SEEDS[name], SEEDS[name] + span)) for name, span in spans.items()]
    assert len(set.union(*used)) == sum(map(len, used))
    assert min(map(min, used)) >= EVALUATION_SEEDS


def test_demonstrations_are_the_experts_and_rebuild_alike(cartpole_home, tmp_path):
    problem = ask(CARTPOLE, cartpole_home, "demonstrations")
    pool = problem.demonstrations
    assert len(pool) == 50
    assert all(len(episode) == 500 and episode.truncations[-1] for episode in pool)
    run = run_episodes(
        "CartPole-v1",
        CARTPOLE.expert(),
        [SEEDS["demonstrations"] + 3],
        deterministic=True,
        horizon=500,
        record=True,
    )
    assert run.recording is not None
    # Another batch size may round the network otherwise: compare where rounding cannot tell yet.
    np.testing.assert_allclose(
        pool[3].observations[:20], run.recording.episodes[0].observations[:20], atol=1e-4
    )
    again = CARTPOLE.prepare(TaskOptions(), tmp_path)
    assert again == CARTPOLE.prepare(TaskOptions(), cartpole_home)
    assert set(again.built) == {"demonstrations", "offline_transitions", "preferences"}
    assert not again.given
    assert not again.anchors


def test_a_seed_draws_its_demonstrations(cartpole_home):
    def drawn(seed):
        problem = ask(CARTPOLE, cartpole_home, "demonstrations", seed=seed, demonstrations=2)
        assert problem.costs()["steps"] == 0
        return [episode.observations[0].tobytes() for episode in problem.demonstrations]

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(5)}) == 5


def test_rewards_are_stored_for_people_and_not_given(cartpole_home):
    problem = ask(CARTPOLE, cartpole_home, "demonstrations")
    assert not any("reward" in name for name in vars(problem.demonstrations[0]))
    folder = next((cartpole_home / "data" / "control" / "cartpole-v0" / "expert").iterdir())
    assert all(rewards.sum() == 500 for rewards in read_rewards(folder))


@BOTH
def test_learners_meet_no_reward_and_no_info(task, tmp_path):
    problem = ask(task, tmp_path, "interaction")
    env = problem.make_environment(2)
    _, info = env.reset()
    assert info == {}
    for _ in range(40):
        _, rewards, _, _, info = env.step(env.action_space.sample())
        assert not rewards.any()
        assert info == {}
    env.close()
    assert 0 < problem.meter.used <= 80


@BOTH
def test_a_problem_keeps_its_budget_and_its_needs(task, tmp_path):
    problem = ask(task, tmp_path, "interaction")
    env = problem.make_environment(8)
    env.reset()
    while problem.meter.used <= 100 - 8:
        env.step(env.action_space.sample())
    with pytest.raises(BudgetExceeded, match="of 100 environment steps are used"):
        _ = [env.step(env.action_space.sample()) for _ in range(3)]
    assert problem.meter.used <= 100
    env.close()
    with pytest.raises(ResourceError, match="not declared"):
        problem.resource("expert_policy")


def test_the_expert_problem_pays(tmp_path):
    env = CARTPOLE.expert_problem(0, tmp_path).make_environment(2)
    env.reset(seed=0)
    assert list(env.step(np.array([0, 1]))[1]) == [1.0, 1.0]


@BOTH
@pytest.mark.parametrize("option", ["data", "model"])
def test_options_without_a_use_are_refused(task, tmp_path, option):
    with pytest.raises(UsageError, match=f"does not use --{option}"):
        task.prepare(TaskOptions(**{option: "x"}), tmp_path)


def test_imported_demonstrations_replace_the_tasks_own(tmp_path):
    steps = 6
    np.savez(
        tmp_path / "mine.npz",
        observations_0=np.zeros((steps + 1, 4), np.float32),
        actions_0=np.ones(steps, np.int64),
        rewards_0=np.ones(steps),
        terminations_0=np.zeros(steps, bool),
        truncations_0=np.arange(steps) == steps - 1,
    )
    from irlbench.data.importing import import_set

    with pytest.raises(UsageError, match="no named data sets"):
        CARTPOLE.prepare(TaskOptions(demos="mine"), tmp_path)
    summary = import_set(tmp_path / "mine.npz", CARTPOLE, name="mine", home=tmp_path)
    prepared = CARTPOLE.prepare(TaskOptions(demos="mine"), tmp_path)
    assert prepared.given == {"demonstrations": summary.content_hash}
    assert set(prepared.built) == {"offline_transitions", "preferences"}
    assert prepared.anchors["demonstrator"]["return"] == 6
    problem = ask(CARTPOLE, tmp_path, "demonstrations", demos="mine")
    assert problem.demonstrations.steps == 6


LIGHT = """
import sys
from irlbench.envs.control.tasks import CARTPOLE, HOPPER
assert CARTPOLE.info.references and len(HOPPER.hash) == 64
print([m for m in sys.modules if m.split(".")[0] in sys.argv[1:]])
"""


def test_declaring_the_tasks_imports_nothing_heavy():
    heavy = ["torch", "mujoco", "minari", "h5py", "scipy", "stable_baselines3", "safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_one_demonstration_is_enough_for_behavioural_cloning(cartpole_home):
    returns = []
    for seed in range(5):
        algorithm = registry().algorithm("bc").configure("control")
        problem = ask(CARTPOLE, cartpole_home, "demonstrations", seed=seed, demonstrations=1)
        solution = algorithm.fit(problem, Budget(), Run(seed))
        evaluation = CARTPOLE.evaluator(TaskOptions(), cartpole_home).evaluate(
            solution.policy, "test"
        )
        returns.append(evaluation.scores["return"])
    assert np.mean(returns) >= 475


@pytest.mark.slow
def test_survival_balances_the_pole(cartpole_home):
    info = CARTPOLE.info
    algorithm = registry().algorithm("survival").configure("control")
    request = ProblemRequest(0, frozenset({"interaction"}), "reference", None, budget=info.budget)
    problem = CARTPOLE.problem(request, cartpole_home)
    solution = algorithm.fit(problem, info.budget, Run(0))
    assert problem.meter.used == info.budget.steps
    evaluation = CARTPOLE.evaluator(TaskOptions(), cartpole_home).evaluate(solution.policy, "test")
    assert evaluation.scores["return"] > 450


@pytest.mark.slow
def test_the_recipe_of_cartpoles_expert_makes_one(tmp_path):
    from irlbench.running.experts import measure, train_expert

    policy = train_expert(CARTPOLE, tmp_path)
    # Other processors round otherwise, so the weights need not be those that ship.
    assert measure(CARTPOLE, policy, tmp_path)["return"] >= 495
