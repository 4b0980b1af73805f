"""Figures that tasks draw of themselves, from policies and rewards that records have kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from irlbench.errors import DataError
from irlbench.policy import load_policy
from irlbench.reporting.escape import LONGEST, shorten
from irlbench.reporting.rows import Leaderboard, Row
from irlbench.reporting.trials import Trial
from irlbench.reward import load_reward
from irlbench.serialisation import open_plain, sha256_file, sha256_json
from irlbench.task import ShownSolution, Task, TaskFigure

#: More columns cannot be taken in.
MOST_SOLUTIONS = 28
#: A figure that is found beside a report is read up to here.
_LARGEST = 4 * 2**20


@dataclass(frozen=True)
class Drawn:
    """A task's figure.

    Attributes:
        file: Where it goes, from the report's folder on.
        svg: Its text.
        description: What is in it, for those who do not see it.
    """

    file: str
    svg: str
    description: str


@dataclass(frozen=True)
class _Entry:
    """A row of the leaderboard, and the trial that stands for it."""

    row: Row
    trial: Trial


def task_figures(board: Leaderboard, out: Path) -> dict[str, Drawn]:
    """Draws each task that draws itself. Notes what had to be left out on the leaderboard.

    A figure shows, per algorithm and track, the seed of median score. Records without their
    policies, as committed results are, keep the figure of them that stands in the folder already.

    Args:
        board: The leaderboard.
        out: Folder of the report.

    Returns:
        Task id to its figure.
    """
    found = {}
    for (name, task_hash), rows in groupby(board.rows, key=lambda row: (row.task, row.task_hash)):
        task = _installed(name, task_hash)
        entries = _entries(list(rows), board) if task is not None else []
        if task is None or not entries:
            continue
        file = f"figures/{task.id.replace('/', '-')}.svg"
        mark = f"<!-- of trials {sha256_json([entry.trial.id for entry in entries])} -->"
        figure = _figure(task, entries, board)
        svg = f"{figure.svg.rstrip()}\n{mark}\n" if figure else _standing(out / file, mark)
        if svg is not None:
            found[task.id] = Drawn(file, svg, _description(task, entries))
    return found


def _installed(name: str, task_hash: str) -> Task | None:
    """The task that records were made on; None where it is not here, or another by now."""
    from irlbench.registry import registry

    with suppress(Exception):  # somebody's plug-in: see `facts.installed_facts`
        task = registry().task(name)
        return task if task.hash == task_hash else None
    return None


def _entries(rows: Sequence[Row], board: Leaderboard) -> list[_Entry]:
    """Which trials are shown: one per algorithm and track, of its default settings where run."""
    chosen: dict[tuple[str, str], _Entry] = {}
    for row in sorted(rows, key=lambda row: bool(row.variant)):
        trials = [board.trials[trial] for trial in row.trials]
        kept = [trial for trial in trials if not trial.failed and trial.record.verifiable]
        if row.reference or not kept:
            continue
        kept.sort(key=lambda trial: float("-inf") if trial.score is None else trial.score)
        chosen.setdefault((row.algorithm, row.track), _Entry(row, kept[(len(kept) - 1) // 2]))
    if len(chosen) > MOST_SOLUTIONS:
        board.notes.append(
            f"The figure of {rows[0].task} shows the first {MOST_SOLUTIONS} of {len(chosen)} "
            "algorithms and tracks."
        )
    places = {id(row): place for place, row in enumerate(rows)}
    return sorted(chosen.values(), key=lambda entry: places[id(entry.row)])[:MOST_SOLUTIONS]


def _figure(task: Task, entries: Sequence[_Entry], board: Leaderboard) -> TaskFigure | None:
    """What the task draws of the entries whose files are there and whole."""
    shown, solutions = [], []
    tracks = [entry.row.algorithm for entry in entries]
    for entry in entries:
        # Results are often passed on without their policies: nothing is wrong with that.
        if not (entry.trial.folder / "policy.json").exists():
            continue
        several = tracks.count(entry.row.algorithm) > 1
        note = entry.row.variant or (entry.row.track if several else "")
        try:
            solutions.append(_solution(entry.trial, entry.row.algorithm, note))
        except DataError as error:
            board.notes.append(_left_out(task, entry, str(error)))
        else:
            shown.append(entry)
    if not shown:
        return None
    try:
        figure = task.figure(solutions)
    except Exception as error:  # the leaderboard is worth more than a picture beside it
        board.notes.append(f"{task.id}: no figure was drawn: {type(error).__name__}: {error}")
        return None
    if figure is None:
        return None
    board.notes += [_left_out(task, shown[at], why) for at, why in figure.left_out.items()]
    return figure if len(figure.left_out) < len(shown) else None


def _solution(trial: Trial, label: str, note: str) -> ShownSolution:
    """What a trial has kept, loaded.

    Raises:
        DataError: If a file of it is missing, damaged or not the one that was recorded.
    """
    record, folder = trial.record, trial.folder
    for name, digest in record.files.items():
        if not name.startswith(("policy.", "reward.")):
            continue
        try:
            found = sha256_file(folder / name, links=False)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", file=name) from error
        if found != digest:
            raise DataError("was changed or damaged after it was written", file=name)
    return ShownSolution(
        label=shorten(label, LONGEST),
        policy=load_policy(folder),
        reward=load_reward(folder) if record.has_reward else None,
        score=trial.score,
        note=shorten(note, LONGEST),
    )


def _left_out(task: Task, entry: _Entry, reason: str) -> str:
    return (
        f"{entry.trial.source}: {entry.row.algorithm} (trial {entry.trial.id[:12]}) is left out "
        f"of the figure of {task.id}: {reason}"
    )


def _standing(path: Path, mark: str) -> str | None:
    """The figure that stands in the folder already, if it is one of the same trials."""
    with suppress(OSError, DataError, UnicodeDecodeError):
        with open_plain(path, links=False) as stream:
            text = stream.read(_LARGEST).decode()
        if text.endswith(f"{mark}\n"):
            return text
    return None


def _description(task: Task, entries: Sequence[_Entry]) -> str:
    names = ", ".join(shorten(entry.row.algorithm, LONGEST) for entry in entries)
    return f"{task.id}: the true reward and the expert beside {names}"
