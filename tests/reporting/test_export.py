"""An export says what the trials say: the same leaderboard, the same page, the same table."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import polars
import pytest

import irlbench
from irlbench.cli import main
from irlbench.errors import DataError, UsageError
from irlbench.reporting import report
from irlbench.reporting.export import export
from irlbench.reporting.trials import collect
from irlbench.running.record_table import RecordTable, open_results
from irlbench.running.store import Store

GOLDEN = Path(__file__).parents[1] / "running" / "golden"
GRID = "gridworld/four-rooms-v0"
FILES = ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "index.html")


@pytest.fixture
def run(tmp_path, record, published):
    """A directory of trials with curves, one of them failed, and with metrics."""
    out = tmp_path / "run"
    points = [(step, step / 200) for step in range(200)]
    for seed in range(3):
        published(out, record(GRID, "bc", seed, 0.9 + seed / 100), points[: 50 + seed])
        found = dataclasses.replace(record(GRID, "gail", seed), metrics={"epic": 0.1 + seed / 7})
        published(out, found, points)
    published(out, record(GRID, "airl", 0, None))
    return out


def texts(folder):
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}


def test_the_report_of_an_export_is_that_of_the_trials(run, tmp_path):
    summary = export([run], tmp_path / "exported" / "run")
    assert summary.trials == 7 and summary.notes == ()
    report([run], tmp_path / "first")
    found = report([tmp_path / "exported" / "run"], tmp_path / "second")
    assert found.notes == ()
    before, after = texts(tmp_path / "first"), texts(tmp_path / "second")
    # But for the log of the failed trial, which is not exported.
    (failed,) = [t for t in collect([run]).trials if t.failed]
    log = f'"log": "trials/{failed.id}/log.txt"'
    assert log in before["leaderboard.json"]
    before["leaderboard.json"] = before["leaderboard.json"].replace(log, '"log": null')
    for name in ("leaderboard.csv", "leaderboard.json"):
        assert after[name] == before[name]
    assert after["leaderboard.md"] == before["leaderboard.md"].replace(
        f"; log: run/trials/{failed.id}/log.txt", ""
    )
    figures = [text["index.html"].split("Failed trials")[0] for text in (before, after)]
    assert figures[0] == figures[1] and "Learning curve of gail" in figures[1]


def test_an_export_grows_in_its_place(run, tmp_path, record, published):
    """As results do that are committed while trials go on, and after the trials are gone."""
    out = tmp_path / "out"
    export([run], out)
    first, later = list(open_results(out).records()), tmp_path / "later"
    published(later, record(GRID, "gail", 7, 0.3), [(step, 0.3) for step in range(100)])
    assert export([later, out], out).trials == 8
    records = list(open_results(out).records())
    assert len(records) == 8 and all(found in records for found in first)
    kept = {trial.id: trial.curve().num_rows for trial in collect([out]).trials}
    assert min(kept[r.trial] for r in records if not r.failed) >= 50
    content = {name: (out / name).read_bytes() for name in ("records.parquet", "curves.parquet")}
    assert export([later, out], out).trials == 8
    assert content == {name: (out / name).read_bytes() for name in content}


def test_every_record_comes_back_as_it_was(run, tmp_path):
    export([run], tmp_path / "out")
    table = open_results(tmp_path / "out")
    assert isinstance(table, RecordTable)
    assert list(table.records()) == list(Store(run).records())
    again = irlbench.load_results(tmp_path / "out")
    assert again.equals(irlbench.load_results(run)) and again["metric.epic"].count() == 3
    first = table.ids()[0]
    loaded = irlbench.load_trial(tmp_path / "out", first[:10])
    assert loaded.record.trial == first and loaded.policy is None
    with pytest.raises(UsageError, match=r"no trials of .* begin with 'x'"):
        irlbench.load_trial(tmp_path / "out", "x")


def test_records_of_every_schema_are_exported(tmp_path):
    folders = sorted(GOLDEN.glob("schema-*"))
    export(folders, tmp_path / "out")
    found = {record.trial: record for record in open_results(tmp_path / "out").records()}
    assert found == {r.trial: r for folder in folders for r in Store(folder).records()}


def test_curves_keep_their_ends_and_some_points_between(run, tmp_path):
    export([run], tmp_path / "out")
    (trial,) = [
        t.id for t in collect([run]).trials if (t.spec["algorithm"], t.spec["seed"]) == ("gail", 0)
    ]
    whole = irlbench.load_trial(run, trial).curve
    thin = irlbench.load_trial(tmp_path / "out", trial).curve
    assert thin.columns == whole.columns and thin.schema == whole.schema
    assert thin.drop("seconds").join(whole, on=["step", "kind", "name", "value"]).height == len(
        thin
    )
    sizes = {}
    for (kind, name), part in thin.group_by("kind", "name"):
        steps = part["step"].to_list()
        assert steps == sorted(steps) and (steps[0], steps[-1]) == (0, 199)
        sizes[kind, name] = len(steps)
    assert sizes == {
        ("validation", "return"): 60,
        ("validation", "length"): 10,
        ("log", "loss"): 10,
    }


def test_people_read_it_with_what_reads_parquet(run, tmp_path):
    export([run], tmp_path / "out")
    frame = polars.read_parquet(tmp_path / "out" / "records.parquet")
    assert frame.height == 7 and frame["has_reward"].dtype == polars.Boolean
    tasks = frame["spec"].str.json_path_match("$.task").unique().to_list()
    assert tasks == [GRID]
    assert polars.read_parquet(tmp_path / "out" / "curves.parquet")["trial"].n_unique() == 6


def test_an_export_of_exports_is_the_same_bytes(run, tmp_path):
    export([run], tmp_path / "once")
    export([tmp_path / "once", run], tmp_path / "twice")
    for name in ("records.parquet", "curves.parquet"):
        once, twice = ((tmp_path / out / name).read_bytes() for out in ("once", "twice"))
        assert once == twice


def test_an_export_may_be_made_again_beside_its_report(run, tmp_path):
    out = tmp_path / "results"
    export([run], out)
    report([out], out)
    shutil.rmtree(next(p for p in (run / "trials").iterdir() if p.is_dir()))
    assert export([run], out).trials == 6
    assert len(open_results(out).ids()) == 6


def test_nothing_is_left_out_silently(run, tmp_path):
    victim = next((run / "trials").iterdir()) / "record.json"
    victim.write_text("{}")
    with pytest.raises(DataError, match=r"1 unreadable: run: .*names no schema"):
        export([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_curve_that_was_changed_is_not_exported(run, tmp_path):
    (trial,) = [
        t for t in collect([run]).trials if (t.spec["algorithm"], t.spec["seed"]) == ("gail", 0)
    ]
    (trial.folder / "curve.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="changed or damaged"):
        export([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_trials_or_other_files_are_nothing_is_exported(run, tmp_path):
    with pytest.raises(UsageError, match="holds trials or other files"):
        export([run], run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds trials or other files"):
        export([run], tmp_path / "other")


def test_no_run_writes_into_an_export(run, tmp_path):
    export([run], tmp_path / "out")
    with pytest.raises(UsageError, match="holds exported records: name another --out"):
        Store(tmp_path / "out").open_for_writing()
    shutil.copytree(run / "trials", tmp_path / "out" / "trials")
    with pytest.raises(UsageError, match=r"holds trials and records\.parquet"):
        open_results(tmp_path / "out")


def test_the_command_says_what_it_wrote(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(run), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "7 trials in" in said and "records.parquet" in said and "kB" in said
    assert main(["status", str(out)]) == 0
    assert "6 trials done, 1 failed" in capsys.readouterr().out
    assert main(["export", str(run), "--out", str(run)]) == 2
    assert main(["export", str(run)]) == 2


def test_a_table_takes_up_little(run, tmp_path, record):
    """Thousands of trials are a few MB: what trials share is written once."""
    from irlbench.running.record_table import write_records

    made = [record(GRID, "bc", seed, np.sin(seed)).sealed([]) for seed in range(1000)]
    write_records(made, [], tmp_path / "out")
    assert (tmp_path / "out" / "records.parquet").stat().st_size < 400 * len(made)
    assert len(list(RecordTable(tmp_path / "out").records())) == len(made)
