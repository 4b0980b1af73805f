"""`irlbench export`: the records of runs as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from irlbench.cli.options import Quiet, Verbose
from irlbench.cli.output import complain, count, hint, say, shown_path


def export(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="What `irlbench run` wrote to; several are merged.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Where it goes.", show_default=False),
    ],
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Write the records as one table, to be committed or handed on.

    Writes records.parquet and curves.parquet (thinned), without policies, rewards and logs.
    `irlbench report` and `irlbench.load_results` read them as they read the trials.
    """
    from irlbench.reporting.export import export as write

    written = write(folders, out)
    for note in written.notes:
        complain(note)
    sizes = ", ".join(f"{name} {size / 1000:.0f} kB" for name, size in written.files.items())
    say(f"{count(written.trials, 'trial')} in {shown_path(written.out)}: {sizes}")
    hint(f"\nnext: irlbench report {shown_path(written.out)}")
