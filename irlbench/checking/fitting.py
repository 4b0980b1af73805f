"""One fit under audit, in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Run, Solution
from irlbench.checking import files, fingerprint
from irlbench.checking.rewards import Alteration
from irlbench.checking.watch import Report, Watch
from irlbench.errors import ResourceError
from irlbench.problem import RESOURCES, Budget, Problem, surround
from irlbench.registry import granted, registry
from irlbench.running.child import begin, load_plugins, seed_libraries
from irlbench.running.journal import Line
from irlbench.running.provenance import describe_error
from irlbench.task import ProblemRequest, Task, TaskOptions


@dataclass(frozen=True)
class Fit:
    """What to fit, and what is done about it.

    Attributes:
        task: Task id.
        algorithm: Algorithm id.
        track: One in which it can run there.
        seed: Of learning.
        changes: Hyperparameters that differ from the world's defaults.
        budget: What may be spent.
        options: The user's choices for the task.
        home: The cache folder, filled.
        plugins: Plug-in files to load, each with its SHA-256.
        folder: Of this fit alone: checkpoints and what is printed.
        reward: One of `irlbench.checking.rewards.CHANGES`.
        altered: A folder; hidden files below it get other contents before learning.
        resumable: Whether to keep a checkpoint whenever one can be kept.
        kill_at: The process is killed after so many checkpoints.
    """

    task: str
    algorithm: str
    track: str
    seed: int
    changes: Mapping[str, Any]
    budget: Budget
    options: TaskOptions
    home: str
    plugins: tuple[tuple[str, str], ...]
    folder: str
    reward: str = "true"
    altered: str | None = None
    resumable: bool = False
    kill_at: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a fit came to.

    Attributes:
        policy: SHA-256.
        reward: SHA-256 of the recovered reward, where there is one.
        saves: SHA-256 of every policy handed in along the way.
        counters: What was spent and taken.
        reports: What was done behind the problem's back.
        paid: Rewards that the true environments have paid.
        not_finite: What holds NaN or an infinity.
        lost: What is not as it was once it is saved and loaded.
        verifiable: Whether policy and reward can be saved at all, each.
        let_through: Undeclared resources that were not refused.
        files: Hidden files whose contents were altered.
        checkpoints: How many were kept.
        resumed: Whether it went on from one.
    """

    policy: str
    reward: str | None
    saves: tuple[str, ...]
    counters: Mapping[str, int]
    reports: tuple[Report, ...]
    paid: int
    not_finite: tuple[str, ...]
    lost: tuple[str, ...]
    verifiable: tuple[bool, bool]
    let_through: tuple[str, ...]
    files: int
    checkpoints: int
    resumed: bool


class AuditedRun(Run):
    """A run that counts its checkpoints, and is killed after one of them.

    Args:
        kill_at: After which; None: never.
        settings: Of `Run`.
    """

    def __init__(self, seed: int, *, kill_at: int | None, **settings: Any) -> None:
        super().__init__(seed, **settings)
        self.checkpoints, self.resumed, self._kill_at = 0, False, kill_at

    def checkpoint(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Run.checkpoint`."""
        super().checkpoint(state)
        self.checkpoints += 1
        if self.checkpoints == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def restored(self) -> dict[str, NDArray[Any]] | None:
        """See `Run.restored`."""
        found = super().restored
        self.resumed = self.resumed or found is not None
        return found


@dataclass
class _Supplies:
    """Stands around everything that a problem supplies.

    What is given was made before anything is altered, so that it is the same in every fit.
    """

    needs: frozenset[str]
    alteration: Alteration
    watch: Watch | None = None
    made: dict[str, Any] = field(default_factory=dict)

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        if self.watch is None:
            return make()
        if name not in self.needs:
            self.watch.report("resource", f"takes {name} past the problem, undeclared")
        with self.watch.inside():
            if name == "interaction":
                return self.alteration.apply(make())
            return self.made[name] if name in self.made else make()


def fit_main(fit: Fit, connection: Connection) -> None:
    """Fits, and sends ("done", Outcome) or ("failed", error as in a record)."""
    line = Line(connection)
    try:
        begin(None, line)
        print_into(Path(fit.folder) / "log.txt")
        os.environ["IRLBENCH_HOME"] = fit.home
        load_plugins(fit.plugins)
        outcome = _fit(fit)
    except BaseException as error:
        if not line.ours:
            os._exit(1)
        line.send(("failed", describe_error(error)))
        return
    line.send(("done", outcome))


def print_into(path: Path) -> None:
    """Leads what this process prints into a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def request_of(fit: Fit, task: Task) -> ProblemRequest:
    """The problem that a fit is given."""
    needs = granted(registry().algorithm(fit.algorithm), task, fit.track)
    return ProblemRequest(
        seed=fit.seed,
        needs=needs,
        track=fit.track,
        demonstrations=task.info.demonstrations if "demonstrations" in needs else None,
        preferences=task.info.preferences if "preferences" in needs else None,
        budget=fit.budget,
        options=fit.options,
    )


def _fit(fit: Fit) -> Outcome:
    task, algorithm = registry().task(fit.task), registry().algorithm(fit.algorithm)
    request, home = request_of(fit, task), Path(fit.home)
    seed_libraries(fit.seed)
    problem = task.problem(request, home)
    let_through = _not_refused(problem)
    hidden = task.hidden_files(fit.options, home)
    supplies = _Supplies(request.needs, Alteration(fit.reward, problem.safe_info))
    supply = surround(problem, supplies)
    for name in sorted(request.needs - {"interaction"}):
        supplies.made[name] = supply(name)
    kinds, asked = _environment_kinds(task, request, home), _asked(task, request, home)
    altered = 0
    if fit.altered is not None:
        altered = files.alter(hidden, Path(fit.altered))
        _alter_references(task)
    run = AuditedRun(
        fit.seed,
        kill_at=fit.kill_at,
        budget=fit.budget,
        folder=Path(fit.folder) if fit.resumable else None,
        meter=problem.meter,
        checkpoint_seconds=0.0,
    )
    learner = algorithm.configure(task.world, fit.changes)
    supplies.watch = watch = Watch(hidden, kinds)
    seed_libraries(fit.seed)
    with watch.watching():
        solution = learner.fit(problem, fit.budget, run)
        if not isinstance(solution, Solution):
            raise TypeError(f"fit returned {type(solution).__name__}, not a Solution")
        # A policy may do its peeking when it is asked.
        policy = fingerprint.of_policy(solution.policy, asked)
        recovered = solution.reward
        reward = None if recovered is None else fingerprint.of_reward(recovered, asked)
    sys.stdout.flush()
    return Outcome(
        policy=policy,
        reward=reward,
        saves=tuple(fingerprint.of_policy(saved, asked) for _, saved in run.saved),
        counters={**problem.costs(), "gradient_steps": run.gradient_steps},
        reports=tuple(watch.reports),
        paid=supplies.alteration.paid,
        not_finite=_not_finite(solution, run),
        lost=tuple(fingerprint.lost_by_saving(solution, asked)),
        verifiable=fingerprint.verifiable(solution),
        let_through=let_through,
        files=altered,
        checkpoints=run.checkpoints,
        resumed=run.resumed,
    )


def _not_refused(problem: Problem) -> tuple[str, ...]:
    """Resources that the problem gives although they were not declared."""
    found = []
    for name in sorted(RESOURCES.keys() - problem.needs):
        try:
            if name == "interaction":
                problem.make_environment(1)
            else:
                problem.resource(name)
        except ResourceError:
            continue
        found.append(name)
    return tuple(found)


def _environment_kinds(task: Task, request: ProblemRequest, home: Path) -> set[type]:
    """Classes of the task's true environment and of its rows."""
    if "interaction" not in task.info.supplies:
        return set()
    found: set[type] = set()

    def look(name: str, make: Callable[[], Any]) -> Any:
        made = make()
        for part in [made, *(row.unwrapped for row in getattr(made, "envs", ()))]:
            found.update(type(part).__mro__)
        return made

    problem = task.problem(replace(request, needs=frozenset({"interaction"})), home)
    surround(problem, look)
    problem.make_environment(1).close()
    return found


def _asked(task: Task, request: ProblemRequest, home: Path) -> list[fingerprint.Probe]:
    """What policies and rewards are asked about, in an environment that nothing is done to."""
    if "interaction" not in task.info.supplies:
        return []
    own = replace(request, needs=frozenset({"interaction"}), budget=Budget())
    env = task.problem(own, home).make_environment(fingerprint.ROWS)
    try:
        return fingerprint.probes(env)
    finally:
        env.close()


def _alter_references(task: Task) -> None:
    """Changes the frozen scores that the task holds in memory."""
    other = {
        name: {score: -1.0 - value for score, value in scores.items()}
        for name, scores in task.info.references.items()
    }
    task.info = replace(task.info, references=other)


def _not_finite(solution: Solution, run: Run) -> tuple[str, ...]:
    found = []
    if not solution.policy.is_finite():
        found.append("the policy")
    if solution.reward is not None and not solution.reward.is_finite():
        found.append("the recovered reward")
    named = {name for _, scalars in run.logged for name, v in scalars.items() if not np.isfinite(v)}
    return (*found, *(f"the logged {name}" for name in sorted(named)))
