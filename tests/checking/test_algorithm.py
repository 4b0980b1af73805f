"""`irlbench check ALGORITHM`: every channel has a peeker, and each is caught; the honest are not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from irlbench.checking.algorithm import Asked, check_algorithm, suitable
from irlbench.errors import UnknownNameError, UnsupportedPairError, UsageError
from irlbench.registry import registry

PEEKERS = Path(__file__).with_name("peekers.py")
WALK, ROOMS = "gridworld/walk-v0", "gridworld/four-rooms-v0"
REWARDS = {f"hidden reward {kind}" for kind in ("negated", "noise", "NaN", "unreadable")}


@pytest.fixture(autouse=True, scope="module")
def plugin():
    registry().load_plugin(PEEKERS)


def checked(algorithm, task=WALK, **asked):
    """Check name to verdict and reason."""
    _, checks = check_algorithm(Asked(algorithm, task, seconds=60, **asked))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: (check.verdict, check.reason) for check in checks}


def not_held(found):
    return {name for name, (verdict, _) in found.items() if verdict == "did not hold"}


@pytest.mark.parametrize("task", [WALK, pytest.param(ROOMS, marks=pytest.mark.slow)])
def test_the_honest_one_holds(task):
    found = checked("peek/honest", task)
    assert {verdict for verdict, _ in found.values()} == {"held", "not applicable"}
    assert {n for n, (v, _) in found.items() if v == "not applicable"} == {"going on after a kill"}
    for name in REWARDS:
        assert found[name] == ("held", "the same bits over 40 rewards")


# --- One peeker for each channel


@pytest.mark.parametrize("task", [WALK, ROOMS])
def test_the_environment_dug_out(task):
    found = checked("peek/environment", task)
    # So few steps in the four rooms pay nothing, and nothing negated is nothing.
    unmoved = {"hidden reward negated"} if task == ROOMS else set()
    assert not_held(found) == REWARDS - unmoved
    assert "policy" in found["hidden reward noise"][1]
    assert "HiddenRewardRead" in found["hidden reward unreadable"][1]


def test_the_reward_that_the_environment_keeps():
    assert not_held(checked("peek/table", ROOMS)) == REWARDS


def test_info_that_a_task_wrongly_declares_safe():
    assert not not_held(checked("peek/info", WALK))  # there it is cut
    assert not_held(checked("peek/info", "gridworld/leaky-v0")) == REWARDS


def test_recorded_rewards():
    found = checked("peek/data", ROOMS)
    assert not_held(found) == {"hidden files altered", "no hidden file opened"}
    assert "peekers.py" in found["no hidden file opened"][1]


def test_recorded_rewards_past_everything_that_python_hears_of():
    found = checked("peek/data-below", ROOMS)
    assert not_held(found) == {"hidden files altered"}
    assert found["hidden files altered"][1].startswith("it learns otherwise")


def test_the_evaluator():
    found = checked("peek/evaluator")
    assert not_held(found) == {"no look at the task"}
    told = found["no look at the task"][1]
    assert "calls evaluator of the task (peekers.py, line" in told
    assert "calls evaluate of the task's evaluator (peekers.py, line" in told


@pytest.mark.parametrize("peeker", ["true-reward", "expert-problem"])
def test_true_reward_and_expert_problem(peeker):
    found = checked(f"peek/{peeker}", WALK if peeker == "true-reward" else ROOMS)
    assert "no look at the task" in not_held(found)
    assert peeker.replace("-", "_") in found["no look at the task"][1]


def test_references_in_a_file():
    found = checked("peek/references", ROOMS)
    assert not_held(found) == {"hidden files altered", "no hidden file opened"}
    told = found["no hidden file opened"][1]
    assert "opens four-rooms-v0/references.json (peekers.py, line" in told


def test_the_expert_past_everything_that_python_hears_of():
    assert not_held(checked("peek/expert-below", ROOMS)) == {"hidden files altered"}


def test_references_in_memory():
    assert not_held(checked("peek/references-in-memory", ROOMS)) == {"hidden files altered"}


@pytest.mark.parametrize(
    ("peeker", "told"),
    [
        ("make", "calls gymnasium.make('irlbench/FourRooms-v0') (peekers.py, line"),
        ("make-vec", "calls gymnasium.make_vec('irlbench/FourRooms-v0') (peekers.py, line"),
        ("class", "makes a Walk (peekers.py, line"),
    ],
)
def test_a_second_environment(peeker, told):
    found = checked(f"peek/{peeker}")
    assert not_held(found) == {"no environment of its own"}
    assert told in found["no environment of its own"][1]


def test_resources_that_were_not_declared():
    found = checked("peek/undeclared", ROOMS)
    assert not_held(found) == {"declared needs"}
    assert "dynamics" in found["declared needs"][1]
    found = checked("peek/too-little", ROOMS)
    assert not_held(found) == {"declared needs"}
    assert "'features' was not declared" in found["declared needs"][1]
    assert found["hidden reward noise"][0] == "inconclusive"


# --- The plain contract


def test_what_does_not_repeat_says_nothing_of_hidden_rewards():
    found = checked("peek/random")
    assert not_held(found) == {"same seed twice"}
    assert {found[name][0] for name in [*REWARDS, "hidden files altered"]} == {"inconclusive"}


def test_another_process_that_gives_other_bits_says_nothing_of_files():
    found = checked("peek/place")
    assert not not_held(found)
    verdict, reason = found["hidden files altered"]
    assert verdict == "inconclusive" and "another process gives other bits" in reason


def test_who_takes_no_step_is_given_more_and_then_nothing_can_be_said():
    found = checked("peek/late")
    assert not not_held(found) and found["hidden reward noise"][0] == "held"
    assert "2,000 gradient steps" in found["budget"][1]
    for found in (checked("peek/idle"), checked("peek/late", budget={"gradient_steps": 300})):
        assert not not_held(found)
        assert {found[name][0] for name in REWARDS} == {"inconclusive"}
        assert "took no step" in found["hidden reward noise"][1]


def test_budgets_are_respected():
    found = checked("peek/overspends", budget={"steps": 400})
    assert not_held(found) == {"budget"}
    assert "granted 200 steps" in found["budget"][1] and "BudgetExceeded" in found["budget"][1]


def test_nan_and_what_saving_loses():
    found = checked("peek/nan")
    assert not_held(found) == {"finite"} and "logged loss" in found["finite"][1]
    found = checked("peek/loses")
    assert not_held(found) == {"saving"} and "policy" in found["saving"][1]


@pytest.mark.parametrize(
    ("name", "verdict", "told"),
    [
        ("resumes", "held", "the same bits"),
        ("resumes-once", "held", "the same bits"),
        ("forgets", "did not hold", "policy"),
        ("anew", "did not hold", "begins anew"),
        ("keeps-none", "not applicable", "no checkpoint"),
    ],
)
def test_a_kill_at_a_checkpoint(name, verdict, told):
    found = checked(f"peek/{name}")
    assert found["going on after a kill"][0] == verdict
    assert told in found["going on after a kill"][1]
    assert not_held(found) <= {"going on after a kill"}


def test_every_track_that_is_declared_is_tried():
    found = checked("peek/fails-elsewhere")
    assert not_held(found) == {"gridworld, demonstrations"}
    assert "it was never tried here" in found["gridworld, demonstrations"][1]


def test_what_hangs_is_ended():
    _, checks = check_algorithm(Asked("peek/hangs", WALK, seconds=2.0, at_once=8))
    found = {check.name: (check.verdict, check.reason) for check in checks}
    assert found["fit"] == ("did not hold", "was not done after 2 s")


# --- What is asked for


def test_what_cannot_be_asked_for():
    for asked, error, told in [
        (Asked("nothing"), UnknownNameError, "unknown algorithm"),
        (Asked("peek/honest", "nothing"), UnknownNameError, "unknown task"),
        (Asked("peek/honest", "control/cartpole"), UnsupportedPairError, "runs in gridworld"),
        (Asked("peek/honest", WALK, track="preferences"), UnsupportedPairError, "preferences"),
        (Asked("peek/honest", track="preferences"), UnsupportedPairError, "no task"),
        (Asked("peek/honest", WALK, settings={"bc.saves": 1}), UsageError, "only peek/honest"),
        (Asked("peek/honest", WALK, settings={"peek/honest.x": 1}), UnknownNameError, "'x'"),
    ]:
        with pytest.raises(error, match=told):
            check_algorithm(asked)


def test_settings_reach_the_algorithm():
    found = checked("peek/environment", settings={"peek/environment.scale": "0.0"})
    assert not_held(found) == {"hidden reward NaN", "hidden reward unreadable"}


def test_the_easiest_task_comes_first():
    assert suitable(registry().algorithm("bc"))[0].id == ROOMS
    assert suitable(registry().algorithm("base"))[0].id == "text/arithmetic-v0"


# --- The built-in ones


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("bc", ROOMS),
        pytest.param("mce-irl", ROOMS, marks=pytest.mark.slow),
        pytest.param("survival", "control/cartpole-v0", marks=pytest.mark.slow),
    ],
)
def test_built_in_algorithms_hold(name, task, monkeypatch):
    # What else they can run on is tried by the command; it would load a language model here.
    monkeypatch.setattr("irlbench.checking.algorithm._elsewhere", lambda algorithm, here: ({}, {}))
    found = checked(name, task, budget={"steps": 2048, "gradient_steps": 100})
    assert {verdict for verdict, _ in found.values()} <= {"held", "not applicable"}
    assert found["hidden files altered"][0] == "held"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
@pytest.mark.parametrize("name", ["airl", "bc", "density", "gail", "sqil"])
@pytest.mark.parametrize("task", ["control/cartpole-v0", "control/hopper-v0"])
def test_the_peers_hold(name, task, monkeypatch):
    monkeypatch.setattr("irlbench.checking.algorithm._elsewhere", lambda algorithm, here: ({}, {}))
    found = checked(f"imitation/{name}", task)
    assert {n for n, (v, _) in found.items() if v == "not applicable"} == {"going on after a kill"}
    assert {verdict for verdict, _ in found.values()} == {"held", "not applicable"}
