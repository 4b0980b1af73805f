"""`irlbench models`: makes the language models that ship."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from irlbench.cli import values
from irlbench.cli.options import Quiet, Verbose
from irlbench.cli.output import VERBOSITY, hint, say, shown_path, table
from irlbench.errors import UnknownNameError, UsageError
from irlbench.home import below

#: Functions `train(out, *, seed, threads, quick, progress) -> recipe`, by the model's name.
GROUP = "irlbench.models"


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which model.")] = "tiny-llama",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where it goes; a folder that is new or empty. Else runs/models/NAME.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        str, typer.Option("--seed", metavar="N", help="Of its weights and of its corpus.")
    ] = "0",
    threads: Annotated[
        str,
        typer.Option(
            "--threads", metavar="N", help="Another number rounds otherwise: other weights."
        ),
    ] = "1",
    quick: Annotated[
        bool, typer.Option("--quick", help="A few updates only, to see that it works.")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a language model from scratch, as the one that ships was trained."""
    from irlbench.running.progress import step_reporter

    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise UnknownNameError("model", name, points)
    target = below(Path("runs") / "models", name) if out is None else out
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is taken: name a folder that is new or empty (--out)")
    make = points[name].load()
    with step_reporter(sys.stdout, f"training {name}", quiet=VERBOSITY.quiet) as advance:
        recipe = make(
            target,
            seed=values.whole(seed, "--seed", least=0),
            threads=values.whole(threads, "--threads"),
            quick=quick,
            progress=advance,
        )
    where = shown_path(target)
    say(f"{name} is in {where}")
    table(_told(recipe))
    hint(f"next: irlbench run text/arithmetic --model {shlex.quote(where)}")


def _told(recipe: dict[str, Any]) -> list[list[str]]:
    """The recipe's plain numbers, and what was measured."""
    rows = [
        [key, f"{value:,}"]
        for key, value in recipe.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    measured = recipe.get("measured", {})
    return rows + [[f"measured {key}", f"{value:.4g}"] for key, value in measured.items()]
