"""Pieces that the tables of the page are made of."""

from __future__ import annotations

from collections.abc import Sequence

from irlbench.reporting.escape import LONGEST, shorten
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.rows import Row


def scrolling(content: Markup, label: str) -> Markup:
    """What is wide: it scrolls sideways where it does not fit, by keyboard as well."""
    return element("div", content, class_="scroll", role="region", tabindex=0, aria_label=label)


def who(row: Row, track: str | None = None) -> Markup:
    """An algorithm with its variant below, and its track where that tells it from another row."""
    below = [row.variant, *([] if track is None else [track])]
    return join(
        element("span", shorten(row.algorithm, LONGEST), class_="name"),
        *(element("span", shorten(text, 3 * LONGEST), class_="variant") for text in below if text),
    )


def breakable(track: str) -> Markup:
    """A track that may go on in the next line before each plus."""
    first, *more = shorten(track, LONGEST).split("+")
    return join(first, *(part for name in more for part in (element("wbr"), f"+{name}")))


def padded(texts: Sequence[str]) -> list[Markup]:
    """Ends figures with digits that do not show, so that their points stand in line."""
    tails = [text[len(text.partition(".")[0]) :] for text in texts if _is_figure(text)]
    longest = max(tails, key=len, default="")
    found = []
    for text in texts:
        point = text.partition(".")[0]
        missing = longest[len(text) - len(point) :] if _is_figure(text) else ""
        found.append(join(text, element("span", missing, class_="pad") if missing else None))
    return found


def _is_figure(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()
