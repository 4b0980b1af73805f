"""Makes and measures the experts that demonstrate tasks.

An expert is a solver on the task's true reward. What ships with a task is `expert.safetensors`,
`expert.json` and `references.json`: the scores of the random and the expert policy, with the
hash of the expert that they were measured for.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from irlbench.algorithm import Run, Sink
from irlbench.errors import DataError, IrlbenchError, UsageError
from irlbench.policy import Policy, load_policy, save_policy
from irlbench.problem import Budget
from irlbench.registry import registry
from irlbench.running import provenance
from irlbench.running.child import seed_libraries
from irlbench.serialisation import canonical_json, read_json, sha256_file, write_text_atomic
from irlbench.task import Evaluation, ProblemRequest, Task, TaskOptions

#: Called with a step, how many there are where that is known, and scalars by name.
Advance = Callable[[int, int | None, Mapping[str, float]], None]

#: How often a solver hands in its policy where some along the way are wanted.
_SAVES = 100

NAME = "expert"
REFERENCES = "references.json"


def expert_recipe(
    task: Task, *, seed: int | None = None, steps: int | None = None
) -> dict[str, Any]:
    """How to make a task's expert: its recipe, or that with another seed or number of steps.

    Args:
        task: Its `expert_recipe` names "solver", and may name "settings", "budget" and "seed".
        seed: Instead of the recipe's.
        steps: Environment steps instead of the recipe's.

    Raises:
        UsageError: If steps are given where the recipe has none to replace.
    """
    recipe = dict(task.expert_recipe())
    if seed is not None:
        recipe["seed"] = seed
    if steps is not None:
        if "steps" not in recipe.get("budget", {}):
            raise UsageError(f"the expert of {task.id} is computed, not trained: it takes no steps")
        recipe["budget"] = {**recipe["budget"], "steps": steps}
        if "steps" in recipe.get("settings", {}):
            recipe["settings"] = {**recipe["settings"], "steps": steps}
    return recipe


def train_expert(
    task: Task,
    home: Path,
    recipe: Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    advance: Advance | None = None,
    folder: Path | None = None,
    save_at: Sequence[int] = (),
) -> Policy:
    """Solves a task by its true reward.

    Args:
        task: The task.
        home: The cache folder.
        recipe: From `expert_recipe`; None: the task's own.
        threads: Threads of torch; another number gives other rounding.
        advance: Hears how far it is.
        folder: Where checkpoints are kept, from `training_folder`; a training that was killed goes
            on from there. None: nowhere.
        save_at: Steps at which the policy is kept too, as `at-<step>` in the folder.

    Raises:
        UsageError: If the task's expert is not trained, or steps are asked for in vain.
        IrlbenchError: If the policy is not finite.
    """
    recipe = expert_recipe(task) if recipe is None else recipe
    seed = int(recipe.get("seed", 0))
    problem = task.expert_problem(seed, home)
    budget = Budget(**recipe.get("budget", {}))
    solver = registry().solver(recipe["solver"])
    settings = dict(recipe.get("settings") or {})
    if save_at:
        require_steps(task, recipe, save_at)
        settings["saves"] = _SAVES
    configured = solver.configure(task.world, settings)

    class Advances(Sink):
        def log(self, step: int, seconds: float, scalars: dict[str, float]) -> None:
            if advance is not None:
                advance(step, budget.steps, scalars)

        def save(self, step: int, seconds: float, policy: Policy) -> None:
            for wanted in save_at:
                assert folder is not None
                if step >= wanted and not (folder / f"at-{wanted}.json").exists():
                    save_policy(policy, folder, f"at-{wanted}")

    _limit_threads(threads)
    seed_libraries(seed)
    run = Run(
        seed,
        threads=threads,
        budget=budget,
        sink=Advances(),
        folder=folder,
        meter=problem.meter,
    )
    policy = configured.solve(problem, task.true_reward(), budget, run)
    if not policy.is_finite():
        raise IrlbenchError(f"the expert of {task.id} holds NaN or an infinity: try another seed")
    return policy


def require_steps(task: Task, recipe: Mapping[str, Any], save_at: Sequence[int]) -> None:
    """Refuses steps at which a training has no policy to keep.

    Args:
        task: The task.
        recipe: From `expert_recipe`.
        save_at: As for `train_expert`.

    Raises:
        UsageError: Naming the first.
    """
    if not save_at:
        return
    solver = registry().solver(recipe["solver"])
    steps = recipe.get("budget", {}).get("steps")
    if steps is None or "saves" not in {field.name for field in fields(solver.Config)}:
        raise UsageError(
            f"{solver.id}, which makes the expert of {task.id}, has no steps to save at"
        )
    if max(save_at) > steps:
        raise UsageError(f"the training takes {steps} steps: it is never at step {max(save_at)}")


def training_folder(
    out: Path, task: Task, recipe: Mapping[str, Any], save_at: Sequence[int] = ()
) -> Path:
    """The folder in which a training keeps its checkpoints until it is done.

    Args:
        out: From `new_folder`.
        task: The task.
        recipe: From `expert_recipe`.
        save_at: As for `train_expert`.

    Raises:
        UsageError: If it holds another training's.
    """
    folder = out / "unfinished"
    wanted = canonical_json(
        {"task": task.id, "hash": task.hash, "recipe": recipe, "save_at": list(save_at)}
    )
    path = folder / "training.json"
    if path.exists():
        if path.read_text(encoding="utf-8") != wanted:
            raise UsageError(
                f"{folder} holds an unfinished training of another task or recipe: go on with that "
                "one, remove it, or name another folder (--out)"
            )
    else:
        folder.mkdir(exist_ok=True)
        write_text_atomic(path, wanted)
    return folder


def finish_training(
    folder: Path,
    task: Task,
    home: Path,
    out: Path,
    recipe: Mapping[str, Any],
    save_at: Sequence[int] = (),
) -> dict[str, dict[str, float]]:
    """Measures the policies along the way, puts them beside the expert, and removes the rest.

    `references.json` freezes them under "policies", by the name of their files.

    Args:
        folder: From `training_folder`.
        task: The task.
        home: The cache folder.
        out: Where `write_expert` has written; they go there as `at-<step>`.
        recipe: From `expert_recipe`.
        save_at: As for `train_expert`.

    Returns:
        Name to scores.
    """
    frozen: dict[str, dict[str, Any]] = {}
    for step in save_at:
        name = f"at-{step}"
        policy = load_policy(folder, name)
        save_policy(policy, out, name)
        digest = sha256_file(out / f"{name}.safetensors")
        frozen[name] = {
            "sha256": digest,
            "recipe": {**recipe, "step": step},
            "scores": measure(task, policy, home),
        }
    if frozen:
        path = out / REFERENCES
        described = {**read_json(path), "policies": frozen}
        write_text_atomic(path, json.dumps(described, indent=1) + "\n")
    shutil.rmtree(folder)
    return {name: dict(found["scores"]) for name, found in frozen.items()}


def shipped_expert(task: Task, home: Path) -> Policy:
    """The expert that a task ships.

    Raises:
        UsageError: If it has none.
    """
    if "expert_policy" not in task.info.supplies:
        raise UsageError(f"{task.id} has no expert")
    problem = task.problem(_request(frozenset({"expert_policy"})), home)
    policy: Policy = problem.resource("expert_policy")
    return policy


def read_policy(folder: Path) -> Policy:
    """Reads an expert (`expert.json`) or a trial's policy (`policy.json`) from its folder.

    Raises:
        DataError: If there is neither, or it is damaged.
    """
    for name in (NAME, "policy"):
        if (folder / f"{name}.json").is_file():
            return load_policy(folder, name)
    raise DataError("holds neither expert.json nor policy.json", file=str(folder))


def measure(task: Task, policy: Policy, home: Path) -> dict[str, float]:
    """A policy's scores over the task's reference episodes.

    Args:
        task: The task.
        policy: Any policy that acts in its environment.
        home: The cache folder.

    Returns:
        Score name to mean, and where episodes were run their number under "episodes" and the
        standard error of each mean under "<score>_error".
    """
    evaluation: Evaluation = task.evaluator(TaskOptions(), home).reference(policy)
    found = {name: float(value) for name, value in evaluation.scores.items()}
    for name, values in evaluation.episodes.items():
        found["episodes"] = len(values)
        if name in found and len(values) > 1:
            found[f"{name}_error"] = _standard_error(values)
    return found


def write_expert(
    task: Task,
    policy: Policy,
    home: Path,
    out: Path,
    recipe: Mapping[str, Any],
) -> dict[str, dict[str, float]]:
    """Measures the random and the expert policy, and writes what ships with a task.

    Args:
        task: The task.
        policy: Its expert.
        home: The cache folder.
        out: From `new_folder`.
        recipe: How the policy was made.

    Returns:
        What was measured, for "random" and "expert".
    """
    references = measure_references(task, policy, home)
    save_policy(policy, out, NAME)
    digest = sha256_file(out / f"{NAME}.safetensors")
    write_references(references, out, digest, recipe)
    return references


def measure_references(task: Task, policy: Policy, home: Path) -> dict[str, dict[str, float]]:
    """Measures the random policy and an expert: score names to values, for "random" and "expert".

    Args:
        task: The task.
        policy: The expert.
        home: The cache folder.
    """
    from irlbench.policies.uniform import UniformPolicy

    actions = task.problem(_request(frozenset()), home).action_space
    return {
        "random": measure(task, UniformPolicy.over(actions), home),
        "expert": measure(task, policy, home),
    }


def write_references(
    references: Mapping[str, Mapping[str, float]],
    out: Path,
    sha256: str,
    recipe: Mapping[str, Any],
) -> None:
    """Writes `references.json`, which freezes an expert and its scores.

    Args:
        references: From `measure_references`.
        out: From `new_folder`.
        sha256: Of the expert's weights.
        recipe: How the expert was made, or under "policy_of" which task's it is.
    """
    described = {
        "references": references,
        "expert": {"sha256": sha256, "recipe": dict(recipe)},
        "measured_with": provenance.versions(),
    }
    write_text_atomic(out / REFERENCES, json.dumps(described, indent=1) + "\n")


def new_folder(out: Path) -> Path:
    """Makes the folder that `write_expert` fills, before anything is computed.

    Raises:
        UsageError: If it holds an expert already, or cannot be written.
    """
    taken = [name for name in (f"{NAME}.safetensors", REFERENCES) if (out / name).exists()]
    if taken:
        raise UsageError(f"{out} holds {' and '.join(taken)} already: name another folder (--out)")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise UsageError(f"cannot write to {out}: name another folder (--out)")
    return out


def _request(needs: frozenset[str]) -> ProblemRequest:
    return ProblemRequest(seed=0, needs=needs, track="reference", demonstrations=None)


def _standard_error(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
