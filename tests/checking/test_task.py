"""`irlbench check TASK`: what is wrong with a task is found, and the built-in ones hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from irlbench.checking.task import check_task
from irlbench.errors import UsageError
from irlbench.registry import registry
from irlbench.task import TaskOptions


@pytest.fixture(autouse=True, scope="module")
def plugin():
    registry().load_plugin(Path(__file__).with_name("bad_tasks.py"))


def checked(name, **options):
    """Check name to verdict and reason."""
    checks = check_task(registry().task(name), TaskOptions(**options), 100.0)
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: (check.verdict, check.reason) for check in checks}


def test_a_task_that_keeps_the_contract():
    found = checked("gridworld/fine")
    assert {name for name, (verdict, _) in found.items() if verdict == "not applicable"} == {
        "rows of a batch",
        "preferences",
    }
    assert {verdict for verdict, _ in found.values()} == {"held", "not applicable"}
    assert len(found) == 10


@pytest.mark.parametrize(
    ("name", "check", "told"),
    [
        ("leaking", "hidden reward", "safe_info declares reward_of_step safe"),
        ("paying", "hidden reward", "a learner is paid [1.0, 1.0, 1.0, 1.0]"),
        ("goaded", "hidden reward", "depends on the reward"),
        ("misfitting", "demonstrations", "is not in Discrete(16)"),
        ("deaf", "demonstrations", "seeds 1 and 2 draw the same"),
        ("fickle", "demonstrations", "draws other ones the second time"),
        ("capricious", "preferences", "draws other ones the second time"),
        ("drifting", "evaluation", "the second time return came out otherwise"),
        ("wordless", "evaluation", "no return, which is the primary score"),
        ("restless", "hash", "in another process"),
        ("upside-down", "references", "return of random 1, of expert 0.5: the anchors are not"),
        ("unmeasured", "references", "random or expert has no frozen return"),
        ("generous", "supplies", "unknown resources: answers"),
        ("no-environment", "environments", "irlbench-tests"),
    ],
)
def test_what_is_wrong_is_found(name, check, told):
    found = checked(f"gridworld/{name}")
    also = {"refusals"} if name == "paying" else set()  # it hands out what was not declared
    wrong = {n for n, (verdict, _) in found.items() if verdict == "did not hold"}
    assert wrong == {check} | also
    assert told in found[check][1]


def test_what_a_task_must_refuse():
    verdict, reason = checked("gridworld/yielding")["refusals"]
    assert verdict == "did not hold"
    for what in ("--data", "--demos", "--model", "steps beyond the budget"):
        assert f"{what} irlbench-check-no-such-thing: not refused" in reason or (
            f"{what}: not refused" in reason
        )


def test_a_task_that_needs_data_says_so():
    with pytest.raises(UsageError, match="text/gsm8k-v0 needs --data"):
        checked("text/gsm8k")


def test_a_gridworld_holds():
    assert {verdict for verdict, _ in checked("gridworld/risky-path").values()} == {"held"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["control/cartpole", "control/hopper", "text/arithmetic"])
def test_the_other_worlds_hold(name):
    found = checked(name)
    assert {verdict for verdict, _ in found.values()} <= {"held", "not applicable"}
