"""The page: one HTML file that opens from disk, with no script and nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from irlbench.reporting import figures, table
from irlbench.reporting.curves import Curve, read_curves
from irlbench.reporting.escape import LONGEST, shorten
from irlbench.reporting.markup import Markup, element, join
from irlbench.reporting.page_drawings import task_drawings
from irlbench.reporting.page_parts import breakable, padded, scrolling, who
from irlbench.reporting.page_rewards import reward_table
from irlbench.reporting.rows import Failure, Leaderboard, Row
from irlbench.reporting.task_figures import Drawn

_BAR_WIDTH = 170
_MOST_FAILURES = 200
#: No script, no request: whatever a record holds, the browser runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(board: Leaderboard, out: Path, drawn: Mapping[str, Drawn] | None = None) -> str:
    """The whole page. Notes the curves that could not be read on the leaderboard.

    Args:
        board: The leaderboard.
        out: Folder that the page will stand in; links to logs are relative to it.
        drawn: Task id to its figure.

    Returns:
        The text of `index.html`.
    """
    figures_of = drawn or {}
    sections = [_world(world, rows, board, figures_of) for world, rows in board.worlds.items()]
    style = (files("irlbench.reporting") / "page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", "irlbench leaderboard"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        _header(board),
        element("main", *sections, _failures(board, out), _notes(board.notes)),
        _footer(board.made_with),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(board: Leaderboard) -> Markup:
    counted = [
        _plural(len(board.trials), "trial"),
        _plural(len(board.rows), "row"),
        _plural(len(board.worlds), "world"),
    ]
    links = [element("a", name, href=f"#{_anchor(name)}") for name in board.worlds]
    if board.failures:
        links.append(element("a", f"{len(board.failures)} failed", href="#failed"))
    if board.notes:
        links.append(element("a", "notes", href="#notes"))
    downloads = [
        element("a", kind, href=f"leaderboard.{ending}")
        for kind, ending in (("Markdown", "md"), ("CSV", "csv"), ("JSON", "json"))
    ]
    return element(
        "header",
        element("h1", "irlbench leaderboard"),
        element("p", table.HOW_TO_READ, class_="lead"),
        element(
            "p",
            "In the bars the dot is the mean, hollow where provisional, and the band its interval.",
            class_="quiet",
        ),
        element(
            "p", " · ".join(counted), " · also as ", _listed(downloads), class_="quiet"
        ),
        element("nav", *links, aria_label="Sections"),
    )  # fmt: skip


def _listed(items: Sequence[Markup]) -> Markup:
    return join(*[part for item in items for part in (", ", item)][1:])


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _anchor(world: str) -> str:
    return f"world-{quote(world, safe='')}"


def _world(
    world: str, rows: Sequence[Row], board: Leaderboard, drawn: Mapping[str, Drawn]
) -> Markup:
    notes = [element("li", f"{mark.sign} {mark.meaning}") for mark in table.marks_of(rows)]
    return element(
        "section",
        element("h2", shorten(world, LONGEST)),
        scrolling(_table(world, rows), f"Table of {world}"),
        element("ul", *notes, class_="marks") if notes else None,
        reward_table(world, [row for row in rows if row.rewards]),
        task_drawings(rows, drawn),
        _curves(rows, board),
        id=_anchor(world),
    )


def _table(world: str, rows: Sequence[Row]) -> Markup:
    axis = figures.score_axis(rows, 6, _BAR_WIDTH)
    columns = table.columns(rows)
    written = {c.key: padded([c.of(row) for row in rows]) for c in columns}
    scores = padded([table.score_parts(row)[0] for row in rows])
    indices = {id(row): index for index, row in enumerate(rows)}
    heads = [
        element("th", "rank", scope="col", class_="rank", role="columnheader"),
        element("th", "algorithm", scope="col", role="columnheader"),
        element("th", "track", scope="col", class_="track", role="columnheader"),
        element("th", "score", scope="col", class_="figure", role="columnheader"),
        element("th", "95% interval", scope="col", role="columnheader"),
        element(
            "th",
            element("span", "interval as a bar", class_="unseen"),
            figures.bar_scale(axis),
            scope="col",
            class_="bars",
            role="columnheader",
        ),
        *(
            element("th", c.title, title=c.help, scope="col", class_="figure", role="columnheader")
            for c in columns
        ),
    ]
    bodies = []
    for _, group in groupby(rows, key=lambda row: (row.task, row.task_hash)):
        members = list(group)
        lines = [_task_line(members, len(heads))]
        for row in members:
            index = indices[id(row)]
            figures_of = [(column, written[column.key][index]) for column in columns]
            lines.append(_row(row, axis, scores[index], figures_of))
        bodies.append(element("tbody", *lines, role="rowgroup"))
    return element(
        "table",
        element("caption", f"{world}: scores by task and algorithm", class_="unseen"),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        *bodies,
        class_="board",
        role="table",
    )


def _task_line(rows: Sequence[Row], width: int) -> Markup:
    first = rows[0]
    solved = sorted({name for row in rows for name in row.saturated_by})
    content = join(
        element("span", shorten(first.name, LONGEST), class_="task"),
        element("span", f"saturated by {', '.join(solved)}", class_="tag") if solved else None,
        element(
            "span",
            " · ".join(part for part in (first.summary, table.anchors(first), first.note) if part),
            class_="about",
        ),
    )
    heading = element("th", content, scope="rowgroup", colspan=width, role="rowheader")
    return element("tr", heading, class_="heading", role="row")


def _row(
    row: Row, axis: figures.Axis, score: Markup, written: Sequence[tuple[table.Column, Markup]]
) -> Markup:
    plain, interval = table.score_parts(row)
    signs = [element("abbr", mark.sign, title=mark.meaning) for mark in table.MARKS if mark.of(row)]
    spoken = f"score {plain}" + (f", 95% interval {interval}" if interval else "")
    return element(
        "tr",
        element("td", table.rank(row), class_="rank", role="cell"),
        element("th", who(row), scope="row", class_="who", role="rowheader"),
        element("td", breakable(row.track), class_="track", role="cell"),
        element("td", score, class_="figure score", role="cell"),
        element(
            "td", interval, *(Markup(f" {sign}") for sign in signs), class_="ends", role="cell"
        ),
        element("td", figures.interval_bar(row, axis, spoken), class_="bars", role="cell"),
        *(
            element(
                "td",
                text,
                class_=f"figure extra{'' if text else ' empty'}",
                data_label=column.title,
                role="cell",
            )
            for column, text in written
        ),
        class_="reference" if row.reference else None,
        role="row",
    )


def _curves(rows: Sequence[Row], board: Leaderboard) -> Markup | None:
    drawn: list[tuple[Row, list[Curve]]] = []
    for row in rows:
        curves, problems = read_curves(board.trials[trial] for trial in row.trials)
        board.notes += problems
        if curves:
            drawn.append((row, curves))
    if not drawn:
        return None
    axis = figures.curve_axis([curve for _, curves in drawn for curve in curves])
    return join(
        element("h3", "Learning curves"),
        element(
            "p",
            "Normalised validation score over steps, a thin line per seed; the upright scale "
            "runs from 0, the low reference, to 1, the expert.",
            class_="quiet",
        ),
        element("div", *(_curve(row, curves, axis) for row, curves in drawn), class_="curves"),
    )


def _curve(row: Row, curves: Sequence[Curve], axis: figures.Axis) -> Markup:
    name = f"{row.algorithm} ({row.variant})" if row.variant else row.algorithm
    title = f"Learning curve of {name} on {row.name}"
    description = (
        f"{_plural(len(curves), 'seed')}; normalised {row.raw_name} at the last point: "
        + ", ".join(f"{curve.scores[-1]:.2f}" for curve in curves)
    )
    caption = element(
        "figcaption",
        element("span", shorten(row.name, LONGEST), class_="task"),
        " ",
        element("span", shorten(name, 80), class_="quiet"),
    )
    return element("figure", caption, figures.learning_curve(curves, axis, title, description))


def _failures(board: Leaderboard, out: Path) -> Markup | None:
    if not board.failures:
        return None
    heads = [
        element("th", head, scope="col", class_="figure" if head == "seed" else None)
        for head in ("task", "algorithm", "seed", "error", "log")
    ]
    lines = [
        element(
            "tr",
            element("th", failure.task, scope="row"),
            element("td", _called(failure)),
            element("td", failure.seed, class_="figure"),
            element("td", shorten(failure.error, 400), class_="error"),
            element("td", _log(failure, board, out)),
        )
        for failure in board.failures[:_MOST_FAILURES]
    ]
    more = len(board.failures) - len(lines)
    return element(
        "section",
        element("h2", "Failed trials"),
        element("p", "Each counts as its task's low reference.", class_="quiet"),
        scrolling(
            element(
                "table",
                element("thead", element("tr", *heads)),
                element("tbody", *lines),
                class_="plain",
            ),
            "Table of failed trials",
        ),
        element("p", f"and {more} more in leaderboard.json", class_="quiet") if more else None,
        id="failed",
    )


def _called(failure: Failure) -> str:
    variant = f" ({failure.variant})" if failure.variant else ""
    return f"{failure.algorithm}{variant}"


def _log(failure: Failure, board: Leaderboard, out: Path) -> Markup | str:
    if failure.log is None:
        return "none"
    path = board.trials[failure.trial].folder / "log.txt"
    link = quote(Path(os.path.relpath(path, out.resolve())).as_posix())
    return element("a", f"{failure.source}/trials/{failure.trial[:12]}…/log.txt", href=link)


def _notes(notes: Sequence[str]) -> Markup | None:
    if not notes:
        return None
    items = [element("li", note) for note in notes]
    return element("section", element("h2", "Notes"), element("ul", *items), id="notes")


def _footer(made_with: Mapping[str, Sequence[str]]) -> Markup:
    pairs = [
        join(element("dt", name), element("dd", ", ".join(values)))
        for name, values in made_with.items()
    ]
    return element("footer", element("h2", "Made with"), element("dl", *pairs))
