"""Checks a task: what it declares, shows, hides, refuses, and whether it repeats."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.checking.environments import check_environments, equal
from irlbench.checking.fitting import print_into
from irlbench.checking.processes import Trouble, Work, run_all
from irlbench.checking.refusals import check_refusals
from irlbench.checking.rewards import Alteration, HiddenRewardRead
from irlbench.checking.verdicts import Check, beside, failed, held, unclear
from irlbench.data.demonstrations import Demonstrations, Episode, TokenEpisode
from irlbench.data.preferences import Preferences
from irlbench.home import home
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.problem import RESOURCES, Problem, surround
from irlbench.registry import registry
from irlbench.running import processes
from irlbench.running.child import begin, load_plugins, seed_libraries
from irlbench.running.journal import Line
from irlbench.running.preparation import prepare
from irlbench.running.provenance import describe_error
from irlbench.task import ProblemRequest, Task, TaskOptions

_ROWS, _STEPS = 4, 200


@dataclass(frozen=True)
class Case:
    """A task under check.

    Attributes:
        task: Its id.
        hash: As another process has computed it.
        options: The user's choices.
        home: The cache folder, filled.
        plugins: Plug-in files to load, each with its SHA-256.
        folder: For what is printed.
    """

    task: str
    hash: str
    options: TaskOptions
    home: str
    plugins: tuple[tuple[str, str], ...]
    folder: str


def check_task(
    task: Task,
    options: TaskOptions,
    seconds: float,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Check]:
    """Checks a task, each part in a process of its own.

    Args:
        task: Any.
        options: The user's choices.
        seconds: After which each part is ended.
        advance: Called with how many parts are done, and of how many.

    Raises:
        UsageError: If the task needs a choice that was not made.
    """
    with tempfile.TemporaryDirectory(prefix="irlbench-check-") as name:
        processes.start_server(1, {*task.info.preload, "irlbench.checking.task"})
        prepare({task.id: task}, options, 1)
        case = Case(task.id, task.hash, options, str(home()), registry().plugins, name)
        work = {part: Work(part_main, (part, case)) for part in PARTS}
        done = itertools.count(1)
        found = run_all(
            work, at_once=1, seconds=seconds, advance=lambda: advance(next(done), len(work))
        )
    checks: list[Check] = []
    for part, answer in found.items():
        if isinstance(answer, Trouble):
            verdict = unclear if answer.kind == "timeout" else failed
            checks.append(verdict(part, answer.message))
        else:
            checks += answer
    return checks


def part_main(asked: tuple[str, Case], connection: Connection) -> None:
    """Carries out one of `PARTS`; sends ("done", checks) or ("failed", error)."""
    line = Line(connection)
    part, case = asked
    try:
        begin(None, line)
        print_into(Path(case.folder) / "log.txt")
        load_plugins(case.plugins)
        seed_libraries(0)
        checks = PARTS[part](registry().task(case.task), case)
    except BaseException as error:
        line.send(("failed", describe_error(error)))
        return
    line.send(("done", checks))


def _declarations(task: Task, case: Case) -> list[Check]:
    info, title = task.info, "references"
    checks = [
        held("hash", f"{task.hash[:12]}, in every process")
        if task.hash == case.hash
        else failed("hash", f"{task.hash[:12]} here, {case.hash[:12]} in another process")
    ]
    unknown = info.supplies - RESOURCES.keys()
    if unknown:
        checks.append(failed("supplies", f"unknown resources: {', '.join(sorted(unknown))}"))
    primary = info.primary
    low, high = (
        info.references.get(name, {}).get(primary.name, math.nan) for name in (info.low, info.high)
    )
    if not math.isfinite(low) or not math.isfinite(high):
        words = f"{info.low} or {info.high} has no frozen {primary.name}"
        return [*checks, failed(title, f"{words}: measure them and ship references.json")]
    words = f"{primary.name} of {info.low} {low:.4g}, of {info.high} {high:.4g}"
    ordered = low < high if primary.higher_is_better else high < low
    if not ordered:
        return [*checks, failed(title, f"{words}: the anchors are not in order")]
    return [*checks, held(title, f"frozen and in order: {words}")]


def _request(case: Case, *needs: str, seed: int = 0, **given: Any) -> ProblemRequest:
    count = given.pop("demonstrations", None)
    return ProblemRequest(
        seed=seed,
        needs=frozenset(needs),
        track="reference",
        demonstrations=count,
        options=case.options,
        **given,
    )


def _hiding(task: Task, case: Case) -> list[Check]:
    """The reward reads 0.0, `info` is cut, and nothing that is shown depends on the reward."""
    title = "hidden reward"
    if "interaction" not in task.info.supplies:
        return [beside(title, "it supplies no interaction")]
    safe: frozenset[str] = frozenset()
    told: list[list[Any]] = []
    for reward in ("true", "noise", "unreadable"):
        problem = task.problem(_request(case, "interaction"), Path(case.home))
        safe, alteration = problem.safe_info, Alteration(reward, problem.safe_info)
        surround(problem, partial(_altered, alteration))
        try:
            told.append(_shown(problem))
        except HiddenRewardRead:
            return [failed(title, "what is shown depends on the reward: it is read on the way")]
    paid = [rewards for _, rewards, _, _ in told[0] if np.asarray(rewards).any()]
    if paid:
        return [failed(title, f"a learner is paid {np.asarray(paid[0]).tolist()}")]
    for *_, info in told[0]:
        beyond = {key.removeprefix("_") for key in info} - safe - {"final_obs", "final_info"}
        if beyond:
            return [failed(title, f"info shows {', '.join(sorted(beyond))}")]
    names = sorted(key for key in safe if "reward" in key or "return" in key)
    if names:
        return [failed(title, f"safe_info declares {', '.join(names)} safe")]
    for other in told[1:]:
        for step, (first, second) in enumerate(zip(told[0], other, strict=True)):
            if not all(equal(a, b) for a, b in zip(first, second, strict=True)):
                return [failed(title, f"what is shown at step {step} depends on the reward")]
    return [held(title, f"0.0 over {_STEPS} steps, info cut; what is shown does not depend on it")]


def _altered(alteration: Alteration, name: str, make: Callable[[], Any]) -> Any:
    return alteration.apply(make()) if name == "interaction" else make()


def _shown(problem: Problem) -> list[Any]:
    """What a learner is shown that acts at random."""
    env = problem.make_environment(_ROWS)
    env.action_space.seed(0)
    observations, info = env.reset(seed=3)
    found: list[Any] = [(observations, np.zeros(_ROWS), np.zeros(_ROWS), info)]
    for _ in range(_STEPS):
        observations, rewards, terminated, truncated, info = env.step(env.action_space.sample())
        found.append((observations, rewards, terminated | truncated, info))
    env.close()
    return found


def _demonstrations(task: Task, case: Case) -> list[Check]:
    """They fit the spaces, and a seed draws the same ones for everybody."""
    title = "demonstrations"
    if "demonstrations" not in task.info.supplies:
        return [beside(title, "it supplies none")]

    def given(seed: int, count: int | None) -> tuple[Problem, Demonstrations[Any]]:
        request = _request(case, "demonstrations", seed=seed, demonstrations=count)
        problem = task.problem(request, Path(case.home))
        return problem, problem.demonstrations

    problem, pool = given(0, None)
    for place, episode in enumerate(pool):
        wrong = _misfit(episode, problem)
        if wrong is not None:
            return [failed(title, f"episode {place}: {wrong}")]
    count = task.info.demonstrations or min(len(pool), 2)
    first, second = given(1, count)[1], given(1, count)[1]
    if not _same_episodes(first, second):
        return [failed(title, "seed 1 draws other ones the second time")]
    if not _same_episodes(given(1, 1)[1], [first[0]]):
        return [failed(title, "fewer ones are not the first of more")]
    if count < len(pool) and _same_episodes(first, given(2, count)[1]):
        return [failed(title, "seeds 1 and 2 draw the same ones")]
    return [held(title, f"{len(pool)} fit the spaces; a seed draws the same {count} every time")]


def _preferences(task: Task, case: Case) -> list[Check]:
    """What is compared fits the spaces, and a seed draws the same comparisons for everybody."""
    title = "preferences"
    if "preferences" not in task.info.supplies:
        return [beside(title, "it supplies none")]

    def given(seed: int, count: int | None) -> tuple[Problem, Preferences]:
        request = _request(case, "preferences", seed=seed, preferences=count)
        problem = task.problem(request, Path(case.home))
        return problem, problem.preferences

    problem, pool = given(0, None)
    for place, comparison in enumerate(pool):
        wrong = next((w for item in comparison.items if (w := _misfit(item, problem))), None)
        if wrong is not None:
            return [failed(title, f"comparison {place}: {wrong}")]
    count = task.info.preferences or min(len(pool), 2)
    first, second = given(1, count)[1], given(1, count)[1]
    if not _same_comparisons(first, second):
        return [failed(title, "seed 1 draws other ones the second time")]
    if count < len(pool) and _same_comparisons(first, given(2, count)[1]):
        return [failed(title, "seeds 1 and 2 draw the same ones")]
    return [held(title, f"{len(pool)} fit the spaces; a seed draws the same {count} every time")]


def _same_comparisons(first: Preferences, second: Preferences) -> bool:
    pairs = list(zip(first, second, strict=False))
    return len(first) == len(second) and all(
        a.ranks == b.ranks and _same_episodes(a.items, b.items) for a, b in pairs
    )


def _misfit(episode: Episode | TokenEpisode, problem: Problem) -> str | None:
    """What is wrong with an episode, or None."""
    if not len(episode):
        return "no steps"
    if isinstance(episode, TokenEpisode):
        most = int(getattr(problem.action_space, "n", 0))
        if episode.tokens.min() < 0 or episode.tokens.max() >= most:
            return f"token ids lie in [0, {most}), got {episode.tokens.min()} to {episode.tokens.max()}"
        if len(episode) > problem.horizon:
            return f"{len(episode)} tokens, the horizon is {problem.horizon}"
        return None
    if len(episode) > problem.horizon:
        return f"{len(episode)} steps, the horizon is {problem.horizon}"
    for name, space, values in (
        ("observation", problem.observation_space, episode.observations),
        ("action", problem.action_space, episode.actions),
    ):
        for step, value in enumerate(() if values is None else values):
            if not space.contains(value):
                return f"{name} {step} is not in {space}"
    ends = episode.terminations | episode.truncations
    if ends[:-1].any():
        return "it goes on after its end"
    return None


def _same_episodes(first: Any, second: Any) -> bool:
    pairs = list(zip(first, second, strict=False))
    return len(first) == len(second) and all(equal(vars(a), vars(b)) for a, b in pairs)


def _evaluation(task: Task, case: Case) -> list[Check]:
    """Judging a policy twice gives the same scores, all that are declared, all finite."""
    title, policy = "evaluation", _judged(task, case)
    found: list[Mapping[str, float]] = []
    for _ in range(2):
        seed_libraries(len(found))
        evaluator = task.evaluator(case.options, Path(case.home))
        found.append(evaluator.evaluate(policy, "validation").scores)
    first, second = found
    missing = [score.name for score in task.info.scores if score.name not in first]
    if task.info.primary.name in missing:
        return [failed(title, f"no {task.info.primary.name}, which is the primary score")]
    wrong = sorted(name for name, value in first.items() if not math.isfinite(value))
    if wrong:
        return [failed(title, f"not finite: {', '.join(wrong)}")]
    if first != second:
        names = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        return [failed(title, f"the second time {', '.join(names)} came out otherwise")]
    return [held(title, f"twice the same {', '.join(sorted(first))}")]


def _judged(task: Task, case: Case) -> Policy:
    """A policy to be evaluated: the model before learning, or one that acts at random."""
    if "reference_model" in task.info.supplies:
        request = _request(case, "reference_model")
        model: Policy = task.problem(request, Path(case.home)).resource("reference_model")
        return model
    return UniformPolicy.over(task.problem(_request(case), Path(case.home)).action_space)


def _refusals(task: Task, case: Case) -> list[Check]:
    def make(*needs: str, **given: Any) -> Problem:
        return task.problem(_request(case, *needs, **given), Path(case.home))

    return check_refusals(task, case.options, Path(case.home), make)


#: What is checked, each in a process of its own.
PARTS: Mapping[str, Callable[[Task, Case], list[Check]]] = {
    "declarations": _declarations,
    "environments": lambda task, case: check_environments(task, case.options),
    "hidden reward": _hiding,
    "demonstrations": _demonstrations,
    "preferences": _preferences,
    "evaluation": _evaluation,
    "refusals": _refusals,
}
