"""The page's table of recovered rewards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from irlbench.reporting import rewards
from irlbench.reporting.escape import LONGEST, shorten
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.page_parts import padded, scrolling, who
from irlbench.reporting.rows import Row


def reward_table(world: str, rows: Sequence[Row]) -> Markup | None:
    """A line for each row, its task told once; None where no reward has a score.

    Args:
        world: What the rows belong to.
        rows: Those with learnt rewards.
    """
    measures = rewards.names(rows)
    if not measures:
        return None
    heads = [
        *(element("th", head, scope="col") for head in ("task", "algorithm")),
        *(
            element("th", rewards.title(name), scope="col", title=rewards.help_of(name), colspan=2)
            for name in measures
        ),
    ]
    return join(
        element("h3", "Recovered rewards"),
        element("p", rewards.HOW_TO_READ, class_="quiet lead"),
        scrolling(
            element(
                "table",
                element("thead", element("tr", *heads)),
                element("tbody", *_lines(rows, measures)),
                class_="plain rewards",
            ),
            f"Table of recovered rewards in {world}",
        ),
    )


def _lines(rows: Sequence[Row], measures: Sequence[str]) -> list[Markup]:
    columns = [_column([rewards.parts(row, name) for row in rows]) for name in measures]
    tracks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        tracks[row.task, row.algorithm].add(row.track)
    lines, before = [], None
    for index, row in enumerate(rows):
        task = "" if before == (row.task, row.task_hash) else shorten(row.name, LONGEST)
        before = row.task, row.task_hash
        told = row.track if len(tracks[row.task, row.algorithm]) > 1 else None
        lines.append(
            element(
                "tr",
                element("td", task, class_="task"),
                element("th", who(row, told), scope="row", class_="who"),
                *(column[index] for column in columns),
                class_="reference" if row.reference else None,
            )
        )
    return lines


def _column(parts: Sequence[tuple[str, str]]) -> list[Markup]:
    """Two cells for each row: the figure, and its interval."""
    figures = padded([figure for figure, _ in parts])
    return [
        join(
            element("td", figure, class_="figure" if plain == "n/a" else "figure score"),
            element("td", interval, class_="ends"),
        )
        for figure, (plain, interval) in zip(figures, parts, strict=True)
    ]
