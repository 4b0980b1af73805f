"""`irlbench experts`: makes and measures the experts that demonstrate tasks."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irlbench.cli import values
from irlbench.cli.options import Plugins, Quiet, Verbose, complete_tasks
from irlbench.cli.output import VERBOSITY, hint, say, shown_path, table
from irlbench.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from irlbench.task import Task

EXAMPLES = """
irlbench experts train control/cartpole

irlbench experts evaluate control/cartpole --policy runs/experts/cartpole-v0

irlbench experts evaluate control/point-maze-transfer --policy control/point-maze
"""

_TaskName = Annotated[
    str,
    typer.Argument(metavar="TASK", help="Which task.", autocompletion=complete_tasks),
]


def train(
    task: _TaskName,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where it goes; else runs/experts/<task>.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option("--seed", metavar="N", help="Else the recipe's.", show_default=False),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps", metavar="N", help="Environment steps; else the recipe's.", show_default=False
        ),
    ] = None,
    save_at: Annotated[
        str | None,
        typer.Option(
            "--save-at",
            metavar="N,...",
            help="Keep the policies at these steps too (within 1% of the training).",
            show_default=False,
        ),
    ] = None,
    plugins: Plugins = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a task's expert on its true reward, by the recipe of its task.

    Writes expert.safetensors, expert.json and references.json: the scores of the random and the
    expert policy. A training that was killed goes on from its last checkpoint when the same command
    is given again.
    """
    from irlbench.home import home
    from irlbench.registry import registry
    from irlbench.running import experts
    from irlbench.running.progress import step_reporter

    seed_number, step_count = values.whole(seed, "--seed", least=0), values.whole(steps, "--steps")
    wanted = values.counts(save_at, "--save-at") or ()
    for path in plugins or ():
        registry().load_plugin(path)
    found = registry().task(task)
    cache = home()
    found.expert_problem(0, cache)
    recipe = experts.expert_recipe(found, seed=seed_number, steps=step_count)
    experts.require_steps(found, recipe, wanted)
    folder = Path("runs") / "experts" / found.id.split("/", 1)[1] if out is None else out
    experts.new_folder(folder)
    unfinished = experts.training_folder(folder, found, recipe, wanted)
    if (unfinished / "checkpoint.json").exists():
        say(f"going on from the last checkpoint in {shown_path(unfinished)}")
    label = f"training the expert of {found.id}"
    with step_reporter(sys.stdout, label, quiet=VERBOSITY.quiet) as advance:
        policy = experts.train_expert(
            found, cache, recipe, advance=advance, folder=unfinished, save_at=wanted
        )
    measured = experts.write_expert(found, policy, cache, folder, recipe)
    along = experts.finish_training(unfinished, found, cache, folder, recipe, wanted)
    where = shown_path(folder)
    say(f"the expert of {found.id} is in {where}")
    _show(found, {**measured, **along})
    hint(f"next: irlbench experts evaluate {found.id} --policy {shlex.quote(where)}")


def evaluate(
    task: _TaskName,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="DIR|TASK",
            help="A folder with expert.json or policy.json, or another task's expert; "
            "else the expert that ships.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Freeze another task's expert as this task's: write references.json there.",
            show_default=False,
        ),
    ] = None,
    plugins: Plugins = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Measure a policy over a task's reference episodes, beside the frozen references."""
    from irlbench.home import home
    from irlbench.registry import registry
    from irlbench.running import experts

    for path in plugins or ():
        registry().load_plugin(path)
    found = registry().task(task)
    cache = home()
    owner = None if policy is None or Path(policy).is_dir() else _task_named(policy)
    if out is not None and (owner is None or owner is found):
        raise UsageError("--out freezes another task's expert: name the task (--policy TASK)")
    if policy is None or owner is not None:
        judged = experts.shipped_expert(owner or found, cache)
    else:
        judged = experts.read_policy(Path(policy))
    if out is None or owner is None:
        name = "expert" if policy is None else owner.id if owner else shown_path(Path(policy))
        _show(found, {f"{name}, now": experts.measure(found, judged, cache)})
        return
    experts.new_folder(out)
    measured = experts.measure_references(found, judged, cache)
    digest = owner.info.recipe["expert"]["sha256"]
    experts.write_references(measured, out, digest, {"policy_of": owner.id})
    _show(found, measured)


def _task_named(name: str) -> Task | None:
    """The task of that name, or None where it is a path that leads nowhere."""
    from irlbench.registry import registry

    try:
        return registry().task(name)
    except UnknownNameError:
        return None


def _show(task: Task, measured: Mapping[str, Mapping[str, float]]) -> None:
    """Measured scores above the frozen ones, a column per score, standard errors beside them."""
    frozen = {f"{name}, as frozen": scores for name, scores in task.info.references.items()}
    names = [score.name for score in task.info.scores]
    rows = [
        [who, *(_cell(scores, name) for name in names), _number(scores.get("episodes"))]
        for who, scores in {**measured, **frozen}.items()
    ]
    table(rows, ["policy", *names, "episodes"], right=range(1, len(names) + 2))


def _cell(scores: Mapping[str, float], name: str) -> str:
    if name not in scores:
        return ""
    error = scores.get(f"{name}_error")
    return f"{scores[name]:.4g}" + ("" if error is None else f" ± {error:.2g}")


def _number(value: float | None) -> str:
    return "exact" if value is None else f"{value:g}"
