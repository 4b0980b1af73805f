"""Trials that misbehave: a failed record with the cause, no orphan, the rest unharmed."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irlbench
from irlbench.errors import IrlbenchError
from irlbench.running import asked, limits
from irlbench.running.limits import Limits
from irlbench.running.store import Store

from .together import (  # noqa: TID252 - the tests are no package with a name
    GOOD,
    PLUGINS,
    TASK,
    Ran,
    orphans,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 2**20

#: Toy to the type of the error and a part of its message.
AT_ONCE = {
    "exits-0": ("ProcessDied", "the learner's process ended with exit code 0 before it had"),
    "exits-3": ("ProcessDied", "the learner's process ended with exit code 3 before it had"),
    "sys-exits": ("SystemExit", "enough"),
    "segfaults": ("ProcessDied", "signal 11 (SIGSEGV)"),
    "aborts": ("ProcessDied", "signal 6 (SIGABRT)"),
    "overflows-the-stack": ("ProcessDied", "signal 11 (SIGSEGV)"),
    "recurses": ("RecursionError", "maximum recursion depth"),
    "kills-itself": ("ProcessDied", "the learner's process was killed by signal 9 (SIGKILL)"),
    "kills-its-session": ("ProcessDied", "signal 9 (SIGKILL)"),
    "kills-its-evaluator": ("ProcessDied", "the evaluator's process was killed by signal 9"),
    "closes-everything": ("ProcessDied", "the learner's process ended with exit code 1"),
    "takes-the-numbers": ("ProcessDied", "the learner's process ended with exit code"),
    "raises-in-a-thread-and-waits": ("RuntimeError", "lost in a thread"),
    "raises-in-a-thread-and-goes-on": ("RuntimeError", "lost in a thread"),
    "raises-without-words": ("Wordless", "it cannot say what is wrong: ValueError"),
    "raises-unpicklable": ("Local", "cannot travel"),
    "raises-a-long-story": ("RuntimeError", "letters]"),
    "raises-in-a-circle": ("RuntimeError", "first"),
    "raises-from-an-unspeakable-place": ("ValueError", "invalid literal"),
    "raises-keyboard-interrupt": ("KeyboardInterrupt", ""),
    "raises-generator-exit": ("GeneratorExit", ""),
    "raises-a-base-exception": ("Base", "of its own kind"),
    "raises-out-of-memory": ("MemoryError", "Unable to allocate"),
    "returns-nothing-like-a-solution": ("AttributeError", "'str'"),
    "learns-nan": ("NotFiniteError", "the learnt reward"),
    "logs-the-unspeakable": ("UnicodeEncodeError", "surrogates not allowed"),
    "logs-far-ahead": ("ValueError", "below 2**63"),
    "deletes-its-folder-and-raises": ("RuntimeError", "where am I"),
    "moves-its-folder": ("RuntimeError", "where am I"),
    "sends-bytes": ("BadMessage", "the learner's process said what makes no sense"),
    "sends-text": ("BadMessage", "the learner's process said what makes no sense"),
    "sends-a-lie": ("BadMessage", "a message of kind 'evaluated'"),
    "claims-a-long-message": ("BadMessage", "a message of 1,152,921,504,606,846,976 bytes"),
    "dies-in-the-middle-of-a-message": ("ProcessDied", "signal 9"),
    "hands-in-the-unpicklable": ("AttributeError", "pickle"),
    "hands-in-and-hangs": ("RuntimeError", "lost in the evaluator"),
    "judging-dies": ("ProcessDied", "the evaluator's process was killed by signal 9"),
    "judging-exits": ("ProcessDied", "the evaluator's process ended with exit code 0"),
    "judging-raises": ("RuntimeError", "lost in the evaluator"),
    "judging-raises-in-a-thread": ("ZeroDivisionError", "division by zero"),
    "judging-is-nan": ("NotFiniteError", "return of an evaluated policy is nan"),
}
#: These do odd things, and finish.
HARMLESS = (
    "forks-and-both-return",
    "forks-and-the-child-returns-late",
    "forks-and-the-child-speaks",
    "leaves-a-child",
    "leaves-a-program",
    "leaves-a-daemon",
    "leaves-many",
    "leaves-a-thread",
    "logs-from-threads",
    "prints-much",
    "hands-in-much",
    "judging-leaves-a-child",
    "wanders-off",
    "deletes-its-folder",
    "spoils-its-log",
    "leaves-a-folder",
    "leaves-a-link",
)
HANGING = (
    "hangs",
    "hangs-deaf",
    "stops-itself",
    "spins",
    "hangs-with-family",
    "sends-half-a-message",
    "judging-hangs",
)
EATING = ("eats-quickly", "eats-in-children")
EATING_TOO = ("eats-slowly", "eats-in-a-daemon", "judging-eats")
SATED = ("claims-much", "shares-memory")
PRINTING = ("prints-to-stdout", "prints-in-a-program", "prints-and-ends")
PRINTING_TOO = ("prints-to-stderr", "writes-to-stdout", "judging-prints")

#: Toys that run together, among good ones, and with what arguments.
TOGETHER: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "at once": (list(AT_ONCE), {"jobs": 3}),
    "harmless": (HARMLESS, {"jobs": 3}),
    "hanging": (HANGING, {"jobs": 11, "timeout": 8.0}),
    "eating": ((*EATING, *SATED), {"jobs": 3, "memory": 600e6}),
    "eating too": (EATING_TOO, {"jobs": 3, "memory": 600e6}),
    "printing": (PRINTING, {"jobs": 2}),
    "printing too": (PRINTING_TOO, {"jobs": 2}),
}
SLOW = ("eating too", "printing too")


def toys(*groups: str) -> list[Any]:
    """For `parametrize`: each group, slow or not, and its toys if they have something in common."""
    found = []
    for group in groups:
        marks = [pytest.mark.slow] if group in SLOW else []
        names = [name for name in TOGETHER[group][0] if name not in SATED]
        found += [pytest.param(group, name, marks=marks) for name in names]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The good ones' content hashes where nobody misbehaves."""
    return Ran(tmp_path_factory.mktemp("alone"), ()).good


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Runs a group of toys, once."""

    @cache
    def run(group: str) -> Ran:
        names, more = TOGETHER[group]
        return Ran(tmp_path_factory.mktemp(group.replace(" ", "-")), names, **more)

    return run


Together = Callable[[str], Ran]


@pytest.mark.parametrize(
    "group",
    [pytest.param(g, marks=[pytest.mark.slow] if g in SLOW else []) for g in TOGETHER],
)
def test_the_rest_is_unharmed_and_nothing_lives_on(
    group: str, together: Together, alone: dict[str, str]
) -> None:
    any_run = together(group)
    assert any_run.good == alone
    assert len(alone) == len(GOOD)
    assert any_run.left == {}
    assert any_run.summary.done + any_run.summary.failed == any_run.planned
    assert len(any_run.records) == any_run.planned
    assert not list((any_run.out / "working").iterdir())
    for record in any_run.records.values():
        any_run.store.check(record)
        text = (any_run.store.folder(record.trial) / "record.json").read_text()
        assert str(any_run.folder) not in text.replace(json_of(record.spec), "")


def json_of(spec: Any) -> str:
    """The part of a record that holds what the user has set, the folder among it."""
    import json

    return json.dumps(spec, indent=1, ensure_ascii=False).replace("\n", "\n ")


@pytest.mark.parametrize(("group", "toy"), toys("at once"))
def test_a_failed_record_tells_the_cause(group: str, toy: str, together: Together) -> None:
    error, (kind, part) = together(group).error(toy), AT_ONCE[toy]
    assert error["type"] == kind
    assert part in error["message"]
    assert len(error["message"]) < 20_000
    assert len(error["traceback"]) < 200_000


def test_a_crash_leaves_the_place_in_the_log(together: Together) -> None:
    at_once = together("at once")
    assert "Fatal Python error: Segmentation fault" in at_once.log("segfaults")
    assert "in segfaults" in at_once.log("segfaults")
    assert "Fatal Python error: Aborted" in at_once.log("aborts")
    assert "in recurses" in at_once.error("recurses")["traceback"]
    assert "  ...\n" in at_once.error("recurses")["traceback"], "and not a thousand frames"
    assert "in work" in at_once.error("raises-in-a-thread-and-waits")["traceback"]


@pytest.mark.parametrize(("group", "toy"), toys("harmless"))
def test_odd_things_that_break_nothing(group: str, toy: str, together: Together) -> None:
    harmless = together(group)
    record = harmless.records[toy]
    assert record.status == "done", record.error
    assert record.scores["return"] == pytest.approx(5.0), "another policy than the learner's"
    if record.verifiable:
        policy: Any = irlbench.load_trial(harmless.out, record.trial).policy
        np.testing.assert_array_equal(policy.probabilities, 0.5)
    files = {p.name for p in harmless.store.folder(record.trial).iterdir()}
    assert files == {*record.files, "record.json"}


def test_what_a_trial_has_forked_does_not_speak_for_it(together: Together) -> None:
    harmless = together("harmless")
    refused = list((harmless.folder / "forks-and-the-child-speaks").glob("refused-*"))
    assert len(refused) == 2
    assert all("cannot log, save or finish in its place" in p.read_text() for p in refused)
    curve = harmless.store.curve(harmless.records["forks-and-the-child-speaks"].trial)
    assert curve.filter(curve["name"] == "loss")["value"].to_list() == [1.0]
    assert curve.filter(curve["name"] == "return")["value"].to_list() == pytest.approx([5.0])


def test_threads_may_log_side_by_side(together: Together) -> None:
    harmless = together("harmless")
    curve = harmless.store.curve(harmless.records["logs-from-threads"].trial)
    assert curve.height == 8 * 200
    for _, rows in curve.group_by("name"):
        assert rows["value"].to_list() == list(map(float, range(200)))


@pytest.mark.parametrize(("group", "toy"), toys("hanging"))
def test_what_hangs_is_ended(group: str, toy: str, together: Together) -> None:
    error = together(group).error(toy)
    assert error["type"] == "Timeout"
    assert "longer than the 8 s" in error["message"]


@pytest.mark.parametrize(("group", "toy"), toys("eating", "eating too"))
def test_who_eats_too_much_memory_is_ended(group: str, toy: str, together: Together) -> None:
    error = together(group).error(toy)
    assert error["type"] == "MemoryLimit"
    assert "more than the 0.56 GiB it was given" in error["message"]


@pytest.mark.parametrize("toy", SATED)
def test_memory_counts_where_it_is_used_and_once(toy: str, together: Together) -> None:
    record = together("eating").records[toy]
    assert record.status == "done", record.error


@pytest.mark.parametrize(("group", "toy"), toys("printing", "printing too"))
def test_who_prints_a_gigabyte_is_ended_and_both_ends_are_kept(
    group: str, toy: str, together: Together
) -> None:
    printing = together(group)
    error = printing.error(toy)
    assert error["type"] == "OutputLimit"
    assert "more than the 100 MiB it may" in error["message"]
    size = (printing.store.folder(printing.records[toy].trial) / "log.txt").stat().st_size
    assert size < 2 * MIB + 200
    assert "bytes left out ...]" in printing.log(toy)
    if toy == "prints-and-ends":
        assert printing.log(toy).startswith("first\n")
        assert "\nlast\n" in printing.log(toy)


def test_a_long_log_is_shortened(together: Together) -> None:
    harmless = together("harmless")
    log = harmless.log("prints-much")
    assert log.startswith("first\n")
    assert log.endswith("\nlast\n")
    left_out = 20 * MIB + len("first\n\nlast\n") - 2 * MIB
    assert f"\n[... {left_out:,} bytes left out ...]\n" in log
    assert len(log) < 2 * MIB + 100


def test_the_machine_itself_is_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: dict[str, str]
) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 700_000_000)
    ran = Ran(tmp_path, ["eats-slowly"], jobs=2)
    assert ran.error("eats-slowly")["type"] == "MemoryLimit"
    assert "more than the 0.59 GiB" in ran.error("eats-slowly")["message"]
    assert ran.good == alone
    assert ran.left == {}


def test_who_logs_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(Limits(), values=20_000)
    monkeypatch.setattr(asked, "Limits", lambda **given: dataclasses.replace(few, **given))
    ran = Ran(tmp_path, ["logs-without-end"], GOOD[:1], jobs=2)
    assert ran.error("logs-without-end")["type"] == "OutputLimit"
    assert "logged more than the 20,000 values it may" in ran.error("logs-without-end")["message"]
    assert ran.left == {}


@pytest.mark.slow
def test_a_child_that_lets_go_of_everything_does_not_hold_up_the_run(tmp_path: Path) -> None:
    ran = Ran(tmp_path, ["closes-everything-and-hangs"], GOOD[:1], jobs=2)
    assert "does not answer any more" in ran.error("closes-everything-and-hangs")["message"]
    assert ran.summary.done == 1
    assert ran.left == {}


def test_a_killed_fork_server_is_replaced(tmp_path: Path, alone: dict[str, str]) -> None:
    ran = Ran(tmp_path, ["kills-the-fork-server"], (), jobs=1)
    assert ran.error("kills-the-fork-server")["type"] == "ProcessDied"
    again = Ran(tmp_path / "again", (), GOOD, jobs=2)
    assert again.good == alone
    assert ran.left == again.left == {}


# --- evaluators and preparation

TASKS = {
    "exits-at-first": ("ProcessDied", "the evaluator's process ended with exit code 0"),
    "no-score": ("IrlbenchError", "gave no 'return'"),
    "text-score": ("ValueError", "could not convert"),
    "huge-score": ("OverflowError", "too large"),
    "nested-samples": ("DataError", "is nested deeper than 64 levels"),
    "large-samples": ("DataError", "larger than 16 MiB"),
    "odd-samples": ("DataError", "is no list of objects"),
    "unspeakable-samples": ("UnicodeEncodeError", "surrogates not allowed"),
}


@pytest.fixture(scope="module")
def judged_badly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Any]]:
    """One trial each of tasks whose evaluators misbehave."""
    out = tmp_path_factory.mktemp("judged-badly") / "out"
    irlbench.run(
        [f"gridworld/{name}" for name in TASKS],
        algorithms=["bad/hands-in-much"],
        plugins=PLUGINS,
        seeds=1,
        jobs=2,
        out=out,
    )
    assert orphans(out) == {}
    store = Store(out)
    return store, {r.spec["task"]: r for r in store.records()}


@pytest.mark.parametrize("task", TASKS)
def test_evaluators_that_misbehave(judged_badly: tuple[Store, dict[str, Any]], task: str) -> None:
    store, records = judged_badly
    record = records[f"gridworld/{task}-v0"]
    assert record.failed
    assert record.error["type"] == TASKS[task][0]
    assert TASKS[task][1] in record.error["message"]
    store.check(record)


def test_an_evaluator_that_never_listens_does_not_hold_up_the_driver(tmp_path: Path) -> None:
    """It is sent more than a pipe holds, and takes none of it."""
    began = time.monotonic()
    summary = irlbench.run(
        "gridworld/hangs-at-first",
        algorithms=["bad/hands-in-much"],
        plugins=PLUGINS,
        seeds=1,
        timeout=2.0,
        out=tmp_path / "out",
    )
    assert "Timeout" in summary.failures[0][1]
    assert time.monotonic() - began < 30
    assert orphans(tmp_path) == {}


def test_preparation_that_dies_is_noticed_though_its_child_lives(tmp_path: Path) -> None:
    irlbench.run(TASK, algorithms=GOOD[:1], plugins=PLUGINS, seeds=1, out=tmp_path / "first")
    began = time.monotonic()
    with pytest.raises(IrlbenchError, match=r"preparing gridworld/unprepared-v0: .* exit code 9"):
        irlbench.run(
            "gridworld/unprepared", algorithms=GOOD[:1], data=tmp_path, out=tmp_path / "out"
        )
    assert time.monotonic() - began < 30
    assert orphans(tmp_path) == {}
