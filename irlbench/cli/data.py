"""`irlbench data`: the demonstrations and preferences there are, making more, and exchanging them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irlbench.cli import values
from irlbench.cli.options import Quiet, Verbose, complete_tasks
from irlbench.cli.output import complain, count, hint, say, table
from irlbench.errors import UsageError

if TYPE_CHECKING:
    from irlbench.data.minari_store import DatasetSummary
    from irlbench.data.named import StoredSet, Summary

IMPORT_EXAMPLES = """
irlbench data import Hopper-v4.npz --task control/hopper --name cs285 --clip-actions

irlbench data import mujoco/hopper/expert-v0 --task control/hopper --name minari

irlbench run control/hopper --demos cs285 --algorithms bc
"""
BUILD_EXAMPLES = """
irlbench data build control/hopper

irlbench data build control/hopper --demonstrations 10 --subsample 20 --name few

irlbench data build control/hopper --preferences 1000 --segment 100 --name long
"""
EXPORT_EXAMPLES = """
irlbench data export expert --task control/hopper --to ~/.minari/datasets
"""

_Task = Annotated[
    str,
    typer.Option("--task", metavar="TASK", help="Which task's.", autocompletion=complete_tasks),
]


def list_command(verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Show the demonstrations and preferences in the cache folder.

    Those that tasks built by their recipe, those built under a name, and imported ones.
    """
    from irlbench.data.named import list_sets
    from irlbench.home import home

    folder = home()
    found = list_sets(folder)
    if not found:
        say(f"no data sets in {folder} yet")
        hint(
            "tasks build theirs when they first run; `irlbench data build --help` and "
            "`irlbench data import --help` say how to add"
        )
        return
    _show(found)
    say(f"in {folder / 'data'}")


def _show(found: Sequence[StoredSet]) -> None:
    from irlbench.data.minari_store import DatasetSummary

    demonstrated, compared = [], []
    for entry in found:
        summary, named = entry.summary, [entry.task, entry.name, entry.kind]
        if isinstance(summary, DatasetSummary):
            numbers = [f"{summary.episodes:,}", f"{summary.steps:,}", _return(summary)]
            demonstrated.append([*named, *numbers, summary.content_hash[:12]])
        else:
            ties = f"{summary.ties / summary.comparisons:.0%}"
            numbers = [f"{summary.comparisons:,}", ties, f"{summary.steps:,}"]
            compared.append([*named, *numbers, summary.content_hash[:12]])
    ours = ["task", "name", ""]
    table(demonstrated, [*ours, "episodes", "steps", "return", "content"], right=(3, 4, 5))
    if demonstrated and compared:
        say()
    table(compared, [*ours, "comparisons", "ties", "steps", "content"], right=(3, 4, 5))


def build_command(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="Which task.", autocompletion=complete_tasks)
    ],
    demonstrations: Annotated[
        str | None,
        typer.Option("--demonstrations", metavar="N", help="Record N episodes of the expert."),
    ] = None,
    subsample: Annotated[
        str,
        typer.Option(
            "--subsample",
            metavar="K",
            help="Give learners every K-th step alone, with what it truly led to.",
        ),
    ] = "1",
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed",
            help="Episodes of mixed quality: the expert's, those of chance, and in between.",
        ),
    ] = False,
    preferences: Annotated[
        str | None,
        typer.Option(
            "--preferences", metavar="N", help="Judge N pairs of segments by their true reward."
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment",
            metavar="L",
            help="Steps of a segment; else as in the task's own.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[str, typer.Option("--seed", metavar="S", help="Draws the episodes.")] = "0",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What `irlbench run --demos` calls them."),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Make demonstrations or preferences, and keep them under a name.

    With a task alone, make what its recipe says; it would be made when the task first runs.
    """
    from irlbench.data.building import BuildRequest
    from irlbench.data.named import list_sets
    from irlbench.home import home
    from irlbench.registry import registry
    from irlbench.task import TaskOptions

    found = registry().task(task)
    chosen = {
        "demonstrations": values.whole(demonstrations, "--demonstrations"),
        "preferences": values.whole(preferences, "--preferences"),
        "segment": values.whole(segment, "--segment"),
        "subsample": values.whole(subsample, "--subsample"),
        "seed": values.whole(seed, "--seed", least=0),
        "mixed": mixed,
    }
    if name is None:
        plain = {"subsample": 1, "seed": 0}
        asked = [key for key, value in chosen.items() if value and value != plain.get(key)]
        if asked:
            raise UsageError(f"--{asked[0]} needs --name NAME: what `--demos` will call the set")
        found.prepare(TaskOptions(), home())
        _show([entry for entry in list_sets(home(), found.id) if entry.kind == "built"])
        return
    summary = found.build(BuildRequest(name=name, **chosen), home())  # type: ignore[arg-type]
    _tell("built", summary, found.id, name)


def import_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Demonstrations: a .npz file (for each episode i: observations_i, actions_i, "
            "rewards_i, terminations_i, truncations_i), a Minari data set (its id or folder), or a "
            "folder of the imitation package's trajectories. Preferences: a .npz file (obs_1, "
            "obs_2, action_1, action_2, label).",
        ),
    ],
    task: _Task,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What `irlbench run --demos` calls them.")
    ],
    clip_actions: Annotated[
        bool,
        typer.Option("--clip-actions", help="Clip actions to their bounds; else they are refused."),
    ] = False,
    correct_time_limits: Annotated[
        bool,
        typer.Option(
            "--correct-time-limits",
            help="Take episodes that end as terminated in the last possible step for cut.",
        ),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check recorded demonstrations or preferences and keep them under a name."""
    from irlbench.data.importing import import_set
    from irlbench.home import home
    from irlbench.registry import registry

    found = registry().task(task)
    summary = import_set(
        source,
        found,
        name=name,
        clip_actions=clip_actions,
        correct_time_limits=correct_time_limits,
        home=home(),
    )
    _tell("imported", summary, found.id, name)


def export_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="As `irlbench data list` shows it; `expert` for a task's own."
        ),
    ],
    task: _Task,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="A folder of Minari data sets; made if missing."),
    ],
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Write demonstrations, with their rewards, as a Minari data set."""
    import gymnasium

    from irlbench.data.exporting import export_minari
    from irlbench.home import home
    from irlbench.registry import registry

    found = registry().task(task)
    spec = gymnasium.spec(found.info.environment)
    id, summary = export_minari(found.id, name, to, home(), spec)
    say(f"exported {count(summary.episodes, 'episode')} of {found.id} to {to / id}")
    if summary.subsample > 1:
        say(
            f"whole episodes, of which learners here are given every {_nth(summary.subsample)} step"
        )
    hint(f"next: MINARI_DATASETS_PATH={shlex.quote(str(to))} minari show {id}")


def _tell(done: str, summary: Summary, task: str, name: str) -> None:
    """Says what there is now, and how it is used."""
    from irlbench.data.minari_store import DatasetSummary

    if isinstance(summary, DatasetSummary):
        told = f"{count(summary.episodes, 'episode')} of {task} as {name!r}"
        every = f", every {_nth(summary.subsample)}" if summary.subsample > 1 else ""
        steps = count(summary.steps, "step") + every
        say(f"{done} {told}: {steps}, return {_return(summary)}")
        algorithm = "bc"
    else:
        told = f"{count(summary.comparisons, 'preference')} of {task} as {name!r}"
        ties = f"{summary.ties:,} of them ties" if summary.ties else "no ties"
        say(f"{done} {told}: {ties}, {count(summary.steps, 'step')}")
        algorithm = "bt-reward"
    _tell_found(summary)
    hint(f"next: irlbench run {task} --demos {shlex.quote(name)} --algorithms {algorithm}")


def _tell_found(summary: Summary) -> None:
    """Says what importing found on the way."""
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
    limit = summary.recipe.get("time_limit")
    if limit and limit["corrected"]:
        say(f"taken for cut by the time limit: {count(limit['episodes'], 'episode')}")
    elif limit:
        complain(
            f"warning: {count(limit['episodes'], 'episode')} ended as terminated in the last "
            "possible step: if the time limit cut them, import them with --correct-time-limits "
            "under another name"
        )


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def _return(summary: DatasetSummary) -> str:
    return f"{summary.demonstrator['return']:.1f}"
