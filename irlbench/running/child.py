"""What runs in the processes of a trial: the learner's, the evaluator's, and preparation.

The learner's process builds the problem and fits; it holds no evaluator. The evaluator's process
judges the policies that the learner hands in; it holds no learner. Neither waits for the other.
"""

from __future__ import annotations

import ctypes
import itertools
import operator
import os
import pickle
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.algorithm import Run, Solution
from irlbench.errors import IrlbenchError, UsageError
from irlbench.policy import KINDS, Policy, load_policy, save_policy
from irlbench.registry import registry
from irlbench.reward import FORMS, save_reward
from irlbench.running.provenance import describe_error
from irlbench.running.trial import Job
from irlbench.serialisation import canonical_json
from irlbench.task import ProblemRequest, Task, TaskOptions

FINAL = -1
"""In place of a number: the final policy, judged on the test split."""


class NotFiniteError(IrlbenchError):
    """A policy, reward or score that holds NaN or an infinity."""


def learner_main(job: Job, connection: Connection) -> None:
    """Fits one trial's algorithm.

    Sends ("log", step, scalars, seconds), ("save", step, policy, seconds), and at the end
    ("done", policy, outcome) or ("failed", error). A policy is None where it was written to the
    trial's folder, else its bytes.
    """
    _begin(Path(job.folder) / "log.txt", job.spec.threads)
    try:
        outcome = _fit(job, connection)
    except BaseException as error:
        connection.send(("failed", describe_error(error)))
        return
    connection.send(("done", *outcome))


def _fit(job: Job, connection: Connection) -> tuple[bytes | None, dict[str, Any]]:
    spec, folder = job.spec, Path(job.folder)
    _load_plugins(job.plugins)
    task, algorithm = registry().task(spec.task), registry().algorithm(spec.algorithm)
    request = ProblemRequest(
        seed=spec.seed,
        needs=algorithm.needs_for(task.world),
        track=spec.track,
        demonstrations=spec.demonstrations,
        preferences=spec.preferences,
        budget=job.budget,
        options=job.options,
    )
    seed_libraries(spec.seed)
    problem = task.problem(request, Path(job.home))
    began = time.monotonic()
    places = itertools.count()

    def sink(kind: str, step: int, value: Any) -> None:
        seconds, step = time.monotonic() - began, operator.index(step)
        if step < 0:
            raise ValueError(f"a step of the curve must not be negative, got {step}")
        if kind == "save":
            value = _hand_over(value, folder / "saves" / str(next(places)))
        connection.send((kind, step, value, seconds))

    run = Run(
        spec.seed,
        device=spec.device,
        threads=spec.threads,
        budget=job.budget,
        sink=sink,
        folder=folder if algorithm.resumable else None,
        meter=problem.meter,
    )
    fitted = algorithm.configure(task.world, spec.config).fit(problem, job.budget, run)
    seconds = time.monotonic() - began
    if not isinstance(fitted, Solution):
        raise TypeError(f"{spec.algorithm}.fit returned {type(fitted).__name__}, not a Solution")
    if not fitted.policy.is_finite():
        raise NotFiniteError("the final policy holds NaN or an infinity")
    if fitted.reward is not None and not fitted.reward.is_finite():
        raise NotFiniteError("the learnt reward holds NaN or an infinity")
    has_reward = fitted.reward is not None and fitted.reward.form in FORMS
    if fitted.reward is not None and has_reward:
        save_reward(fitted.reward, folder)
    costs = problem.costs()
    costs["gradient_steps"] = run.gradient_steps
    outcome = {
        "costs": {**costs, "seconds": seconds, "peak_memory_bytes": _peak_memory()},
        "verifiable": fitted.policy.kind in KINDS,
        "has_reward": has_reward,
    }
    return _hand_over(fitted.policy, folder), outcome


def _hand_over(policy: Policy, folder: Path) -> bytes | None:
    """Writes a policy of a closed kind; any other travels between our own two processes."""
    if policy.kind in KINDS:
        folder.mkdir(parents=True, exist_ok=True)
        save_policy(policy, folder)
        return None
    return pickle.dumps(policy)


def evaluator_main(job: Job, connection: Connection) -> None:
    """Judges policies until it receives None.

    Receives (place, policy), the place being a number under `saves` or `FINAL`, and sends
    ("evaluated", place, evaluation, seconds) or ("failed", error). `FINAL` is judged on the test
    split.
    """
    folder = Path(job.folder)
    _begin(folder / "log.txt", job.spec.threads)
    try:
        _load_plugins(job.plugins)
        task = registry().task(job.spec.task)
        seed_libraries(job.spec.seed)
        evaluator = task.evaluator(job.options, Path(job.home))
        while (request := connection.recv()) is not None:
            place, pickled = request
            final = place == FINAL
            began = time.monotonic()
            saved = folder if final else folder / "saves" / str(place)
            policy = load_policy(saved) if pickled is None else _unpacked(pickled)
            evaluation = evaluator.evaluate(policy, "test" if final else "validation")
            found = {
                "scores": _plain(evaluation.scores),
                "episodes": {k: [float(x) for x in v] for k, v in evaluation.episodes.items()},
                "samples": evaluation.samples if final else [],
            }
            _require_finite(task, found)
            canonical_json(found).encode()  # what no record can hold fails here, not in the driver
            connection.send(("evaluated", place, found, time.monotonic() - began))
    except EOFError:
        return
    except BaseException as error:
        connection.send(("failed", describe_error(error)))


def _unpacked(policy: bytes) -> Policy:
    """A policy from our own learner's process; nothing from disk is ever read this way."""
    unpacked: Policy = pickle.loads(policy)  # noqa: S301
    return unpacked


def _plain(scores: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items()}


def _require_finite(task: Task, found: dict[str, Any]) -> None:
    if task.info.primary.name not in found["scores"]:
        raise IrlbenchError(f"the evaluator of {task.id} gave no {task.info.primary.name!r}")
    values = dict(found["scores"])
    values.update({k: float(np.sum(v)) for k, v in found["episodes"].items()})
    for name, value in values.items():
        if not np.isfinite(value):
            raise NotFiniteError(f"{name} of an evaluated policy is {value}")


def prepare_main(
    task_id: str,
    options: TaskOptions,
    plugins: tuple[tuple[str, str], ...],
    home: str,
    connection: Connection,
) -> None:
    """Prepares one task; sends ("prepared", Prepared), ("usage", message) or ("failed", error)."""
    _begin(None, 1)
    try:
        _load_plugins(plugins)
        seed_libraries(0)
        prepared = registry().task(task_id).prepare(options, Path(home))
    except UsageError as error:
        connection.send(("usage", str(error)))
    except BaseException as error:
        connection.send(("failed", describe_error(error)))
    else:
        connection.send(("prepared", prepared))


def _begin(log: Path | None, threads: int) -> None:
    """Makes a fresh child quiet, mortal and reproducible."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()  # whatever it starts can be ended with it
    _die_with_parent()
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _die_with_parent() -> None:
    """Makes this child end with the driver (on Linux).

    The fork server ends once nobody holds its life line any more, and its children end with it.
    Every child is handed a copy of the life line; ours is let go.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _load_plugins(plugins: tuple[tuple[str, str], ...]) -> None:
    for path, planned in plugins:
        if registry().load_plugin(Path(path)) != planned:
            raise IrlbenchError(
                f"{Path(path).name} was changed after it was loaded; run again in a new process"
            )


def seed_libraries(seed: int) -> None:
    """Seeds the global generators of the standard library, NumPy and, where loaded, torch."""
    import random

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for libraries that draw from it
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _peak_memory() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
