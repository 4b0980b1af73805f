"""The leaderboard as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from irlbench.reporting.leaderboard import leaderboard
from irlbench.reporting.trials import Collection, Trial
from irlbench.reporting.writers import to_csv, to_json, to_markdown

#: The part of the form that readers may rely on.
PROMISED = [
    *("world", "task", "track", "algorithm", "variant", "n", "failed", "score", "low", "high"),
    *("raw", "raw_name", "provisional", "reference", "rank", "seconds", "steps"),
    *("gradient_steps", "demonstrations"),
]


@pytest.fixture
def board(facts, record):
    records = [
        *(record("gridworld/four-rooms-v0", "bc", s, 0.9 + s / 100) for s in range(3)),
        *(record("gridworld/four-rooms-v0", "gail", s, None if s else 0.5) for s in range(3)),
        *(record("gridworld/four-rooms-v0", "random", s, 0.0) for s in range(3)),
        record("text/arithmetic-v0", "bc", 0, -0.25),
    ]
    trials = [Trial(r.sealed([]), "quick", Path("quick")) for r in records]
    return leaderboard(Collection(trials=trials), facts)


def test_json_has_the_promised_form(board):
    document = json.loads(to_json(board))
    assert document["schema"] == 1
    assert len(document["rows"]) == 4
    for row in document["rows"]:
        assert list(row)[: len(PROMISED)] == PROMISED
    first, *_, last = document["rows"]
    assert (first["algorithm"], first["rank"], first["n"]) == ("bc", 1, 3)
    assert first["low"] < first["score"] < first["high"]
    assert (last["task"], last["low"], last["high"]) == ("text/arithmetic-v0", None, None)
    assert [f["algorithm"] for f in document["failures"]] == ["gail", "gail"]


def test_csv_has_a_line_per_row_and_numbers_as_they_are(board):
    lines = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [line["algorithm"] for line in lines] == ["bc", "gail", "random", "bc"]
    assert float(lines[-1]["score"]) == pytest.approx(-0.25)
    assert lines[0]["seeds"] == "0 1 2" and lines[0]["provisional"] == "true"
    assert lines[0]["low_anchor"] == "random" and float(lines[0]["low_anchor_value"]) == 2.0
    assert lines[-1]["low"] == ""


def test_markdown_has_a_table_per_world_in_line(board):
    text = to_markdown(board)
    assert text.index("## gridworld") < text.index("## text")
    table = [line for line in text.splitlines() if line.startswith("|")]
    grid, words = table[:5], table[5:]
    assert [len(set(map(len, part))) for part in (grid, words)] == [1, 1]
    cells = [cell.strip() for cell in grid[2].strip("|").split("|")]
    assert cells[:4] == ["1", "four-rooms-v0", "bc", "demonstrations"]
    assert cells[4].startswith("0.91") and "[0.89, 0.93]" in cells[4] and cells[4].endswith("†")
    # one point under another
    assert len({line.index(".") for line in grid[2:]}) == 1


def test_markdown_says_that_defaults_are_untuned(board):
    lead = to_markdown(board).split("## ", 1)[0]
    assert "names no settings ran with the algorithm's default configuration" in lead
    assert "tuned by no protocol" in lead


def test_markdown_explains_every_sign_it_uses(board):
    text = to_markdown(board)
    tables, footnotes = text.split("\n† ", 1)
    assert "‡" in tables and "\n‡ " in footnotes
    assert "¶" not in text and "§" not in text
    assert "one seed, which gives no interval" in footnotes
    assert "## Failed trials" in footnotes and "ValueError: the loss is NaN" in footnotes


def test_equal_input_gives_equal_files(board, facts):
    again = leaderboard(Collection(trials=list(board.trials.values())[::-1]), facts)
    for write in (to_json, to_csv, to_markdown):
        assert write(board) == write(again)
