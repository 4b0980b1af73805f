"""Making and measuring experts."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.errors import DataError, UsageError
from irlbench.home import home
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import load_policy, save_policy
from irlbench.registry import registry
from irlbench.running import experts
from irlbench.serialisation import sha256_file

FOUR_ROOMS = "gridworld/four-rooms-v0"
CARTPOLE = "control/cartpole-v0"


def test_the_expert_of_four_rooms_is_made_again_as_it_ships(tmp_path):
    task = registry().task(FOUR_ROOMS)
    policy = experts.train_expert(task, home())
    recipe = experts.expert_recipe(task)
    measured = experts.write_expert(task, policy, home(), tmp_path, recipe)
    assert sha256_file(tmp_path / "expert.safetensors") == task.info.recipe["expert"]["sha256"]
    for name in ("random", "expert"):
        frozen = dict(task.info.references[name])
        assert measured[name] == pytest.approx(frozen, abs=1e-9)
    written = json.loads((tmp_path / "references.json").read_text())
    assert written["references"] == measured
    assert written["expert"]["sha256"] == task.info.recipe["expert"]["sha256"]
    assert written["expert"]["recipe"]["solver"] == "soft-value-iteration"
    assert written["measured_with"]["numpy"]


def test_a_short_training_of_cartpole_is_measured_with_its_error(tmp_path):
    task = registry().task(CARTPOLE)
    heard = []
    recipe = experts.expert_recipe(task, seed=3, steps=2048)
    policy = experts.train_expert(
        task, home(), recipe, advance=lambda step, total, _: heard.append((step, total))
    )
    assert heard[-1] == (2048, 2048)
    measured = experts.write_expert(task, policy, home(), tmp_path, recipe)
    made = json.loads((tmp_path / "references.json").read_text())["expert"]["recipe"]
    assert (made["seed"], made["budget"], made["settings"]["steps"]) == (3, {"steps": 2048}, 2048)
    assert {**made["settings"], "steps": 50_000} == task.info.recipe["expert"]["settings"]
    count = task.info.protocol["reference_episodes"]
    for scores in measured.values():
        assert scores["episodes"] == count
        assert 0 < scores["return"] <= 500
        assert scores["return"] == scores["length"]
    assert 0 < measured["random"]["return_error"] < measured["random"]["return"]
    assert experts.measure(task, experts.read_policy(tmp_path), home()) == measured["expert"]
    with pytest.raises(UsageError, match=r"holds expert\.safetensors and references\.json already"):
        experts.new_folder(tmp_path)


@pytest.mark.slow
def test_the_expert_of_cartpole_balances_to_the_end():
    task = registry().task(CARTPOLE)
    policy = experts.train_expert(task, home())
    assert experts.measure(task, policy, home())["return"] == 500.0


@pytest.mark.parametrize(
    "task", [FOUR_ROOMS, CARTPOLE, pytest.param("control/hopper-v0", marks=pytest.mark.slow)]
)
def test_shipped_experts_score_as_frozen(task):
    found = registry().task(task)
    frozen = found.info.references["expert"]
    measured = experts.measure(found, experts.shipped_expert(found, home()), home())
    error = frozen.get("return_error", 0.0)
    assert measured["return"] == pytest.approx(frozen["return"], abs=3 * error + 1e-9)


def test_what_cannot_be_trained_is_refused():
    four_rooms = registry().task(FOUR_ROOMS)
    with pytest.raises(UsageError, match="it takes no steps"):
        experts.expert_recipe(four_rooms, steps=100)
    with pytest.raises(UsageError, match="has no steps to save at"):
        experts.require_steps(four_rooms, experts.expert_recipe(four_rooms), [1])
    cartpole = registry().task(CARTPOLE)
    with pytest.raises(UsageError, match="takes 50000 steps: it is never at step 50001"):
        experts.require_steps(cartpole, experts.expert_recipe(cartpole), [1, 50_001])
    with pytest.raises(UsageError, match="has no expert to train"):
        experts.train_expert(registry().task("text/gsm8k-v0"), home())


def test_policies_are_read_from_experts_and_from_trials(tmp_path):
    with pytest.raises(DataError, match=r"neither expert\.json nor policy\.json"):
        experts.read_policy(tmp_path)
    save_policy(UniformPolicy(actions=4), tmp_path)
    assert experts.read_policy(tmp_path).kind == "uniform"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        experts.new_folder(tmp_path / "file" / "below")


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    task, last = registry().task(CARTPOLE), 5_500
    recipe = experts.expert_recipe(task, steps=6_000)
    # Small, so that it is quick; with one row `ppo` keeps a checkpoint every 5,000 steps.
    small = {"num_envs": 1, "rollout": 250, "batch_size": 125, "hidden": [4], "epochs": 1}
    recipe["settings"] = {**recipe["settings"], **small}
    monkeypatch.setattr(experts, "Run", partial(Run, checkpoint_seconds=0.0))

    def train(name, kill_at=None):
        heard = []

        def advance(step, total, scalars):
            if kill_at is not None and step >= kill_at:
                raise KeyboardInterrupt
            heard.append(step)

        out = tmp_path / name
        out.mkdir(exist_ok=True)
        folder = experts.training_folder(out, task, recipe, [last])
        policy = experts.train_expert(
            task, home(), recipe, advance=advance, folder=folder, save_at=[last]
        )
        kept = load_policy(folder, f"at-{last}")
        shutil.rmtree(folder)
        return heard, policy.arrays(), kept.arrays()

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("killed", kill_at=last)
    other = {**recipe, "seed": 5}
    with pytest.raises(UsageError, match="unfinished training of another task or recipe"):
        experts.training_folder(tmp_path / "killed", task, other, [last])
    heard, *policies = train("killed")
    assert (heard[0], whole[0][0]) == (5_250, 250), "it begins where the checkpoint was"
    for mine, theirs in zip(policies, whole[1:], strict=True):
        for name, array in theirs.items():
            np.testing.assert_array_equal(mine[name], array)
    assert any((policies[0][name] != policies[1][name]).any() for name in policies[0])
