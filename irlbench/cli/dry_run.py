"""`irlbench run --dry-run`: what a run would do, and what it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from irlbench.cli.output import VERBOSITY, complain, count, hint, say, shown_path, table

if TYPE_CHECKING:
    from irlbench.running.estimates import Basis, Plan

_SHOWN = 40
_HEADER = ("task", "algorithm", "to run", "there", "failed", "time", "disk", "judged by", "given")


def show(plan: Plan) -> None:
    """Prints a plan: a row for the trials that differ by the seed alone, and totals in words."""
    shown = plan.cells if VERBOSITY.verbose else plan.cells[:_SHOWN]
    rows = [
        [
            cell.task,
            cell.algorithm,
            str(cell.to_run),
            str(cell.there),
            str(cell.failed + cell.retried),
            "" if cell.basis.seconds is None else _each(cell.basis.seconds),
            "" if cell.basis.bytes is None else size(cell.basis.bytes),
            _judged_by(cell.basis),
            cell.given,
        ]
        for cell in shown
    ]
    table(rows, _HEADER, right=(2, 3, 4, 5, 6))
    if len(shown) < len(plan.cells):
        say(f"  ... and {len(plan.cells) - len(shown):,} rows more (`-v` shows them)")
    say()
    say(totals(plan))
    if plan.bytes > plan.free_bytes:
        complain(
            f"the records may not fit: {size(plan.bytes)} to write, {size(plan.free_bytes)} free; "
            "free some space, or name another --out"
        )
    failed = sum(cell.failed for cell in plan.cells)
    if failed:
        hint(f"{count(failed, 'trial')} failed before; --retry-failed runs what failed again")
    if plan.to_run:
        hint("next: the same command without --dry-run")


def totals(plan: Plan) -> str:
    """What is to run and there already, the time and the disk it takes, in a sentence."""
    from irlbench.running.progress import duration

    where = shown_path(plan.out)
    begin = f"{count(plan.to_run, 'trial')} to run, {plan.there:,} there already"
    free = f"{size(plan.free_bytes)} free"
    if not plan.to_run:
        return f"{begin} in {where}"
    if plan.untimed == plan.to_run:
        return f"{begin}: no earlier record tells how long; {free} in {where}"
    wall, one_by_one = (duration(max(s, 0.1)) for s in (plan.wall_seconds, plan.trial_seconds))
    time = f"{wall} with {count(plan.jobs, 'job')}"
    if plan.untimed:
        without = f"{count(plan.untimed, 'trial')} without an earlier record not counted"
        time = f"at least {time} ({without})"
    else:
        time = f"about {time}"
    if plan.jobs > 1:
        time += f", {one_by_one} one by one"
    if plan.unsized == plan.to_run:
        return f"{begin}: {time}; {free} in {where}"
    more = "at least " if plan.unsized else ""
    return f"{begin}: {time}, {more}{size(plan.bytes)} in {where} ({free})"


def _judged_by(basis: Basis) -> str:
    if not basis.records:
        return ""
    return count(basis.records, "record") + ("" if basis.same else ", other settings")


def _each(seconds: float) -> str:
    from irlbench.running.progress import duration

    return duration(seconds) if seconds >= 0.05 else "<0.1 s"


def size(number: int) -> str:
    """Bytes for people: `812 B`, `14 kB`, `1.4 MB`, `70 GB`."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:,.0f} {unit}"
