"""Drawings show the numbers they are given."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from irlbench.reporting.curves import Curve
from irlbench.reporting.figures import (
    Axis,
    curve_axis,
    interval_bar,
    learning_curve,
    score_axis,
)
from irlbench.reporting.leaderboard import leaderboard
from irlbench.reporting.picture import picture
from irlbench.reporting.trials import Collection, Trial

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def board(facts, record):
    def make(*records):
        trials = [Trial(r.sealed([]), "run", Path("run")) for r in records]
        return leaderboard(Collection(trials=trials), facts)

    return make


def test_the_bar_spans_the_interval_and_the_dot_stands_at_the_estimate(board, record):
    (row,) = board(*(record(seed=s, score=0.4 + s / 10) for s in range(3))).rows
    axis = Axis(0.0, 1.0, start=0.0, end=100.0)
    tree = ElementTree.fromstring(interval_bar(row, axis, "spoken"))
    (bar,) = tree.iter("rect")
    (dot,) = tree.iter("circle")
    assert float(bar.attrib["x"]) == pytest.approx(row.low * 100, abs=0.1)
    assert float(bar.attrib["width"]) == pytest.approx((row.high - row.low) * 100, abs=0.1)
    assert float(dot.attrib["cx"]) == pytest.approx(50, abs=0.1)
    assert "provisional" in dot.attrib["class"]
    assert tree.findtext("title") == "spoken"


def test_one_seed_is_a_dot_without_a_bar(board, record):
    (row,) = board(record(score=0.5)).rows
    tree = ElementTree.fromstring(interval_bar(row, score_axis([row], 0, 100), ""))
    assert not list(tree.iter("rect")) and len(list(tree.iter("circle"))) == 1


def test_an_interval_that_leaves_the_axis_says_so(board, record):
    rows = board(record(seed=0, score=-3.0), record(seed=1, score=4.0)).rows
    axis = score_axis(rows, 0, 100)
    assert axis.holds(0) and axis.holds(1) and axis.high < 2
    tree = ElementTree.fromstring(interval_bar(rows[0], axis, ""))
    assert [p.attrib["class"] for p in tree.iter("path")] == ["beyond", "beyond"]


def test_a_learning_curve_has_a_line_per_seed_from_left_to_right():
    curves = [Curve(s, np.array([0.0, 50.0, 100.0]), np.array([0.0, 0.5, 1.0])) for s in (0, 1)]
    axis = curve_axis(curves)
    tree = ElementTree.fromstring(learning_curve(curves, axis, "title", "desc"))
    lines = [p.attrib["d"] for p in tree.iter("path")]
    assert len(lines) == 2
    points = [tuple(map(float, p.split())) for p in lines[0].strip("M").split("L")]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    # better is higher up
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert points[0][1] == pytest.approx(axis.at(0), abs=0.1)
    assert (tree.findtext("title"), tree.findtext("desc")) == ("title", "desc")


def test_a_single_point_is_seen():
    curves = [Curve(0, np.array([0.0]), np.array([0.5]))]
    tree = ElementTree.fromstring(learning_curve(curves, curve_axis(curves), "", ""))
    assert len(list(tree.iter("circle"))) == 1


def test_the_picture_holds_every_row_and_nothing_from_elsewhere(board, record):
    found = board(record(seed=0), record(algorithm="gail"), record(algorithm="random"))
    text = picture(found)
    tree = ElementTree.fromstring(text)
    assert tree.tag == f"{SVG}svg"
    words = [node.text for node in tree.iter(f"{SVG}text")]
    assert {"control", "cartpole-v0", "bc", "gail", "random"} <= set(words)
    assert len(list(tree.iter(f"{SVG}circle"))) == 3
    assert "href" not in text and "url(" not in text and "<script" not in text


def test_a_very_long_picture_is_cut_and_says_so(board, record):
    found = board(*(record(algorithm=f"a{i}") for i in range(70)))
    tree = ElementTree.fromstring(picture(found))
    assert len(list(tree.iter(f"{SVG}circle"))) == 60
    assert any("10 more rows" in (t.text or "") for t in tree.iter(f"{SVG}text"))
