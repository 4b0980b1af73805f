"""`irlbench run`: from arguments to trials, and what is said at the end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irlbench.cli import values
from irlbench.cli.options import (
    Quiet,
    Verbose,
    complete_algorithms,
    complete_targets,
    starting,
)
from irlbench.cli.output import VERBOSITY, complain, count, first_line, hint, say, shown_path
from irlbench.errors import UsageError

if TYPE_CHECKING:
    from irlbench.running.api import RunSummary

EXAMPLES = """
irlbench run quick

irlbench run control/cartpole -a bc -s 5 --set bc.learning_rate=0.0003

irlbench run control/hopper --demos cs285 --demonstrations 1,2 -o runs/few

irlbench run text/gsm8k --data path/to/gsm8k --algorithms bc
"""
_WHAT, _SPEND, _GIVEN = "What runs", "What it may spend", "What it is given"
_AGAIN, _WHERE = "Again, or not at all", "Where"
_FAILURES_SHOWN = 5


def _option(*flags: str, panel: str, help: str, **settings: Any) -> Any:
    return typer.Option(*flags, rich_help_panel=panel, help=help, show_default=False, **settings)


def run(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|TASK",
            help="A suite (smoke, quick), or tasks (control/cartpole).",
            autocompletion=complete_targets,
            show_default=False,
        ),
    ] = None,
    algorithms: Annotated[
        str | None,
        _option(
            "--algorithms",
            "-a",
            panel=_WHAT,
            metavar="A,B",
            help="Which algorithms; else the suite's, or all that can run on the task.",
            autocompletion=complete_algorithms,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        _option(
            "--seeds",
            "-s",
            panel=_WHAT,
            metavar="N|a..b|1,5,7",
            help="N seeds (0 to N-1), a range with both ends, or the seeds themselves.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        _option(
            "--set",
            panel=_WHAT,
            metavar="ALGORITHM.FIELD=VALUE",
            help="Change a hyperparameter; may be repeated. `irlbench list algorithms bc` names them.",
        ),
    ] = None,
    track: Annotated[
        str | None,
        _option("--track", panel=_WHAT, metavar="T", help="Which track; else the algorithm's own."),
    ] = None,
    config: Annotated[
        Path | None,
        _option(
            "--config",
            panel=_WHAT,
            metavar="F.toml",
            help="Read options from a file; the command line goes before it.",
        ),
    ] = None,
    plugins: Annotated[
        list[Path] | None,
        _option(
            "--plugin",
            panel=_WHAT,
            metavar="FILE.py",
            help="A file that defines algorithms, solvers or tasks; may be repeated.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        _option(
            "--budget",
            panel=_SPEND,
            metavar="steps=N,...",
            help="steps (environment steps; on text, tokens), gradient_steps, seconds.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        _option(
            "--timeout",
            panel=_SPEND,
            metavar="S",
            help="Seconds after which a trial is ended and counts as failed.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        _option(
            "--memory",
            panel=_SPEND,
            metavar="SIZE",
            help="Memory above which a trial is ended and counts as failed, as 8GB or 500MiB; else "
            "nine tenths of what there is.",
        ),
    ] = None,
    jobs: Annotated[
        str | None,
        _option(
            "--jobs",
            "-j",
            panel=_SPEND,
            metavar="N",
            help="Trials at a time; else one per core, or as many as the GPUs take.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        _option(
            "--threads",
            panel=_SPEND,
            metavar="N",
            help="Threads per trial (1 unless asked otherwise); part of what determines a result.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        _option(
            "--device",
            panel=_SPEND,
            metavar="auto|cpu|cuda",
            help="Where tensors live; auto takes a GPU if there is one.",
            autocompletion=lambda incomplete: starting(values.DEVICES, incomplete),
        ),
    ] = None,
    gpus_per_trial: Annotated[
        str | None,
        _option(
            "--gpus-per-trial",
            panel=_SPEND,
            metavar="X",
            help="GPUs for each trial, on cuda only: 0.5 puts two on one; else 1.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        str | None,
        _option(
            "--checkpoint-every",
            panel=_SPEND,
            metavar="S",
            help="Seconds after which a trial keeps its state again, to go on from after a kill; "
            "else 60.",
        ),
    ] = None,
    demonstrations: Annotated[
        str | None,
        _option("--demonstrations", panel=_GIVEN, metavar="N,...", help="How many episodes."),
    ] = None,
    preferences: Annotated[
        str | None,
        _option("--preferences", panel=_GIVEN, metavar="N,...", help="How many ranked pairs."),
    ] = None,
    demos: Annotated[
        str | None,
        _option(
            "--demos",
            panel=_GIVEN,
            metavar="NAME",
            help="A data set in place of the task's own demonstrations, or preferences "
            "(`irlbench data list`).",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        _option("--data", panel=_GIVEN, metavar="PATH", help="Files that the task does not ship."),
    ] = None,
    model: Annotated[
        str | None,
        _option(
            "--model",
            panel=_GIVEN,
            metavar="PATH|HUB_ID@REVISION",
            help="Language model to start from, in place of the one that ships.",
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        _option(
            "--retry-failed",
            panel=_AGAIN,
            help="Run trials again that failed, or whose record is damaged.",
        ),
    ] = False,
    rerun: Annotated[
        list[str] | None,
        _option(
            "--rerun",
            panel=_AGAIN,
            metavar="ID",
            help="Run this trial again, whatever came of it: the beginning of its id is enough. "
            "The old record stays beside the new one. May be repeated.",
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        _option(
            "--known",
            panel=_AGAIN,
            metavar="DIR",
            help="Records of other runs, or exported ones: trials that are there are not run. May "
            "be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        _option(
            "--dry-run",
            panel=_AGAIN,
            help="Only show what would run, with time and disk as earlier records tell.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        _option(
            "--out",
            "-o",
            panel=_WHERE,
            metavar="DIR",
            help="Where records go; else runs/<suite or task>.",
        ),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run algorithms on tasks, and keep a record of every trial.

    What is finished already is not run again, unless that is asked for: the same command goes on
    where it was stopped. Several at once on one directory divide the trials among themselves.
    """
    from irlbench.cli.config import read_config

    asked: dict[str, Any] = {} if config is None else read_config(config)
    given = {
        "algorithms": values.names(algorithms, "--algorithms"),
        "seeds": values.seeds(seeds),
        "jobs": values.whole(jobs, "--jobs"),
        "threads": values.whole(threads, "--threads"),
        "device": values.device(device),
        "timeout": values.seconds(timeout, "--timeout"),
        "memory": values.size(memory, "--memory"),
        "gpus_per_trial": values.number(gpus_per_trial, "--gpus-per-trial"),
        "checkpoint_seconds": values.seconds(checkpoint_every, "--checkpoint-every"),
        "demos": demos,
        "demonstrations": values.counts(demonstrations, "--demonstrations"),
        "preferences": values.counts(preferences, "--preferences"),
        "track": track,
        "data": data,
        "model": model,
        "plugins": plugins,
        "rerun": rerun,
        "known": known,
        "retry_failed": retry_failed or None,
        "out": out,
    }
    settings_now = {**asked.pop("settings", {}), **values.settings(settings or ())}
    budget_now = {**asked.pop("budget", {}), **values.budget(budget or ())}
    asked.update({name: value for name, value in given.items() if value is not None})
    if targets:
        asked["target"] = targets[0] if len(targets) == 1 else targets
    _execute(asked, settings_now, budget_now, only_show=dry_run)


def _execute(
    asked: dict[str, Any], settings: dict[str, Any], budget: dict[str, Any], *, only_show: bool
) -> None:
    """Runs the trials and says what came of them, or only shows which there are.

    Raises:
        typer.Exit: With code 1 if a trial failed, 130 if it was interrupted.
    """
    if "target" not in asked:
        from irlbench.registry import registry

        suites = ", ".join(registry().names("suites"))
        raise UsageError(f"name a suite ({suites}) or tasks; `irlbench list` shows them")
    if only_show:
        from irlbench.cli import dry_run
        from irlbench.running.api import dry_run as plan

        dry_run.show(plan(asked.pop("target"), settings=settings, budget=budget, **asked))
        return
    from irlbench.running.api import run as run_trials
    from irlbench.running.progress import progress_for

    progress = progress_for(sys.stdout, verbose=VERBOSITY.verbose, quiet=VERBOSITY.quiet)
    try:
        summary = run_trials(
            asked.pop("target"),
            settings=settings,
            budget=budget,
            progress=progress,
            **asked,
        )
    finally:
        progress.close()
    _conclude(summary)


def _conclude(summary: RunSummary) -> None:
    where = shown_path(summary.out)
    told = [f"{count(summary.done, 'trial')} done"]
    if summary.reused:
        told += [f"{summary.reused} there already", f"{summary.failed} failed in all"]
    else:
        told += [f"{summary.failed} failed"]
    if summary.damaged:
        told += [f"{len(summary.damaged)} damaged"]
    say(f"{', '.join(told)}; records in {where}")
    if summary.failed:
        _tell_failures(summary, where)
    if summary.damaged:
        _tell_damage(summary)
    if summary.interrupted:
        complain("interrupted; every finished trial is kept")
        complain(f"to go on: {shlex.join(['irlbench', *sys.argv[1:]])}")
        raise typer.Exit(130)
    if summary.done + summary.reused:
        hint(f"next: irlbench report {shlex.quote(where)}")
    if summary.failed or summary.damaged:
        raise typer.Exit(1)


def _tell_failures(summary: RunSummary, where: str) -> None:
    for trial, error in summary.failures[:_FAILURES_SHOWN]:
        complain(f"trial {trial[:12]} failed: {first_line(error)}")
    more = len(summary.failures) - _FAILURES_SHOWN
    if more > 0:
        complain(f"... and {more} more")
    complain(
        f"{summary.failed} of {count(summary.planned, 'trial')} failed: `irlbench status "
        f"{shlex.quote(where)}` names them, {where}/trials/<trial>/ holds record.json with the "
        "traceback, and log.txt; the same command with --retry-failed runs them again"
    )


def _tell_damage(summary: RunSummary) -> None:
    for trial, damage in summary.damaged[:_FAILURES_SHOWN]:
        complain(f"trial {trial[:12]} cannot be used: {damage}")
    more = len(summary.damaged) - _FAILURES_SHOWN
    if more > 0:
        complain(f"... and {more} more")
    complain("the same command with --retry-failed runs damaged trials again")
