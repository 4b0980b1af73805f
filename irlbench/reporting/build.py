"""Writing a report: the leaderboard in three formats, the page, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from irlbench.errors import UsageError
from irlbench.reporting.leaderboard import leaderboard
from irlbench.reporting.page import page
from irlbench.reporting.picture import picture
from irlbench.reporting.rows import Leaderboard
from irlbench.reporting.task_figures import task_figures
from irlbench.reporting.trials import collect
from irlbench.reporting.writers import to_csv, to_json, to_markdown
from irlbench.serialisation import write_text_atomic


@dataclass(frozen=True)
class ReportSummary:
    """What a report holds and where it was written.

    Attributes:
        out: Its folder.
        page: The page.
        files: Every file, the page last.
        trials: Trials it rests on.
        rows: Rows of the leaderboard.
        failed: Failed trials among them.
        notes: Conflicts, unreadable records and the like, in sentences.
        board: What was written.
    """

    out: Path
    page: Path
    files: tuple[Path, ...]
    trials: int
    rows: int
    failed: int
    notes: tuple[str, ...]
    board: Leaderboard = field(repr=False)


def report(folders: Sequence[str | Path], out: str | Path | None = None) -> ReportSummary:
    """Writes the leaderboard of one or more output directories, merged.

    Args:
        folders: Output directories of `irlbench run`.
        out: Where to write; None: `report` in the first of the directories.

    Raises:
        UsageError: If there is no record to report, or `out` cannot be written.
    """
    places = [Path(folder) for folder in folders]
    collection = collect(places)
    target = Path(out) if out is not None else _within(places[0])
    board = leaderboard(collection)
    # Figures and page read files, and note those they could not read.
    drawn = task_figures(board, target)
    written = page(board, target, drawn)
    contents = {
        "leaderboard.md": to_markdown(board, drawn),
        "leaderboard.csv": to_csv(board),
        "leaderboard.json": to_json(board),
        "figures/leaderboard.svg": picture(board),
        **{figure.file: figure.svg for figure in drawn.values()},
        "index.html": written,
    }
    try:
        (target / "figures").mkdir(parents=True, exist_ok=True)
        if (target / "figures").is_symlink():
            raise UsageError(f"{target / 'figures'} is a link: remove it, or name another --out")
        for name, content in contents.items():
            write_text_atomic(target / name, content)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {target}: {error.strerror or error}; name another --out"
        ) from error
    return ReportSummary(
        out=target,
        page=target / "index.html",
        files=tuple(target / name for name in contents),
        trials=len(collection.trials),
        rows=len(board.rows),
        failed=len(board.failures),
        notes=tuple(board.notes),
        board=board,
    )


def _within(folder: Path) -> Path:
    """The folder of the report where none is named.

    Raises:
        UsageError: If it is a link: a directory from elsewhere would say what is overwritten.
    """
    target = folder / "report"
    if target.is_symlink():
        raise UsageError(f"{target} is a link: name where the report goes (--out)")
    return target
