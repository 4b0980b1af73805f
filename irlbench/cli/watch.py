"""`irlbench watch`: a film of a trial's policy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from irlbench.cli import values
from irlbench.cli.options import Plugins, Quiet, Verbose
from irlbench.cli.output import VERBOSITY, say, shown_path
from irlbench.errors import UsageError

EXAMPLES = """
irlbench watch runs/control-hopper 3f2a

irlbench watch runs/control-hopper 3f2a --episodes 3 --out hopper.mp4
"""


def watch(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What `irlbench run` wrote to.", show_default=False),
    ],
    trial: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL",
            help="Its id, or the beginning of it; `irlbench status -v DIR` has them.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .gif or .mp4; else DIR/films/<trial>.gif.",
            show_default=False,
        ),
    ] = None,
    episodes: Annotated[
        str, typer.Option("--episodes", metavar="N", help="How many, one after the other.")
    ] = "1",
    plugins: Plugins = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Write a film of a trial's final policy, acting on evaluation seeds of its task.

    MuJoCo draws with OpenGL, Gymnasium's classic environments with pygame: what is not installed is
    named.
    """
    from irlbench.registry import registry
    from irlbench.running.film import check_suffix, film
    from irlbench.running.progress import step_reporter
    from irlbench.running.reading import load_trial

    count = values.whole(episodes, "--episodes") or 1
    for plugin in plugins or ():
        registry().load_plugin(plugin)
    if out is not None:
        check_suffix(out)
    found = load_trial(folder, trial)
    record = found.record
    if found.policy is None:
        raise UsageError(
            f"trial {record.trial[:12]} in {shown_path(folder)} holds no policy that can be loaded "
            f"(it is {record.status})"
        )
    task = registry().task(record.spec["task"])
    most = count * task.info.horizon
    target = folder / "films" / f"{record.trial[:12]}.gif" if out is None else out
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with step_reporter(sys.stdout, "drawing", quiet=VERBOSITY.quiet) as advance:
            returns = film(
                task, found.policy, target, episodes=count, advance=lambda n: advance(n, most, {})
            )
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from error
    told = ", ".join(f"{value:.4g}" for value in returns)
    what = f"{record.spec['algorithm']} on {record.spec['task']}, seed {record.spec['seed']}"
    say(f"{what}: {shown_path(target)} (return {told})")
