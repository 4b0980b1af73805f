"""The leaderboard as files: Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from irlbench.metrics.statistics import CONFIDENCE
from irlbench.reporting import numbers, rewards, table
from irlbench.reporting.escape import LONGEST, clean, csv_text, markdown, shorten
from irlbench.reporting.rows import Failure, Leaderboard, Row
from irlbench.reporting.task_figures import Drawn

SCHEMA = 1
_MOST_FAILURES = 20


def to_json(board: Leaderboard) -> str:
    """`leaderboard.json`: `{"schema": 1, "rows": [...], "failures": [...], ...}`."""
    document = {
        "schema": SCHEMA,
        "confidence": CONFIDENCE,
        "rows": [row.to_json() for row in board.rows],
        "failures": [dataclasses.asdict(failure) for failure in board.failures],
        "notes": board.notes,
        "made_with": board.made_with,
    }
    # ASCII escapes keep lone surrogates and line separators of a record harmless.
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def to_csv(board: Leaderboard) -> str:
    """`leaderboard.csv`: one line per row, anchors and metrics spread out, trial ids left out."""
    metrics = rewards.names(board.rows)
    flat = [_flat(row, metrics) for row in board.rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(flat[0]) if flat else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()


def _flat(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.to_json().items():
        if name in ("trials", "conflicts"):
            found[name] = len(value)
        elif name in ("low_anchor", "high_anchor"):
            found[name] = csv_text(value["name"])
            found[f"{name}_value"] = value["value"]
        elif name == "metrics":
            for metric in metrics:
                for part in ("mean", "low", "high", "n"):
                    ending = "" if part == "mean" else f"_{part}"
                    known = value.get(metric, {}).get(part)
                    found[csv_text(f"metric.{metric}{ending}")] = known
        elif isinstance(value, tuple):
            found[name] = csv_text(" ".join(str(item) for item in value))
        elif isinstance(value, bool):
            found[name] = str(value).lower()
        else:
            found[name] = csv_text(value) if isinstance(value, str) else value
    return found


def to_markdown(board: Leaderboard, drawn: Mapping[str, Drawn] | None = None) -> str:
    """`leaderboard.md`: one table per world, aligned for a terminal as well.

    Args:
        board: The leaderboard.
        drawn: Task id to its figure, which is linked.
    """
    parts = ["# Leaderboard", "", table.HOW_TO_READ, ""]
    for world, rows in board.worlds.items():
        parts += [f"## {markdown(world)}", "", *_table(rows), "", *_tasks(rows, drawn or {}), ""]
        learnt = [row for row in rows if row.rewards]
        if rewards.names(learnt):
            parts += ["### Recovered rewards", "", rewards.HOW_TO_READ, "", *_rewards(learnt), ""]
    marks = [f"{mark.sign} {mark.meaning}  " for mark in table.marks_of(board.rows)]
    if any(row.score is not None and row.low is None for row in board.rows):
        marks.append("A score without brackets rests on one seed, which gives no interval.  ")
    if marks:
        parts += [*marks, ""]
    if board.failures:
        parts += ["## Failed trials", "", *_failures(board.failures), ""]
    if board.notes:
        parts += ["## Notes", "", *(f"- {markdown(note)}" for note in board.notes), ""]
    return "\n".join(parts).rstrip() + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    figures = table.columns(rows)
    heads = ["rank", "task", "algorithm", "track", "score", *(markdown(c.title) for c in figures)]
    columns = [
        [table.rank(row) for row in rows],
        [markdown(shorten(row.name, LONGEST)) for row in rows],
        [markdown(_name(row)) for row in rows],
        [markdown(shorten(row.track, LONGEST)) for row in rows],
        _scores(rows),
        *([markdown(text) for text in _aligned([c.of(row) for row in rows])] for c in figures),
    ]
    right = [True, False, False, False, False, *(True for _ in figures)]
    return _lay_out(heads, columns, right)


def _rewards(rows: Sequence[Row]) -> list[str]:
    measures = rewards.names(rows)
    heads = ["task", "algorithm", "track", *(markdown(rewards.title(name)) for name in measures)]
    columns = [
        [markdown(shorten(row.name, LONGEST)) for row in rows],
        [markdown(_name(row)) for row in rows],
        [markdown(shorten(row.track, LONGEST)) for row in rows],
        *(_parts([rewards.parts(row, name) for row in rows]) for name in measures),
    ]
    return _lay_out(heads, columns, [False] * len(heads))


def _parts(written: Sequence[tuple[str, str]]) -> list[str]:
    """Figures with what stands behind them, the points of the figures in line."""
    figures = numbers.align([figure for figure, _ in written])
    behind = (rest for _, rest in written)
    return [f"{f} {rest}".rstrip() for f, rest in zip(figures, behind, strict=True)]


def _name(row: Row) -> str:
    name = shorten(row.algorithm, LONGEST)
    return f"{name} ({shorten(row.variant, 3 * LONGEST)})" if row.variant else name


def _scores(rows: Sequence[Row]) -> list[str]:
    scores, intervals = zip(*(table.score_parts(row) for row in rows), strict=True)
    aligned = numbers.align(scores)
    signs = [table.signs(row) for row in rows]
    return [
        " ".join(part for part in parts if part.strip())
        for parts in zip(aligned, intervals, signs, strict=True)
    ]


def _aligned(texts: Sequence[str]) -> list[str]:
    figures = all(text.replace(".", "").removeprefix("-").isdecimal() for text in texts if text)
    return numbers.align(texts) if figures else list(texts)


def _lay_out(
    heads: Sequence[str], columns: Sequence[Sequence[str]], right: Sequence[bool]
) -> list[str]:
    widths = [max(len(h), *map(len, cells)) for h, cells in zip(heads, columns, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (w + 1) + ":" if r else "-" * (w + 2) for w, r in zip(widths, right, strict=True)
    )
    return [line(heads), f"|{rule}|", *(line(cells) for cells in zip(*columns, strict=True))]


def _tasks(rows: Sequence[Row], drawn: Mapping[str, Drawn]) -> list[str]:
    lines = []
    for row in {(row.task, row.task_hash): row for row in rows}.values():
        summary = f"{clean(row.summary)}; " if row.summary else ""
        note = f"; {clean(row.note)}" if row.note else ""
        link = f" ([figure]({drawn[row.task].file}))" if row.task in drawn else ""
        lines.append(
            f"- {markdown(row.name)}: {markdown(summary + table.anchors(row) + note)}{link}"
        )
    return list(dict.fromkeys(lines))


def _failures(failures: Sequence[Failure]) -> list[str]:
    lines = []
    for failure in failures[:_MOST_FAILURES]:
        what = f"{failure.task} {failure.algorithm}"
        if failure.variant:
            what += f" ({failure.variant})"
        where = f"; log: {failure.source}/{failure.log}" if failure.log else ""
        error = shorten(failure.error, 200)
        lines.append(f"- {markdown(f'{what}, seed {failure.seed}: {error}{where}')}")
    if len(failures) > _MOST_FAILURES:
        lines.append(f"- and {len(failures) - _MOST_FAILURES} more in leaderboard.json")
    return lines
