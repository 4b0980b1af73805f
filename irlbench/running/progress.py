"""What a run tells while it is under way: plain lines in a log, bars on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

from irlbench.running.record import Record
from irlbench.running.trial import TrialSpec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from rich.text import Text


class Progress(Protocol):
    """Hears of every event of a run, in the driver's process, from one thread at a time."""

    def planned(self, trials: Sequence[TrialSpec]) -> None:
        """The trials that this run has to do; those that are there already are not among them."""

    def started(self, trial: TrialSpec) -> None:
        """A trial has begun."""

    def advanced(self, trial: TrialSpec, step: int, total: int | None) -> None:
        """A trial has come to a step, of so many where that is known."""

    def finished(self, trial: TrialSpec, record: Record) -> None:
        """A trial has ended and its record is written."""

    def found(self, trial: TrialSpec, record: Record) -> None:
        """A planned trial has been finished by another run."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """The run is over. May be called more than once."""


def progress_for(stream: IO[str], *, verbose: bool = False, quiet: bool = False) -> Progress:
    """Bars where the stream is a terminal that can draw them, lines elsewhere.

    Args:
        stream: Where to write.
        verbose: More lines on a stream that is no terminal.
        quiet: Failures and notes only.
    """
    if quiet or not can_draw(stream):
        return PlainProgress(stream, every=5.0 if verbose else 30.0, quiet=quiet)
    return LiveProgress(stream)


def can_draw(stream: IO[str]) -> bool:
    """Whether a stream is a terminal on which a cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def describe(record: Record) -> str:
    """A finished trial's outcome in a few words: its primary score and time, or its error."""
    if record.failed:
        error = record.error or {}
        first = str(error.get("message", "")).strip().partition("\n")[0]
        return f"{error.get('type', 'failed')}: {first}"
    name = str(record.primary["name"])
    value = record.scores.get(name)
    score = "no score" if value is None else f"{name} {value:.4g}"
    seconds = record.costs.get("seconds")
    return score if seconds is None else f"{score} in {duration(float(seconds))}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class PlainProgress:
    """One line per event; for logs.

    Args:
        stream: Where to write; None takes standard output.
        every: Least seconds between two lines on how far one trial is.
        quiet: Failures and notes only.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        stream: IO[str] | None = None,
        *,
        every: float = 30.0,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._every, self._quiet, self._clock = every, quiet, clock
        self._total = self._ended = 0
        self._last: dict[str, float] = {}

    def planned(self, trials: Sequence[TrialSpec]) -> None:
        """See `Progress.planned`."""
        self._total = len(trials)
        if not self._quiet:
            self._write(f"{len(trials)} trial{'' if len(trials) == 1 else 's'} to run")

    def started(self, trial: TrialSpec) -> None:
        """See `Progress.started`."""
        self._last[trial.id] = self._clock()

    def advanced(self, trial: TrialSpec, step: int, total: int | None) -> None:
        """See `Progress.advanced`."""
        now = self._clock()
        if self._quiet or now - self._last.get(trial.id, now) < self._every:
            return
        self._last[trial.id] = now
        of = "" if total is None else f" of {total:,}"
        self._write(f"{self._counter()} ...... {trial.label}: step {step:,}{of}")

    def finished(self, trial: TrialSpec, record: Record) -> None:
        """See `Progress.finished`."""
        self._last.pop(trial.id, None)
        self._end(trial, record, "")

    def found(self, trial: TrialSpec, record: Record) -> None:
        """See `Progress.found`."""
        self._end(trial, record, " by another run")

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._write(text)

    def close(self) -> None:
        """See `Progress.close`."""
        self._stream.flush()

    def _end(self, trial: TrialSpec, record: Record, who: str) -> None:
        self._ended += 1
        if record.failed or not self._quiet:
            state = "FAILED" if record.failed else "done  "
            self._write(f"{self._counter()} {state} {trial.label}{who}: {describe(record)}")

    def _counter(self) -> str:
        digits = len(str(self._total))
        return f"[{self._ended:>{digits}}/{self._total}]"

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class LiveProgress:
    """A bar for the whole run and one per running trial; finished trials scroll by above.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False)
        self._bars: Bars = _bars(self._console)
        self._rows: dict[str, TaskID] = {}
        self._total = self._ended = self._failed = 0
        self._whole: TaskID = self._bars.add_task("preparing", total=None, count="")
        self._bars.start()

    def planned(self, trials: Sequence[TrialSpec]) -> None:
        """See `Progress.planned`."""
        self._total = len(trials)
        self._bars.update(self._whole, description=self._headline(), total=len(trials))

    def started(self, trial: TrialSpec) -> None:
        """See `Progress.started`."""
        self._rows[trial.id] = self._bars.add_task(f"  {trial.label}", total=None, count="")

    def advanced(self, trial: TrialSpec, step: int, total: int | None) -> None:
        """See `Progress.advanced`."""
        row = self._rows.get(trial.id)
        if row is not None:
            shown = f"{step:,}" if total is None else f"{step:,}/{total:,}"
            self._bars.update(row, completed=step, total=total, count=shown)

    def finished(self, trial: TrialSpec, record: Record) -> None:
        """See `Progress.finished`."""
        row = self._rows.pop(trial.id, None)
        if row is not None:
            self._bars.remove_task(row)
        self._end(trial, record, "")

    def found(self, trial: TrialSpec, record: Record) -> None:
        """See `Progress.found`."""
        self._end(trial, record, " by another run")

    def _end(self, trial: TrialSpec, record: Record, who: str) -> None:
        self._ended += 1
        self._failed += record.failed
        self._print(_finished_line(trial, record, who))
        self._bars.update(self._whole, completed=self._ended, description=self._headline())

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        from rich.text import Text

        self._print(Text(text, style="yellow"), wrap=True)

    def close(self) -> None:
        """See `Progress.close`."""
        self._bars.stop()

    def _headline(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._ended} of {self._total} trials{failed}"

    def _print(self, text: Text, *, wrap: bool = False) -> None:
        self._bars.console.print(text, no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")


def _finished_line(trial: TrialSpec, record: Record, who: str) -> Text:
    from rich.text import Text

    line = Text()
    if record.failed:
        line.append("✗ ", style="bold red")
        line.append(f"{trial.label}{who}", style="red")
    else:
        line.append("✓ ", style="green")
        line.append(f"{trial.label}{who}")
    return line.append(f"  {describe(record)}", style="red" if record.failed else "dim")


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Label(ProgressColumn):
        """The description as it stands: names are no markup."""

        def render(self, task: Any) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    return Bars(
        Label(),
        BarColumn(bar_width=24 if console.width >= 100 else 12),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
    )


Advance = Callable[[int, int | None, Mapping[str, float]], None]


@contextmanager
def step_reporter(
    stream: IO[str], label: str, *, quiet: bool = False, every: float = 10.0
) -> Iterator[Advance]:
    """Shows how far one long computation is, a bar on a terminal and lines elsewhere.

    Args:
        stream: Where to write.
        label: What is being computed.
        quiet: Show nothing.
        every: Least seconds between two lines.

    Yields:
        A function to call with the step, the last step where it is known, and scalars to show.
    """
    if quiet:
        yield lambda step, total, scalars: None
    elif can_draw(stream):
        from rich.console import Console

        bars = _bars(Console(file=stream, highlight=False))
        row = bars.add_task(label, total=None, count="")

        def draw(step: int, total: int | None, scalars: Mapping[str, float]) -> None:
            shown = f"{step:,}" if total is None else f"{step:,}/{total:,}"
            bars.update(row, completed=step, total=total, count=_scalars(shown, scalars))

        with bars:
            yield draw
    else:
        last = time.monotonic() - every

        def write(step: int, total: int | None, scalars: Mapping[str, float]) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= every or step == total:
                last = now
                of = "" if total is None else f" of {total:,}"
                stream.write(f"{label}: {_scalars(f'step {step:,}{of}', scalars)}\n")
                stream.flush()

        yield write


def _scalars(shown: str, scalars: Mapping[str, float]) -> str:
    return "  ".join([shown, *(f"{name} {value:.4g}" for name, value in scalars.items())])
