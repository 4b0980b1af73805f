"""`irlbench status`: what an output directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irlbench.cli.options import Quiet, Verbose
from irlbench.cli.output import (
    VERBOSITY,
    complain,
    count,
    first_line,
    heading,
    hint,
    say,
    shown_path,
    table,
)
from irlbench.errors import DataError

if TYPE_CHECKING:
    from irlbench.running.record import Record

_TRIAL_HEADER = ("trial", "task", "algorithm", "seed", "status", "given")


def status(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What `irlbench run` wrote to.", show_default=False),
    ],
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show how many trials are done and failed, and why they failed; with -v each with its id.

    Every file of every record is checked.
    """
    from irlbench.running.record_table import open_results
    from irlbench.running.store import Store

    store = open_results(folder)
    records, damaged = [], []
    for trial in store.ids():
        try:
            record = store.read(trial)
            if isinstance(store, Store):
                store.check(record)
            records.append(record)
        except DataError as error:
            damaged.append((trial, str(error)))
    where = shown_path(folder)
    failed = [record for record in records if record.failed]
    running, cut_off = store.under_way() if isinstance(store, Store) else ([], [])
    told = [f"{count(len(records) - len(failed), 'trial')} done", f"{len(failed)} failed"]
    told += [f"{len(running)} running"] if running else []
    told += [f"{len(cut_off)} cut off"] if cut_off else []
    say(f"{where}: {', '.join(told)}")
    if records:
        say()
        (_show_trials if VERBOSITY.verbose else _show_cells)(records)
    for record in failed:
        _show_failure(record, where)
    for trial, reason in damaged:
        complain(f"trial {trial[:12]} cannot be used: {reason}")
    if records:
        hint(f"\nnext: irlbench report {where}")
    if damaged:
        raise typer.Exit(1)


def _show_cells(records: list[Record]) -> None:
    from irlbench.running.trial import in_words

    cells: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        spec = record.spec
        key = (str(spec["task"]), str(spec["algorithm"]), in_words(spec))
        cells.setdefault(key, []).append(record)
    rows = []
    for key, here in sorted(cells.items(), key=lambda item: item[0]):
        failed = sum(record.failed for record in here)
        seconds = sum(float(record.costs.get("seconds", 0.0)) for record in here)
        rows.append([*key[:2], str(len(here) - failed), str(failed), f"{seconds:.0f}", key[2]])
    header = ("task", "algorithm", "done", "failed", "seconds", "given")
    table(rows, header, right=(2, 3, 4))


def _show_trials(records: list[Record]) -> None:
    from irlbench.running.trial import in_words

    rows = []
    for record in sorted(records, key=_place):
        spec, status = record.spec, record.status
        names = (record.trial[:12], str(spec["task"]), str(spec["algorithm"]), str(spec["seed"]))
        rows.append([*names, status, in_words(spec)])
    table(rows, _TRIAL_HEADER, right=(3,))


def _place(record: Record) -> tuple[str, str, int]:
    spec = record.spec
    return str(spec["task"]), str(spec["algorithm"]), int(spec["seed"])


def _show_failure(record: Record, where: str) -> None:
    spec, error = record.spec, record.error or {}
    say()
    heading(f"{spec['task']} {spec['algorithm']} seed {spec['seed']} failed")
    say(f"  {error.get('type', 'error')}: {first_line(str(error.get('message', '')))}")
    say(f"  {where}/trials/{record.trial}")
