"""`irlbench data`: which demonstrations and preferences there are, and bringing one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irlbench.cli.options import Quiet, Verbose, complete_tasks
from irlbench.cli.output import count, hint, say, table

if TYPE_CHECKING:
    from irlbench.data.minari_store import DatasetSummary
    from irlbench.data.preference_store import PreferenceSummary

EXAMPLES = """
irlbench data import Hopper-v4.npz --task control/hopper --name cs285 --clip-actions

irlbench run control/hopper --demos cs285 --algorithms bc
"""


def list_command(verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Show the demonstrations and preferences in the cache folder: built by tasks, and imported."""
    from irlbench.data.importing import list_datasets
    from irlbench.data.preference_store import preferences_in
    from irlbench.home import home

    folder = home()
    found, compared = list_datasets(folder), preferences_in(folder / "data")
    if not found and not compared:
        say(f"no demonstrations in {folder} yet")
        hint(
            "tasks build theirs when they first run; `irlbench data import --help` says how to add"
        )
        return
    rows = []
    for entry in found:
        summary = entry.summary
        rows.append(
            [
                entry.task,
                entry.name,
                entry.kind,
                f"{summary.episodes:,}",
                f"{summary.steps:,}",
                _return(summary),
                summary.content_hash[:12],
            ]
        )
    if rows:
        table(rows, ["task", "name", "", "episodes", "steps", "return", "content"], right=(3, 4, 5))
    if rows and compared:
        say()
    if compared:
        _show_preferences(compared, folder / "data")
    say(f"in {folder / 'data'}")


def _show_preferences(found: list[tuple[Path, PreferenceSummary]], root: Path) -> None:
    rows = []
    for place, summary in found:
        parts = place.relative_to(root).parts
        rows.append(
            [
                "/".join(parts[:2]),
                "/".join(parts[2:]),
                f"{summary.comparisons:,}",
                f"{summary.ties / summary.comparisons:.0%}",
                f"{summary.steps:,}",
                summary.content_hash[:12],
            ]
        )
    table(rows, ["task", "name", "comparisons", "ties", "steps", "content"], right=(2, 3, 4))


def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.npz",
            help="For each episode i: observations_i, actions_i, rewards_i, terminations_i, "
            "truncations_i.",
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="TASK",
            help="Which task they demonstrate.",
            autocompletion=complete_tasks,
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What `irlbench run --demos` calls them.")
    ],
    clip_actions: Annotated[
        bool,
        typer.Option("--clip-actions", help="Clip actions to their bounds; else they are refused."),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check recorded demonstrations and keep them under a name."""
    from irlbench.data.importing import import_demonstrations
    from irlbench.home import home
    from irlbench.registry import registry

    found = registry().task(task)
    summary = import_demonstrations(file, found, name=name, clip_actions=clip_actions, home=home())
    told = f"{count(summary.episodes, 'episode')} of {found.id} as {name!r}"
    say(f"imported {told}: {count(summary.steps, 'step')}, return {_return(summary)}")
    clipped = summary.recipe.get("clipped")
    if clipped:
        say(
            f"clipped {clipped['components']:,} action components ({clipped['fraction']:.1%}), "
            f"the worst was {clipped['worst']:.4g}"
        )
    ignored = summary.recipe.get("ignored")
    if ignored:
        named = ", ".join(map(repr, ignored["first"]))
        more = ", ..." if ignored["fields"] > len(ignored["first"]) else ""
        say(
            f"not read, as no part of an episode: {count(ignored['fields'], 'field')} ({named}{more})"
        )
    hint(f"next: irlbench run {found.id} --demos {shlex.quote(name)} --algorithms bc")


def _return(summary: DatasetSummary) -> str:
    return f"{summary.demonstrator['return']:.1f}"
