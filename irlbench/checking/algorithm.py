"""Checks an algorithm: the contract, and the audit of the hidden reward."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from irlbench.algorithm import Algorithm
from irlbench.checking import audit, files
from irlbench.checking.declared import check_config, check_declarations
from irlbench.checking.fitting import Fit, Outcome, fit_main
from irlbench.checking.processes import Trouble, Work, run_all
from irlbench.checking.verdicts import Check
from irlbench.errors import UnsupportedPairError, UsageError
from irlbench.home import home
from irlbench.problem import Budget
from irlbench.registry import granted, registry, require_pair, tracks_on, why_not
from irlbench.running import processes
from irlbench.running.preparation import prepare
from irlbench.suite import Suite
from irlbench.task import Task, TaskOptions

#: What a fit may spend unless asked otherwise: enough to learn something, and soon done.
_BUDGETS = {
    "gridworld": Budget(steps=4096, gradient_steps=200),
    "control": Budget(steps=4096, gradient_steps=200),
    "text": Budget(steps=512, gradient_steps=2),
}
#: Times as many gradient steps, where the first fit has not come to the environment in its budget.
_MORE = 10
_EASIEST_FIRST = "smoke"
#: After which checkpoint a fit is killed; where there are fewer, after the first.
_KILL_AT = 3


@dataclass(frozen=True)
class Asked:
    """What is checked, and how.

    Attributes:
        algorithm: Algorithm id.
        task: Task id; None: the first that is suitable.
        track: One of `TRACKS`; None: the first with interaction, else the first.
        seed: Of learning.
        settings: `algorithm.field` to value.
        budget: Fields that differ from what is usual here.
        options: The user's choices for the task.
        seconds: After which each fit is ended.
        at_once: Fits at a time.
    """

    algorithm: str
    task: str | None = None
    track: str | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    options: TaskOptions = field(default_factory=TaskOptions)
    seconds: float = 120.0
    at_once: int = 2


def check_algorithm(
    asked: Asked, advance: Callable[[int, int], None] = lambda done, total: None
) -> tuple[str, list[Check]]:
    """Checks an algorithm.

    Args:
        asked: What, and how.
        advance: Called with how many fits are done, and of how many.

    Returns:
        The task and track that were used, in words, and every check.

    Raises:
        UsageError: For unknown names, pairs that cannot run, values that do not fit.
    """
    algorithm = registry().algorithm(asked.algorithm)
    declared = [check_declarations(algorithm), check_config(algorithm)]
    if any(check.verdict == "did not hold" for check in declared):
        return asked.algorithm, declared  # what makes no sense is not run
    task, track = _pair(algorithm, asked)
    _check_settings(algorithm, asked)
    elsewhere, nowhere = _elsewhere(algorithm, (task.world, track))
    with tempfile.TemporaryDirectory(prefix="irlbench-check-") as name:
        fits = _Fits(algorithm, asked, task, track, Path(name))
        _prepare(task, elsewhere.values(), asked)
        found = _carry_out(fits, elsewhere, advance)
    checks = audit.judge(found, (fits.budget(task), fits.half), fits.needs)
    checks += audit.judge_elsewhere(found, elsewhere, nowhere)
    return f"{algorithm.id} on {task.id}, track {track}", declared + checks


def suitable(algorithm: type[Algorithm]) -> list[Task]:
    """The tasks that an algorithm can run on with what ships, the easiest first."""
    names = registry().names("tasks")
    if _EASIEST_FIRST in registry().names("suites"):
        suite: Suite = registry().get("suites", _EASIEST_FIRST)
        first = [entry.task for entry in suite.entries]
        names = [*first, *(name for name in names if name not in first)]
    tasks = [registry().task(name) for name in names]
    return [t for t in tasks if t.info.needs_data is None and why_not(algorithm, t) is None]


def _pair(algorithm: type[Algorithm], asked: Asked) -> tuple[Task, str]:
    """Task and track, as asked for or the first that will do."""
    if asked.task is not None:
        task = registry().task(asked.task)
        require_pair(algorithm, task, asked.track)
        possible = tracks_on(algorithm, task)
        return task, asked.track or _most_open(algorithm, task, possible)
    for task in suitable(algorithm):
        possible = tuple(
            t for t in tracks_on(algorithm, task) if asked.track is None or t == asked.track
        )
        if possible:
            return task, _most_open(algorithm, task, possible)
    within = "" if asked.track is None else f" in track {asked.track}"
    raise UnsupportedPairError(
        f"no task that ships suits {algorithm.id}{within}: name one with --task; "
        "`irlbench list matrix` shows what goes together"
    )


def _most_open(algorithm: type[Algorithm], task: Task, tracks: tuple[str, ...]) -> str:
    """The first track with an environment, whose reward could be read; else the first."""
    opened = [t for t in tracks if "interaction" in granted(algorithm, task, t)]
    return (opened or list(tracks))[0]


def _elsewhere(
    algorithm: type[Algorithm], here: tuple[str, str]
) -> tuple[dict[tuple[str, str], Task], dict[tuple[str, str], str]]:
    """A task for every other world and track that is declared, or why there is none."""
    found: dict[tuple[str, str], Task] = {}
    missing: dict[tuple[str, str], str] = {}
    for world in algorithm.worlds:
        for track in algorithm.tracks:
            if (world, track) == here:
                continue
            tasks = [t for t in suitable(algorithm) if t.world == world]
            fitting = [t for t in tasks if why_not(algorithm, t, track) is None]
            if fitting:
                found[world, track] = fitting[0]
            else:
                missing[world, track] = "no task that ships supplies what it takes"
    return found, missing


def _check_settings(algorithm: type[Algorithm], asked: Asked) -> None:
    """Refuses settings of anything else, unknown fields and values that do not fit."""
    for key in asked.settings:
        owner = key.rpartition(".")[0]
        if owner != algorithm.id:
            raise UsageError(f"--set {key}: only {algorithm.id} is checked")
    for world in algorithm.worlds:
        algorithm.configure(world, _changes(algorithm, asked))


def _changes(algorithm: type[Algorithm], asked: Asked) -> dict[str, Any]:
    return {k.removeprefix(f"{algorithm.id}."): v for k, v in asked.settings.items()}


def _prepare(task: Task, others: Iterable[Task], asked: Asked) -> None:
    """Starts the fork server, and builds what the tasks need."""
    more = {each.id: each for each in others if each.id != task.id}
    modules = {m for each in (task, *more.values()) for m in each.info.preload}
    processes.start_server(1, {*modules, "irlbench.checking.fitting"})
    prepare({task.id: task}, asked.options, 1)
    prepare(more, TaskOptions(), asked.at_once)


@dataclass
class _Fits:
    """Makes fits, each with a folder of its own."""

    algorithm: type[Algorithm]
    asked: Asked
    task: Task
    track: str
    folder: Path
    made: int = 0
    times: int = 1

    @property
    def needs(self) -> frozenset[str]:
        """What the algorithm gets of the task."""
        return granted(self.algorithm, self.task, self.track)

    def budget(self, task: Task) -> Budget:
        """What a fit on a task may spend."""
        usual, own = asdict(_BUDGETS.get(task.world, _BUDGETS["control"])), asdict(task.info.budget)
        usual["gradient_steps"] *= self.times
        least: dict[str, Any] = {
            name: min((v for v in (usual[name], own[name]) if v is not None), default=None)
            for name in usual
        }
        return Budget(**{**least, **self.asked.budget})

    @property
    def half(self) -> Budget:
        """Half of what a fit on the task may spend."""
        whole: dict[str, Any] = asdict(self.budget(self.task))
        return Budget(**{k: v if v is None or k == "seconds" else v // 2 for k, v in whole.items()})

    def make(self, task: Task | None = None, **settings: Any) -> Fit:
        """A fit on the task, or on another."""
        self.made += 1
        folder, there = self.folder / str(self.made), task or self.task
        folder.mkdir()
        fit = Fit(
            task=there.id,
            algorithm=self.algorithm.id,
            track=self.track,
            seed=self.asked.seed,
            changes=_changes(self.algorithm, self.asked),
            budget=self.budget(there),
            options=self.asked.options if there is self.task else TaskOptions(),
            home=str(home()),
            plugins=registry().plugins,
            folder=str(folder),
        )
        return replace(fit, **settings)

    def copied(self, *, alter: bool) -> Work:
        """A fit in copies of this package and of the hidden files, altered or not."""
        fit = self.make()
        place, options = Path(fit.folder), fit.options
        files.copy_package(place)
        hidden = self.task.hidden_files(options, home())
        if options.data is not None:
            shutil.copytree(options.data, place / "given")
            options = replace(options, data=str(place / "given"))
        fit = replace(fit, home=str(files.copy_home(home(), hidden, place)), options=options)
        return Work(fit_main, replace(fit, altered=str(place)) if alter else fit, apart=place)


def _carry_out(
    fits: _Fits,
    elsewhere: Mapping[tuple[str, str], Task],
    advance: Callable[[int, int], None],
) -> dict[str, Outcome | Trouble]:
    """Every fit, by name. One that fails as it is is not audited."""
    done = 0
    most = len(audit.REWARDS) + 3 + fits.algorithm.resumable + len(elsewhere)

    def told() -> None:
        nonlocal done
        done += 1
        advance(done, max(done, most))

    def run(more: Mapping[str, Work]) -> dict[str, Any]:
        asked = fits.asked
        return run_all(more, at_once=asked.at_once, seconds=asked.seconds, advance=told)

    found = run(_twice(fits))
    if audit.idle(found["reference"], fits.needs) and "gradient_steps" not in fits.asked.budget:
        fits.times = _MORE
        found = run(_twice(fits))
    work = {
        audit.place(world, track): Work(fit_main, fits.make(task, track=track))
        for (world, track), task in elsewhere.items()
    }
    if isinstance(found["reference"], Outcome):
        work |= _altered(fits)
    found |= run(work)
    reference, altered = found["reference"], found.get("files")
    if isinstance(reference, Outcome) and isinstance(altered, Outcome):
        if audit.differences(reference, altered):
            found |= run({"copy": fits.copied(alter=False)})
    if "killed" in work:
        found |= _resumed(fits, work["killed"].argument, found["killed"], run)
    return found


def _twice(fits: _Fits) -> dict[str, Work]:
    """The fit that the others are compared with, and the same again."""
    return {name: Work(fit_main, fits.make()) for name in ("reference", "again")}


def _altered(fits: _Fits) -> dict[str, Work]:
    """The fits in which something is other than in the reference."""
    work = {name: Work(fit_main, fits.make(reward=name)) for name in audit.REWARDS}
    work["files"] = fits.copied(alter=True)
    work["half"] = Work(fit_main, fits.make(budget=fits.half))
    if fits.algorithm.resumable:
        work["killed"] = Work(fit_main, fits.make(resumable=True, kill_at=_KILL_AT))
    return work


def _resumed(
    fits: _Fits,
    fit: Fit,
    killed: Outcome | Trouble,
    run: Callable[[Mapping[str, Work]], dict[str, Any]],
) -> dict[str, Any]:
    """Has a fit go on that was killed; first kills it sooner where it had ended before."""
    if isinstance(killed, Outcome) and killed.checkpoints:
        fit = fits.make(resumable=True, kill_at=1)
        killed = run({"killed": Work(fit_main, fit)})["killed"]
    if isinstance(killed, Trouble) and killed.kind == "ended":
        return run({"resumed": Work(fit_main, replace(fit, kill_at=None))})
    return {"killed": killed}
