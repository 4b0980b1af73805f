"""`irlbench rescore`: scores of learnt rewards that old records lack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from irlbench.cli.options import Plugins, Quiet, Verbose
from irlbench.cli.output import complain, count, hint, say, shown_path


def rescore(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What `irlbench run` wrote to.", show_default=False),
    ],
    plugins: Plugins = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Score the rewards that trials have kept, where their records lack a score.

    Records stay as they are: the scores go into rescored.json beside them, which reports read.
    """
    from irlbench.registry import registry
    from irlbench.running.rescoring import rescore as run

    for plugin in plugins or ():
        registry().load_plugin(plugin)
    found = run(folder, say)
    for reason in found.failed.values():
        complain(f"cannot be scored: {reason}")
    for reason, trials in found.left_out.items():
        complain(f"{count(trials, 'trial')} left out: {reason}")
    told = f"{count(found.done, 'reward')} scored, {found.complete} had every score already"
    say(f"{shown_path(folder)}: {told}")
    hint(f"\nnext: irlbench report {shown_path(folder)}")
    if found.failed:
        raise typer.Exit(1)
