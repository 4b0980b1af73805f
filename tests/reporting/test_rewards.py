"""Scores of recovered rewards: over seeds, in every file, and n/a where they are not defined."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest

from irlbench.metrics.statistics import t_interval
from irlbench.reporting import rewards
from irlbench.reporting.leaderboard import leaderboard
from irlbench.reporting.page import page
from irlbench.reporting.trials import Collection, Trial
from irlbench.reporting.writers import to_csv, to_json, to_markdown

GRID = "gridworld/four-rooms-v0"
EPIC = [0.25, 0.35, 0.30]


@pytest.fixture
def board(facts, record):
    def with_reward(made, **metrics):
        return dataclasses.replace(made, has_reward=True, metrics=metrics)

    records = [
        *(
            with_reward(record(GRID, "gail", seed), epic=epic, transfer_regret=1.0)
            for seed, epic in enumerate(EPIC)
        ),
        with_reward(record(GRID, "airl", 0), starc=0.5, my_own=1e300),
        with_reward(record(GRID, "airl", 1), starc=0.5),
        record(GRID, "airl", 2, None),
        *(record(GRID, "bc", seed) for seed in range(3)),
    ]
    trials = [Trial(made.sealed([]), "run", Path("run")) for made in records]
    return leaderboard(Collection(trials=trials), facts)


def row(board, algorithm):
    (found,) = [row for row in board.rows if row.algorithm == algorithm]
    return found


def test_a_metric_is_the_t_interval_over_the_trials_that_have_it(board):
    expected = t_interval(EPIC)
    assert row(board, "gail").metrics == {
        "epic": {"mean": expected.estimate, "low": expected.low, "high": expected.high, "n": 3},
        "transfer_regret": {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 3},
    }
    # A failed trial has none, and what is no score at all is left out.
    assert row(board, "airl").metrics == {"starc": {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 2}}
    assert (row(board, "airl").rewards, row(board, "bc").rewards) == (2, 0)
    assert row(board, "bc").metrics == {}


def test_every_row_of_the_json_has_them(board):
    rows = {row["algorithm"]: row for row in json.loads(to_json(board))["rows"]}
    assert rows["gail"]["metrics"]["epic"]["n"] == 3
    assert rows["bc"]["metrics"] == {} and rows["bc"]["rewards"] == 0


def test_csv_has_columns_for_all_of_them_in_every_line(board):
    lines = {line["algorithm"]: line for line in csv.DictReader(io.StringIO(to_csv(board)))}
    assert float(lines["gail"]["metric.epic"]) == pytest.approx(0.3)
    assert lines["gail"]["metric.epic_n"] == "3" and lines["gail"]["metric.starc"] == ""
    assert float(lines["airl"]["metric.starc_low"]) == 0.5
    assert lines["bc"]["metric.epic"] == ""


def test_markdown_has_a_table_of_those_that_learnt_one(board):
    text = to_markdown(board)
    table = text[text.index("### Recovered rewards") :]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads[3:] == ["EPIC distance", "STARC distance", "regret after transfer"]
    cells = {
        parts[1]: parts[3:]
        for line in lines[2:]
        if (parts := [cell.strip() for cell in line.strip("|").split("|")])
    }
    assert cells["gail"] == ["0.30 [0.18, 0.42]", "n/a", "1.000 [1.000, 1.000]"]
    assert cells["airl"] == ["n/a", "0.500 [0.500, 0.500] 2 of 3 trials", "n/a"]
    assert "bc" not in cells


def test_the_page_has_them_under_headings_in_words(board, tmp_path):
    text = page(board, tmp_path)
    part = text[text.index("Recovered rewards") :].split("</table>")[0]
    for words in ("EPIC distance", "regret after transfer", "2 of 3 trials", "n/a", "0.30"):
        assert words in part
    assert part.count('scope="row"') == 2


def test_where_nothing_was_learnt_nothing_is_said(facts, record, tmp_path):
    trials = [Trial(record(GRID, "bc").sealed([]), "run", Path("run"))]
    plain = leaderboard(Collection(trials=trials), facts)
    assert "Recovered" not in to_markdown(plain) and "Recovered" not in page(plain, tmp_path)


def test_tracks_are_told_where_they_tell_rows_apart(facts, record, tmp_path):
    trials = [
        Trial(
            dataclasses.replace(
                record(GRID, "airl", track=track), has_reward=True, metrics={"epic": 0.1}
            ).sealed([]),
            "run",
            Path("run"),
        )
        for track in ("demonstrations+dynamics", "demonstrations+interaction")
    ]
    text = page(leaderboard(Collection(trials=trials), facts), tmp_path)
    part = text[text.index("Recovered rewards") :]
    assert "demonstrations+dynamics" in part and "demonstrations+interaction" in part


def test_a_record_from_elsewhere_adds_so_many_columns_and_no_more(facts, record):
    metrics = {f"m{number}": 1.0 for number in range(100)} | {"transfer_regret": 0.0}
    made = dataclasses.replace(record(GRID, "gail"), has_reward=True, metrics=metrics)
    rows = leaderboard(Collection(trials=[Trial(made.sealed([]), "run", Path("run"))]), facts).rows
    names = rewards.names(rows)
    assert len(names) == rewards.MOST and names[0] == "transfer_regret"
    assert rewards.title("my_own_measure") == "my own measure"
    assert rewards.help_of("m0") is None and rewards.help_of("epic")


@pytest.mark.parametrize("name", ["a|b\n\n# head", "<script>alert(1)</script>", "=cmd|' /C'!A1"])
def test_a_nasty_name_does_nothing(facts, record, tmp_path, name):
    made = dataclasses.replace(record(GRID, "gail"), has_reward=True, metrics={name: 1.0})
    found = leaderboard(Collection(trials=[Trial(made.sealed([]), "run", Path("run"))]), facts)
    text = to_markdown(found)
    table = text[text.index("### Recovered") :]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 3 and len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<script" not in text + page(found, tmp_path) and "\n# head" not in text
    (row,) = csv.DictReader(io.StringIO(to_csv(found)))
    assert not [head for head in row if re.match(r"[=@+\-]", head)]
    assert json.loads(to_json(found))["rows"][0]["metrics"][name]["mean"] == 1.0


def test_an_error_of_a_measure_stands_in_the_files_and_not_in_the_tables(facts, record):
    measures = {"epic": 0.4, "epic_error": 0.01, "return_pearson": 0.9, "survival": 0.99}
    made = dataclasses.replace(record(GRID, "gail", 0), has_reward=True, metrics=measures)
    board = leaderboard(Collection(trials=[Trial(made.sealed([]), "run", Path("run"))]), facts)
    assert rewards.names(board.rows) == ["epic", "return_pearson", "survival"]
    (written,) = (
        row
        for row in json.loads(to_json(board))["rows"]
        if row["algorithm"] == "gail" and row["task"] == GRID
    )
    assert written["metrics"].keys() == measures.keys()
    assert "Pearson, returns" in to_markdown(board) and "epic error" not in to_markdown(board)
