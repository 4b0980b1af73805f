"""`irlbench check`: whether an algorithm or a task keeps the contract."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irlbench.cli import values
from irlbench.cli.options import Plugins, Quiet, Verbose, complete_tasks, starting
from irlbench.cli.output import VERBOSITY, heading, say
from irlbench.errors import UnknownNameError, UsageError
from irlbench.reporting.escape import visible

if TYPE_CHECKING:
    from irlbench.checking.verdicts import Check
    from irlbench.task import TaskOptions

EXAMPLES = """
irlbench check bc

irlbench check mine/new --plugin new.py --task control/cartpole

irlbench check gridworld/four-rooms
"""
Advance = Callable[[int, int], None]
_STYLES = {
    "held": "green",
    "did not hold": "bold red",
    "inconclusive": "yellow",
    "not applicable": "dim",
}
#: After which a fit is ended, unless asked otherwise.
SECONDS = 120.0
CAVEAT = (
    "This shows the absence of accidental dependence on what is hidden, not of malice: an algorithm "
    "that means to cheat can."
)


def _option(*flags: str, metavar: str, help: str, **settings: Any) -> Any:
    return typer.Option(*flags, metavar=metavar, help=help, show_default=False, **settings)


def _complete(incomplete: str) -> list[str]:
    from importlib.metadata import entry_points

    algorithms = (point.name for point in entry_points(group="irlbench.algorithms"))
    return starting(algorithms, incomplete) + complete_tasks(incomplete)


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ALGORITHM|TASK",
            help="An algorithm (bc) or a task (control/cartpole).",
            autocompletion=_complete,
        ),
    ],
    task: Annotated[
        str | None,
        _option(
            "--task",
            metavar="TASK",
            help="Where the algorithm is checked; else on the first task that suits it.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    track: Annotated[
        str | None,
        _option("--track", metavar="T", help="Which track; else one with interaction if it can."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        _option(
            "--set",
            metavar="ALGORITHM.FIELD=VALUE",
            help="Change a hyperparameter; may be repeated.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        _option(
            "--budget",
            metavar="steps=N,...",
            help="What each fit may spend; else little: 4,096 steps, 200 gradient steps (on text "
            "512 and 2).",
        ),
    ] = None,
    seed: Annotated[str | None, _option("--seed", metavar="N", help="Of learning; else 0.")] = None,
    data: Annotated[
        Path | None,
        _option("--data", metavar="PATH", help="Files that the task does not ship."),
    ] = None,
    plugins: Plugins = None,
    timeout: Annotated[
        str | None,
        _option("--timeout", metavar="S", help="Seconds after which a fit is ended; else 120."),
    ] = None,
    jobs: Annotated[
        str | None, _option("--jobs", "-j", metavar="N", help="Fits at a time; else one per core.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check that an algorithm or a task keeps the contract; of an algorithm, audit what it sees.

    An algorithm learns on the same data while only what is hidden from it changes: it must come to
    the same bits. Ends with 1 where a check did not hold, or says nothing either way.
    """
    from irlbench.checking.verdicts import all_held
    from irlbench.registry import registry
    from irlbench.running.interrupts import interruptible
    from irlbench.running.progress import step_reporter
    from irlbench.task import TaskOptions

    for path in plugins or ():
        registry().load_plugin(path)
    seconds = values.seconds(timeout, "--timeout") or SECONDS
    options = TaskOptions(data=None if data is None else str(data))
    silent = as_json or VERBOSITY.quiet
    chosen = {
        "--task": task,
        "--track": track,
        "--set": values.settings(settings or ()),
        "--budget": values.budget(budget or ()),
        "--seed": values.whole(seed, "--seed", least=0),
        "--jobs": values.whole(jobs, "--jobs"),
    }
    algorithm = name in registry().names("algorithms")
    label = f"checking {name}"
    of = partial(_of_algorithm if algorithm else _of_task, name, chosen, options, seconds)
    with interruptible(), step_reporter(sys.stdout, label, quiet=silent) as advance:
        title, checks = of(lambda done, total: advance(done, total, {}))
    notes = [CAVEAT] if algorithm else []
    if as_json:
        told = [each.to_json() for each in checks]
        content = {"checked": title, "held": all_held(checks), "checks": told, "notes": notes}
        say(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _show(title, checks)
        for note in notes:
            say(note)
    if not all_held(checks):
        raise typer.Exit(1)


def _of_algorithm(
    name: str, chosen: dict[str, Any], options: TaskOptions, seconds: float, advance: Advance
) -> tuple[str, list[Check]]:
    from irlbench.checking.algorithm import Asked, check_algorithm
    from irlbench.running.asked import default_jobs

    asked = Asked(
        name,
        task=chosen["--task"],
        track=chosen["--track"],
        settings=chosen["--set"],
        budget=chosen["--budget"],
        seed=chosen["--seed"] or 0,
        options=options,
        seconds=seconds,
        at_once=chosen["--jobs"] or default_jobs(1),
    )
    return check_algorithm(asked, advance)


def _of_task(
    name: str, chosen: dict[str, Any], options: TaskOptions, seconds: float, advance: Advance
) -> tuple[str, list[Check]]:
    from irlbench.checking.task import check_task
    from irlbench.registry import registry

    try:
        task = registry().task(name)
    except UnknownNameError:
        found = registry()
        known = [*found.names("algorithms"), *found.names("tasks")]
        raise UnknownNameError("algorithm or task", name, known) from None
    for option, value in chosen.items():
        if value not in (None, {}):
            raise UsageError(f"{option} is for algorithms: {task.id} is a task")
    return task.id, check_task(task, options, seconds, advance)


def _show(title: str, checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading(title)
    lines = Table.grid(padding=(0, 2))
    for column in range(3):
        lines.add_column(no_wrap=column < 2, overflow="fold")
    for check in checks:
        style = _STYLES[check.verdict]
        words = " ".join(visible(check.reason).split())
        lines.add_row(Text(check.verdict, style), check.name, Text(words))
    terminal = sys.stdout.isatty()
    # In a log every check is one line, however long.
    console = Console(file=sys.stdout, highlight=False, width=None if terminal else 10_000)
    with console.capture() as captured:
        console.print(lines)
    for line in captured.get().splitlines():
        say(line.rstrip())
    verdicts = [check.verdict for check in checks]
    say(", ".join(f"{verdicts.count(v)} {v}" for v in _STYLES if v in verdicts))
