"""What the pages on algorithms say of defaults is so, and every name in them leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irlbench.registry import registry

PAGES = Path(__file__).parent.parent / "docs" / "algorithms"


def shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_table_of_settings_on_control_is_that_of_the_defaults() -> None:
    text = (PAGES / "README.md").read_text()
    table = text.split("| on control |", 1)[1].split("\n\n", 1)[0]
    head, _, *rows = table.splitlines()
    names = re.findall(r"`([a-z-]+)`", head)
    configs = [registry().algorithm(name).configure("control").config for name in names]
    assert names == ["gail", "airl", "iq-learn", "sqil"] and len(rows) > 5
    for row in rows:
        field, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        for config, cell in zip(configs, cells, strict=True):
            wanted = shown(getattr(config, field.strip("`"), "-"))
            assert cell == wanted, field


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (PAGES / page).read_text()):
        file, _, anchor = target.partition("#")
        found = PAGES / file if file else PAGES / page
        assert found.exists(), target
        titles = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE) if anchor else []
        marks = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert not anchor or anchor in marks, target


def test_every_algorithm_says_in_which_worlds_it_is() -> None:
    for name in ("gail", "airl", "iq-learn", "sqil", "ipl", "dpo", "bt-reward"):
        head = (PAGES / f"{name}.md").read_text().split("\n## ", 1)[0]
        for world in registry().algorithm(name).worlds:
            assert world in head, (name, world)
