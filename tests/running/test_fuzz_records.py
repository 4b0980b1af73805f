"""Records from strangers: read, or refused in words; nothing that reads records fails on them."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import strategies as st

from irlbench.cli import main
from irlbench.errors import DataError, UsageError
from irlbench.policies.table import TablePolicy
from irlbench.policy import save_policy
from irlbench.reporting import report
from irlbench.reporting.trials import collect
from irlbench.reward import save_reward
from irlbench.rewards.table import TableReward
from irlbench.running import estimates
from irlbench.running.claims import Claim
from irlbench.running.reading import load_results, load_trial
from irlbench.running.record import Record
from irlbench.running.record_form import FIELDS, PARTS
from irlbench.running.store import Store
from irlbench.running.trial import TrialSpec
from irlbench.serialisation import read_json, sha256_file, sha256_json

CASES = [30, pytest.param(1000, marks=pytest.mark.slow)]


def spec(seed: int = 0) -> TrialSpec:
    return TrialSpec(
        task="gridworld/toy-v0",
        task_hash="a" * 64,
        algorithm="toy/good",
        algorithm_version=1,
        plugin_hash="b" * 64,
        config={"strength": 1.0, "hidden": [64, 64]},
        budget={"steps": 100, "gradient_steps": None, "seconds": 1.5},
        track="demonstrations",
        demonstrations=2,
        preferences=None,
        seed=seed,
        demos=None,
        given={"data": "c" * 64},
        model=None,
        device="cpu",
        threads=1,
        solvers={"ppo": {"version": 1, "config": {}, "plugin_hash": None}},
        changed={"strength": 1.0},
    )


def publish(out: Path, seed: int = 0, *, failed: bool = False) -> Record:
    """A record with everything in it that a record may hold."""
    trial = spec(seed)
    store = Store(out)
    store.open_for_writing()
    claim = store.claim(trial.id, resumable=False)
    assert isinstance(claim, Claim)
    (claim.folder / "log.txt").write_text("printed\n")
    if not failed:
        save_policy(TablePolicy(np.zeros((3, 2))), claim.folder)
        save_reward(TableReward(np.zeros(3)), claim.folder)
    record = Record(
        trial=trial.id,
        status="failed" if failed else "done",
        spec=trial.to_json(),
        world="gridworld",
        environment="irlbench/Toy-v0",
        primary={"name": "return", "higher_is_better": True, "low": "random", "high": "expert"},
        references={"random": {"return": 0.0}, "expert": {"return": 10.0, "return_error": 0.5}},
        scores={} if failed else {"return": 7.5, "length": 5.0},
        best=None if failed else {"step": 10, "scores": {"return": 8.0}},
        episodes={} if failed else {"return": [7.0, 8.0]},
        samples=[] if failed else [{"prompt": "1+1", "completion": "2", "reward": 1.0}],
        verifiable=not failed,
        has_reward=not failed,
        costs={"steps": 0, "gradient_steps": 5, "seconds": 0.5, "evaluation_seconds": 0.1},
        error={"type": "ValueError", "message": "no", "traceback": "..."} if failed else None,
        versions={"numpy": "2.4"},
        irlbench={"version": "0.1.0", "commit": "d" * 40, "dirty": False},
        hardware={"processor": "Some Processor", "device": "cpu"},
        data={"built": {"demonstrations": "e" * 64}},
    )
    curve = [(i, i / 10, kind, "return", i / 4) for i in (5, 10) for kind in ("log", "validation")]
    sealed = store.publish(record, curve, claim)
    assert sealed is not None
    return sealed


def seal(value: dict) -> dict:
    """The hash that a forger would put in; left alone where there can be none."""
    try:
        return {**value, "integrity": sha256_json({**value, "integrity": ""})}
    except (ValueError, RecursionError):
        return value


def plant(out: Path, value: dict, model: Path) -> None:
    """Puts a forged record where its id says, with the files of another beside it."""
    name = value.get("trial")
    fits = isinstance(name, str) and len(name) == 64 and name.isalnum() and name.isascii()
    folder = out / "trials" / (name if fits else model.name)
    folder.mkdir(exist_ok=True)
    for file in model.iterdir():
        shutil.copy(file, folder)
    (folder / "record.json").write_text(json.dumps(value))


def _ids(out: Path) -> list[str]:
    return Store(out).ids()


@pytest.fixture
def originals(tmp_path):
    """The content of a done and a failed record, and a folder with their files."""
    made = [publish(tmp_path / "model", 1), publish(tmp_path / "model", 2, failed=True)]
    store = Store(tmp_path / "model")
    return [read_json(store.folder(r.trial) / "record.json") for r in made], store


def test_the_forms_cover_every_field():
    import dataclasses

    names = [f.name for f in dataclasses.fields(Record)]
    assert list(FIELDS) == ["schema", *names]
    assert set(PARTS["spec"]) == {f.name for f in dataclasses.fields(TrialSpec)}


@pytest.mark.parametrize("cases", CASES)
def test_a_damaged_file_is_refused_or_says_the_same(fuzz, damaged, originals, cases):
    """What a disk or a transfer does to `record.json`."""
    (value, _), store = originals
    record = store.read(value["trial"])
    path = store.folder(record.trial) / "record.json"
    raw = path.read_bytes()

    def check(data):
        path.write_bytes(damaged(data, raw))
        try:
            found = store.read(record.trial)
        except DataError:
            return
        assert found == record

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_any_other_file_of_a_record_that_was_damaged_is_noticed(fuzz, damaged, originals, cases):
    (value, _), store = originals
    record = store.read(value["trial"])
    raw = {name: (store.folder(record.trial) / name).read_bytes() for name in record.files}

    def check(data):
        name = data.draw(st.sampled_from(sorted(raw)))
        changed = damaged(data, raw[name])
        path = store.folder(record.trial) / name
        path.write_bytes(changed)
        found = store.published(record.trial)
        path.write_bytes(raw[name])
        assert found is not None
        assert (found.damage is None) == (changed == raw[name])

    fuzz(cases, check)


@pytest.mark.parametrize("cases", CASES)
def test_a_forged_record_is_refused_or_harmless(
    fuzz, altered, originals, cases, tmp_path, capsys, monkeypatch
):
    """Anything may stand anywhere in it, and its hash is right."""
    monkeypatch.chdir(tmp_path)
    values, store = originals
    good = publish(tmp_path / "good")
    seen = []

    def check(data):
        original = data.draw(st.sampled_from(values))
        forged = seal(altered(data, original))
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "good", out)
        plant(out, forged, store.folder(original["trial"]))
        found = collect([out])
        assert len(found.trials) + len(found.unreadable) == len(_ids(out))
        assert estimates.estimate([spec(9)], set(), set(), out=out, jobs=2).to_run == 1
        assert main(["status", *data.draw(st.sampled_from([[], ["-v"]])), "out"]) in (0, 1)
        for trial in _ids(out):
            try:
                load_trial(out, trial)
            except UsageError:
                assert trial != good.trial
        if not found.unreadable:
            seen.append(forged)
            assert report([out]).trials == len(_ids(out)) == len(load_results(out))
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        assert "\x1b" not in told.out + told.err

    fuzz(cases, check)
    assert len(seen) > cases / 20, "hardly any was read: the test looks at nothing"


def _with(value: dict, place: str, item: object) -> dict:
    """A copy with one field, at a dotted place, set to something else, sealed."""
    changed = copy.deepcopy(value)
    *above, last = place.split("/")
    holder = changed
    for name in above:
        holder = holder[name]
    holder[last] = item
    return seal(changed)


@pytest.mark.parametrize(
    ("place", "item", "told"),
    [
        ("status", "x", "field 'status': is no 'done' or 'failed': 'x'"),
        ("status", ["done"], "field 'status'"),
        ("trial", "../../../x", "field 'trial': is no SHA-256"),
        ("trial", "A" * 64, "field 'trial'"),
        ("primary", {"low": "random"}, "field 'primary': lacks name, higher_is_better, high"),
        ("primary/higher_is_better", 1, "field 'primary.higher_is_better': is no truth value: 1"),
        ("references", [], "field 'references'"),
        ("references/expert", {"return": "10"}, "field 'references'"),
        ("references/expert/return", None, "field 'references'"),
        ("scores/return", "7.5", "field 'scores': is no object of numbers"),
        ("scores/return", True, "field 'scores'"),
        ("scores/return", 10**400, "field 'scores'"),
        ("scores/return", float("nan"), "no record may hold"),
        ("scores/return", float("inf"), "no record may hold"),
        ("episodes/return", [1.0, "2"], "field 'episodes'"),
        ("episodes/return", [1.0, 10**400], "field 'episodes'"),
        ("samples", ["text"], "field 'samples'"),
        ("best/step", -1, "field 'best.step'"),
        ("best", {"step": 1}, "field 'best': lacks scores"),
        ("costs/seconds", -0.5, "field 'costs'"),
        ("costs/steps", "many", "field 'costs'"),
        ("curve_points", 2.5, "field 'curve_points'"),
        ("curve_points", 2**63, "field 'curve_points'"),
        ("verifiable", None, "field 'verifiable'"),
        ("error", {"type": "x"}, "field 'error': lacks message, traceback"),
        ("versions/numpy", 2, "field 'versions'"),
        ("data/built", "x", "field 'data'"),
        ("spec/seed", "0", "field 'spec.seed': is no whole number"),
        ("spec/seed", True, "field 'spec.seed'"),
        ("spec/threads", 2**63, "field 'spec.threads'"),
        ("spec/budget", {}, "field 'spec.budget': lacks steps"),
        ("spec/budget/seconds", -1, "field 'spec.budget.seconds'"),
        ("spec/config", None, "field 'spec.config'"),
        ("spec/changed", [], "field 'spec.changed'"),
        ("spec/more", 1, "field 'spec': has unknown 'more'"),
        ("more", 1, "has unknown 'more'"),
        ("world", 5, "field 'world'"),
        ("files/..", "f" * 64, "field 'files': is no object of plain file names"),
        ("files", {"policy./../../x": "f" * 64}, "field 'files'"),
        ("files", {"/etc/passwd": "f" * 64}, "field 'files'"),
        ("files", {"policy.json": "x"}, "field 'files'"),
        ("files", {"log.txt": "f" * 64}, "has verifiable set, but no hash of policy.json"),
        ("error", {"type": "x", "message": "y", "traceback": "z"}, "has status 'done', but error"),
        ("content_hash", "\ud800", "no record may hold"),
        ("integrity", "f" * 64, "changed or damaged"),
    ],
)
def test_what_is_wrong_is_named_though_the_hash_is_right(originals, place, item, told):
    (value, _), _ = originals
    changed = _with(value, place.replace("..", "\0"), item) if place != "files/.." else None
    if changed is None:
        changed = seal({**value, "files": {**value["files"], "..": item}})
    if place == "integrity":
        changed["integrity"] = item
    with pytest.raises(DataError) as caught:
        Record.from_json(changed)
    assert told in str(caught.value)


def test_a_failed_record_without_an_error_is_refused(originals):
    (_, failed), _ = originals
    with pytest.raises(DataError, match="has status 'failed', but error None"):
        Record.from_json(seal({**failed, "error": None}))


# --- files that are none, or lead elsewhere


def _swap(kind: str, path: Path, aside: Path) -> None:
    shutil.move(path, aside)
    if kind == "link":
        path.symlink_to(aside)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "hole":
        with path.open("wb") as stream:
            stream.truncate(2**40)
    elif kind == "own link":
        path.symlink_to(path.name)


KINDS = ["missing", "link", "pipe", "folder", "device", "hole", "own link"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["record.json", "policy.json", "policy.safetensors", "log.txt"])
def test_what_is_no_file_of_the_record_is_refused_at_once(tmp_path, originals, kind, name):
    (value, _), store = originals
    _swap(kind, store.folder(value["trial"]) / name, tmp_path / "aside")
    found = store.published(value["trial"])
    assert found is not None and found.damage is not None and name in found.damage
    with pytest.raises(DataError):
        load_trial(store.out, value["trial"])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_a_curve_that_is_no_file_is_left_out_of_the_report(tmp_path, originals, kind):
    (value, _), store = originals
    _swap(kind, store.folder(value["trial"]) / "curve.parquet", tmp_path / "aside")
    summary = report([store.out], tmp_path / "report")
    (note,) = summary.notes
    assert "curve" in note and value["trial"][:12] in note
    with pytest.raises(DataError):
        load_trial(store.out, value["trial"])


def test_no_page_leads_to_a_log_that_is_a_link(tmp_path, originals):
    (_, failed), store = originals
    _swap("link", store.folder(failed["trial"]) / "log.txt", tmp_path / "aside")
    board = report([store.out], tmp_path / "report").board
    assert [failure.log for failure in board.failures] == [None]


@pytest.mark.parametrize("place", ["report", "report/figures"])
def test_a_report_follows_no_link_out_of_the_directory(tmp_path, originals, place):
    _, store = originals
    (tmp_path / "mine").mkdir()
    (store.out / place).parent.mkdir(exist_ok=True)
    (store.out / place).symlink_to(tmp_path / "mine", target_is_directory=True)
    with pytest.raises(UsageError, match=r"is a link.*--out"):
        report([store.out])
    assert not list((tmp_path / "mine").iterdir())


def test_a_report_writes_through_no_link_that_waits_for_it(tmp_path, originals):
    _, store = originals
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (store.out / "report").mkdir()
    for name in (f".index.html.{os.getpid()}", "leaderboard.md"):
        (store.out / "report" / name).symlink_to(victim)
    with pytest.raises(UsageError, match="cannot write the report"):
        report([store.out])
    assert victim.read_text() == "mine"


# --- memory

MEMORY = """
    import resource, sys
    from pathlib import Path
    import polars, pyarrow.parquet  # what they take themselves does not count
    import irlbench.reporting
    from irlbench.errors import DataError
    from irlbench.running.record import Record
    from irlbench.serialisation import read_json
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {more}, used + {more}))
    try:
        {code}
    except DataError as error:
        print("refused", str(error)[:200])
"""


def limited(code: str, more: int) -> str:
    """What code prints in a process that may take so many bytes more."""
    text = textwrap.dedent(MEMORY).format(code=code, more=more)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    "bomb",
    [
        '{"a":' * 100_000,
        "[" * 16_000_000,
        "[" + "[]," * 5_500_000 + "[]]",
        "[" + '{"":0},' * 2_300_000 + "{}]",
        '{"schema":1,"scores":{' + ",".join(f'"{i}":0' for i in range(1_000_000)) + "}}",
        "9" * 16_000_000,
        "1" + "e" + "9" * 1_000_000,
        '"' + "\\u0000" * 2_700_000 + '"',
    ],
    ids=range(8),
)
def test_a_record_of_the_largest_size_takes_memory_in_proportion(tmp_path, bomb):
    path = tmp_path / "record.json"
    path.write_text(bomb)
    assert path.stat().st_size <= 16 * 2**20
    code = f"print(Record.from_json(read_json(Path({str(path)!r}))))"
    assert limited(code, 2**30).startswith("refused")


def test_a_larger_record_is_not_even_read(tmp_path):
    path = tmp_path / "record.json"
    with path.open("wb") as stream:
        stream.write(b"[" + b" " * 2**26)
    assert "larger than 16 MiB" in limited(f"read_json(Path({str(path)!r}))", 2**25)


def test_polars_reads_a_curve_as_it_was_written(originals):
    (value, _), store = originals
    path = store.folder(value["trial"]) / "curve.parquet"
    assert store.curve(value["trial"], value["curve_points"]).equals(polars.read_parquet(path))
    assert sha256_file(path) == value["files"]["curve.parquet"]
