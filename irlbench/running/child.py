"""What runs in the processes of a trial: the learner's, the evaluator's, and preparation.

The learner's process builds the problem and fits; it holds no evaluator. The evaluator's process
judges the policies that the learner hands in; it holds no learner. Neither waits for the other.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.algorithm import Run, Solution
from irlbench.errors import IrlbenchError, UsageError
from irlbench.policy import KINDS, Policy, load_policy
from irlbench.registry import granted, registry
from irlbench.reward import FORMS, load_reward, save_reward
from irlbench.running import kernel
from irlbench.running.claims import Claim
from irlbench.running.journal import Journal, Line, hand_over, judged
from irlbench.running.provenance import describe_error, storage_fault
from irlbench.running.store import LOG
from irlbench.running.trial import Job
from irlbench.serialisation import canonical_json, read_json, write_text_atomic
from irlbench.task import Evaluator, ProblemRequest, Task, TaskOptions

FINAL = -1
"""In place of a number: the final policy, judged on the test split."""


class NotFiniteError(IrlbenchError):
    """A policy, reward or score that holds NaN or an infinity."""


def learner_main(job: Job, claim: Claim, connection: Connection) -> None:
    """Fits one trial's algorithm.

    Sends what a `Journal` sends, and at the end ("done", policy, outcome), ("failed", error) or
    ("storage", message) where the disk failed. A policy is None where it was written to the
    trial's folder, else its bytes.

    Args:
        job: The trial.
        claim: Held until this process and all that it forks are gone.
        connection: To the driver.
    """
    line = Line(connection)
    try:
        begin(job, line)
        outcome = _fit(job, line)
        _flush()
    except BaseException as error:
        _report(line, error)
        return
    line.send(("done", *outcome))


def _fit(job: Job, line: Line) -> tuple[bytes | None, dict[str, Any]]:
    spec, folder = job.spec, Path(job.folder)
    load_plugins(job.plugins)
    task, algorithm = registry().task(spec.task), registry().algorithm(spec.algorithm)
    request = ProblemRequest(
        seed=spec.seed,
        needs=granted(algorithm, task, spec.track),
        track=spec.track,
        demonstrations=spec.demonstrations,
        preferences=spec.preferences,
        budget=job.budget,
        options=job.options,
    )
    seed_libraries(spec.seed)
    problem = task.problem(request, Path(job.home))
    run = Run(
        spec.seed,
        device=spec.device,
        threads=spec.threads,
        budget=job.budget,
        sink=Journal(line, folder, job.made_with),
        folder=folder if algorithm.resumable else None,
        meter=problem.meter,
        checkpoint_seconds=job.checkpoint_seconds,
    )
    fitted = algorithm.configure(task.world, spec.config).fit(problem, job.budget, run)
    seconds = run.seconds
    line.check()  # before anything is written: `fit` may come back in a process that it has forked
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
        "accelerator": _accelerator(spec.device),
    }
    return hand_over(fitted.policy, folder), outcome


def _report(line: Line, error: BaseException) -> None:
    """Tells the driver what went wrong; a fork of this child has nothing to tell."""
    if not line.ours:
        os._exit(1)
    fault = storage_fault(error)
    line.send(("failed", describe_error(error)) if fault is None else ("storage", fault))


def evaluator_main(job: Job, claim: Claim, connection: Connection) -> None:
    """Judges policies until it receives None.

    Receives (place, policy, rewarded), the place being a number under `saves` or `FINAL`, and sends
    ("evaluated", place, evaluation, seconds), ("failed", error) or ("storage", message). `FINAL` is
    judged on the test split; with it, where there is one (`rewarded`), the learnt reward that the
    trial's folder holds.

    Args:
        job: The trial.
        claim: Held until this process and all that it forks are gone.
        connection: To the driver.
    """
    line = Line(connection)
    try:
        begin(job, line)
        load_plugins(job.plugins)
        task = registry().task(job.spec.task)
        seed_libraries(job.spec.seed)
        evaluator = task.evaluator(job.options, Path(job.home))
        while (request := connection.recv()) is not None:
            began = time.monotonic()
            found = _evaluation(job, task, evaluator, *request)
            line.send(("evaluated", request[0], found, time.monotonic() - began))
    except EOFError:
        return
    except BaseException as error:
        _report(line, error)


def _evaluation(
    job: Job,
    task: Task,
    evaluator: Evaluator,
    place: int,
    pickled: bytes | None,
    rewarded: bool,
) -> dict[str, Any]:
    """Judges one policy, or finds what an earlier attempt at this trial has found."""
    folder, final = Path(job.folder), place == FINAL
    if not final and judged(folder, place).is_file():
        kept: dict[str, Any] = read_json(judged(folder, place))
        return kept
    saved = folder if final else folder / "saves" / str(place)
    policy = load_policy(saved) if pickled is None else _unpacked(pickled)
    seed_libraries(job.spec.seed)  # what was judged before must not matter
    evaluation = evaluator.evaluate(policy, "test" if final else "validation")
    found = {
        "scores": _plain(evaluation.scores),
        "episodes": {k: [float(x) for x in v] for k, v in evaluation.episodes.items()},
        "samples": evaluation.samples if final else [],
    }
    _require_finite(task, found)
    if rewarded:
        found["metrics"] = reward_metrics(task, evaluator, folder)
    text = canonical_json(found)
    text.encode()  # what no record can hold fails here, not in the driver
    if not final:
        judged(folder, place).parent.mkdir(exist_ok=True)
        write_text_atomic(judged(folder, place), text)
    return found


def reward_metrics(task: Task, evaluator: Evaluator, folder: Path) -> dict[str, float]:
    """Scores of the learnt reward in a trial's folder.

    Args:
        task: Says which scores there are.
        evaluator: The task's.
        folder: Holds `reward.safetensors` and `reward.json`.

    Raises:
        IrlbenchError: If the reward cannot be scored, or a score is not finite or not declared.
    """
    found = _plain(evaluator.evaluate_reward(load_reward(folder)))
    declared = {score.name for score in task.info.reward_scores}
    for name, value in found.items():
        if name not in declared:
            raise IrlbenchError(f"{task.id} declares no score {name!r} of rewards")
        if not np.isfinite(value):
            raise NotFiniteError(f"{name} of the learnt reward is {value}")
    return found


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
    """Prepares one task.

    Sends ("prepared", Prepared), ("usage", message), ("failed", error) or ("storage", message).
    """
    line = Line(connection)
    try:
        begin(None, line)
        load_plugins(plugins)
        seed_libraries(0)
        prepared = registry().task(task_id).prepare(options, Path(home))
    except UsageError as error:
        line.send(("usage", str(error)))
    except BaseException as error:
        _report(line, error)
    else:
        line.send(("prepared", prepared))


def begin(job: Job | None, line: Line) -> None:
    """Makes a fresh child quiet, mortal and reproducible."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):  # the fork server ignores them
        signal.signal(number, signal.SIG_DFL)
    os.setsid()  # whatever it starts can be ended with it
    _let_go_of_the_life_line()
    kernel.die_with_parent()
    server = sys.modules.get("irlbench.running.server")
    if server is not None and os.getppid() != server.PID:
        os._exit(1)  # the fork server was killed before it could take this one along
    kernel.adopt_orphans()
    kernel.be_first_out_of_memory()
    threading.excepthook = lambda raised: _report_thread(line, raised)
    if job is None:
        return
    descriptor = os.open(Path(job.folder) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    if job.spec.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif job.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.gpu
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(job.spec.threads)


def _report_thread(line: Line, raised: threading.ExceptHookArgs) -> None:
    """An exception that ends a thread fails the trial: whoever waits for the thread would hang."""
    if raised.exc_value is not None and not isinstance(raised.exc_value, SystemExit):
        _report(line, raised.exc_value)


def _let_go_of_the_life_line() -> None:
    """Makes sure that the fork server ends with the driver, and its children with it.

    It ends once nobody holds its life line any more. Every child is handed a copy.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def load_plugins(plugins: tuple[tuple[str, str], ...]) -> None:
    """Loads the plug-in files that the driver has loaded.

    Args:
        plugins: Path and SHA-256 of each.

    Raises:
        IrlbenchError: If one was changed meanwhile.
    """
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


def _accelerator(device: str) -> str | None:
    if device != "cuda":
        return None
    import torch

    return torch.cuda.get_device_name()


def _peak_memory() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
