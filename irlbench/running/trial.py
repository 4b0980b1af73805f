"""A trial: one (task, algorithm, configuration, seed), and its identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from irlbench.problem import Budget
from irlbench.serialisation import sha256_json
from irlbench.task import TaskOptions


@dataclass(frozen=True)
class TrialSpec:
    """Everything that determines a trial's result.

    Attributes:
        task: Task id with its version.
        task_hash: Hash of what the task is.
        algorithm: Algorithm id.
        algorithm_version: The algorithm's version.
        plugin_hash: SHA-256 of the plug-in file that it came from, or None.
        config: Every hyperparameter.
        budget: "steps", "gradient_steps", "seconds".
        track: What kind of learning this is.
        demonstrations: How many are given; None: all there are, or none needed.
        preferences: How many are given; None: all there are, or none needed.
        seed: Of learning; it also draws the demonstrations.
        demos: Name of imported demonstrations, or None. Their hash is in `given`; under another
            name they are the same, so it is not part of the id.
        given: Name to SHA-256 of what the user brought.
        model: Hash of the language model, or None.
        device: "cpu" or "cuda".
        threads: Threads of numerical libraries.
        solvers: Id of each solver that the algorithm calls, with its version, configuration and
            plug-in file.
        changed: Hyperparameters that differ from the world's defaults. Follows from `config`, so
            it is not part of the id.
    """

    task: str
    task_hash: str
    algorithm: str
    algorithm_version: int
    plugin_hash: str | None
    config: Mapping[str, Any]
    budget: Mapping[str, float | None]
    track: str
    demonstrations: int | None
    preferences: int | None
    seed: int
    demos: str | None
    given: Mapping[str, str]
    model: str | None
    device: str
    threads: int
    solvers: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """JSON values of every attribute, which they share with the trial."""
        return {name: getattr(self, name) for name in _FIELDS}

    @cached_property
    def id(self) -> str:
        """SHA-256 over canonical JSON, 64 hexadecimal digits."""
        determining = self.to_json()
        del determining["changed"], determining["demos"]
        return sha256_json(determining)

    @property
    def label(self) -> str:
        """For people: task, algorithm, what is given or changed, and seed."""
        told = in_words(self.to_json())
        return f"{self.task} {self.algorithm}{f' ({told})' if told else ''} seed {self.seed}"


_FIELDS = tuple(field.name for field in dataclasses.fields(TrialSpec))


def in_words(spec: Mapping[str, Any]) -> str:
    """What sets a trial apart from others of its task and algorithm, the seed aside.

    Args:
        spec: As in a record.
    """
    more = spec["track"].partition("+")[2]
    told = [f"with {more}"] if more else []
    told += [
        f"{spec[name]} {name.removesuffix('s') if spec[name] == 1 else name}"
        for name in ("demonstrations", "preferences")
        if spec[name]
    ]
    told += [f"demos {spec['demos']}"] if spec["demos"] else []
    told += [f"{name}={value}" for name, value in sorted(spec["changed"].items())]
    limits = {name: spec["budget"][name] for name in ("gradient_steps", "seconds")}
    told += [f"budget {name}={value:g}" for name, value in limits.items() if value is not None]
    told += [f"{spec['threads']} threads"] if spec["threads"] != 1 else []
    told += [f"plug-in {spec['plugin_hash'][:8]}"] if spec["plugin_hash"] else []
    return ", ".join(told)


@dataclass(frozen=True)
class Job:
    """A trial and what a process needs to run it; nothing here enters the trial's id.

    Attributes:
        spec: The trial.
        options: The user's choices, with their paths.
        plugins: Plug-in files to load, with the SHA-256 that they had when the run was planned.
        home: The cache folder.
        folder: Where the trial works until its record is published.
        made_with: Names the code and packages; a checkpoint of others is not used.
        checkpoint_seconds: How long after a checkpoint the next one is due.
        gpu: What CUDA is to see, as in CUDA_VISIBLE_DEVICES; None leaves it as it is.
    """

    spec: TrialSpec
    options: TaskOptions
    plugins: tuple[tuple[str, str], ...]
    home: str
    folder: str
    made_with: str
    checkpoint_seconds: float
    gpu: str | None = None

    def on(self, gpu: str | None) -> Job:
        """The same trial with a GPU to see."""
        return dataclasses.replace(self, gpu=gpu)

    @property
    def budget(self) -> Budget:
        """The trial's budget."""
        return Budget(**self.spec.budget)  # type: ignore[arg-type]
