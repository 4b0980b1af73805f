"""What the README says is there is there, and what is there the README says."""

from __future__ import annotations

import re
from pathlib import Path

import irlbench
from irlbench.registry import Registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_task_algorithm_solver_and_suite_is_named() -> None:
    for group in ("tasks", "algorithms", "solvers"):
        for name in Registry().names(group):
            assert f"`{re.sub(r'-v[0-9]+$', '', name)}`" in README, name
    for name in Registry().names("suites"):
        assert re.search(rf"\b{name}\b", README), name


def test_every_link_to_a_file_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_two_commands_stand_at_the_top() -> None:
    top = README.split("## ", 1)[0]
    assert "make bench" in top
    assert "make test" in top


def test_the_figures_of_real_data_are_those_of_the_committed_records() -> None:
    text = " ".join(README.split())

    hopper = irlbench.load_results(ROOT / "results/hopper-cs285/records").sort("seed")
    first, second, third = (f"{score:.0f}" for score in hopper["score"])
    assert f"returns of {first}, {second} and {third} at seeds 0, 1 and 2" in text
    assert f"a mean of {hopper['score'].mean():.0f}." in text
    assert f"{hopper['normalised'].mean():.1f} [" in text

    words = irlbench.load_results(ROOT / "results/gsm8k/records").sort("seed")
    solved = [round(score * 128) for score in words["score"]]
    assert f"{solved[0]}, {solved[1]} and {solved[2]} of 128 test problems" in text
    assert f"a mean accuracy of {words['score'].mean():.3f} [" in text


def test_the_picture_is_the_one_of_the_committed_results() -> None:
    drawn = (ROOT / "results/quick/figures/leaderboard.svg").read_bytes()
    assert (ROOT / "docs/leaderboard.svg").read_bytes() == drawn
