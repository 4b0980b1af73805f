"""Making and measuring experts."""

from __future__ import annotations

import json

import pytest

from irlbench.errors import DataError, UsageError
from irlbench.home import home
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import save_policy
from irlbench.registry import registry
from irlbench.running import experts
from irlbench.serialisation import sha256_file

FOUR_ROOMS = "gridworld/four-rooms-v0"
CARTPOLE = "control/cartpole-v0"


def test_the_expert_of_four_rooms_is_made_again_as_it_ships(tmp_path):
    task = registry().task(FOUR_ROOMS)
    policy = experts.train_expert(task, home())
    measured = experts.write_expert(task, policy, home(), tmp_path)
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
    policy = experts.train_expert(
        task, home(), seed=3, steps=2048, advance=lambda step, total, _: heard.append((step, total))
    )
    assert heard[-1] == (2048, 2048)
    measured = experts.write_expert(task, policy, home(), tmp_path)
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
    hopper = registry().task("control/hopper-v0")
    with pytest.raises(UsageError, match="not made by a solver of irlbench"):
        experts.train_expert(hopper, home())
    four_rooms = registry().task(FOUR_ROOMS)
    with pytest.raises(UsageError, match="it takes no steps"):
        experts.expert_budget(four_rooms, 100)
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
