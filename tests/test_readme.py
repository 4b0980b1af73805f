"""What the README says is there is there, and what is there the README says."""

from __future__ import annotations

import re
from pathlib import Path

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
