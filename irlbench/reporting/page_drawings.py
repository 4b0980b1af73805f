"""The part of the page that shows what tasks drew of themselves.

Figures stand in the page itself, as images, which run and fetch nothing: it remains one file.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from irlbench.reporting.escape import LONGEST, shorten
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.page_parts import scrolling
from irlbench.reporting.rows import Row
from irlbench.reporting.task_figures import Drawn


def task_drawings(rows: Sequence[Row], drawn: Mapping[str, Drawn]) -> Markup | None:
    """The figures of a world's tasks, or None where there is none.

    Args:
        rows: Of the world.
        drawn: Task id to its figure.
    """
    shown = {row.task: row for row in rows if row.task in drawn}
    if not shown:
        return None
    return join(
        element("h3", "What was recovered"),
        element(
            "p",
            "Per algorithm the seed with the median score, in the order of the table; canonical "
            "rewards are the same whatever their shaping and scale, in one scale for all.",
            class_="quiet",
        ),
        *(_drawn(row, drawn[task]) for task, row in shown.items()),
    )


def _drawn(row: Row, figure: Drawn) -> Markup:
    content = base64.b64encode(figure.svg.encode()).decode()
    image = element("img", src=f"data:image/svg+xml;base64,{content}", alt=figure.description)
    caption = element(
        "figcaption",
        element("a", shorten(row.name, LONGEST), href=figure.file, class_="task"),
        " ",
        element("span", shorten(row.summary or "", 3 * LONGEST), class_="quiet"),
    )
    framed = scrolling(image, f"Figure of {shorten(row.name, LONGEST)}")
    return element("figure", caption, framed, class_="drawn")
