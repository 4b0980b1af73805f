"""Records of trials that nobody ran: everything a report reads, nothing that takes time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irlbench.policy import Policy, save_policy
from irlbench.reporting.facts import TaskFacts
from irlbench.reward import RewardFunction, save_reward
from irlbench.running.claims import Claim
from irlbench.running.record import Record
from irlbench.running.store import Store
from irlbench.serialisation import sha256_json

#: Raw anchors of the made-up tasks: low and high name and value, name of the score.
TASKS: dict[str, tuple[str, float, str, float, str]] = {
    "gridworld/four-rooms-v0": ("random", 2.0, "expert", 12.0, "return"),
    "control/cartpole-v0": ("random", 20.0, "expert", 500.0, "return"),
    "control/hopper-v0": ("random", 15.0, "expert", 3500.0, "return"),
    "text/arithmetic-v0": ("base", 0.3, "expert", 1.0, "accuracy"),
}
DEMONSTRATIONS = {"gridworld": 20, "control": 1, "text": 50}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(
    task: str = "control/cartpole-v0",
    algorithm: str = "bc",
    seed: int = 0,
    score: float | None = 0.9,
    *,
    references: dict[str, dict[str, float]] | None = None,
    primary: dict[str, Any] | None = None,
    costs: dict[str, float] | None = None,
    error: dict[str, str] | None = None,
    best: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    versions: dict[str, str] | None = None,
    processor: str = "Some Processor (x86_64)",
    **spec: Any,
) -> Record:
    """A record whose normalised score is `score`; None makes a failed one."""
    low, bottom, high, top, name = TASKS.get(task, ("random", 0.0, "expert", 1.0, "return"))
    world = task.split("/", 1)[0]
    reference = algorithm in ("random", "expert", "base", "survival")
    determined = {
        "task": task,
        "task_hash": sha(task),
        "algorithm": algorithm,
        "algorithm_version": 1,
        "plugin_hash": None,
        "config": {},
        "budget": {"steps": None, "gradient_steps": None, "seconds": None},
        "track": "reference" if reference else "demonstrations",
        "demonstrations": None if reference else DEMONSTRATIONS.get(world),
        "preferences": None,
        "seed": seed,
        "demos": None,
        "given": {},
        "model": sha("model") if world == "text" else None,
        "device": "cpu",
        "threads": 1,
        "solvers": {},
        "changed": {},
        **spec,
    }
    identity = sha256_json({k: v for k, v in determined.items() if k != "changed"})
    spent = {"steps": 0, "gradient_steps": 0 if reference else 2000, "seconds": 3.2}
    if not reference:
        spent["demonstrations"] = determined["demonstrations"] or 1
    return Record(
        trial=identity,
        status="failed" if score is None else "done",
        spec=determined,
        world=world,
        environment="Made-v0",
        primary=primary or {"name": name, "higher_is_better": True, "low": low, "high": high},
        references=references or {low: {name: bottom}, high: {name: top}},
        scores={} if score is None else {name: bottom + score * (top - bottom)},
        best=best,
        costs=costs if costs is not None else spent,
        error=error
        or (
            {"type": "ValueError", "message": "the loss is NaN", "traceback": "..."}
            if score is None
            else None
        ),
        versions=versions or {"python": "3.12.1", "numpy": "2.3.0"},
        irlbench={"version": "0.1.0", "commit": "0" * 40, "dirty": False},
        hardware={"processor": processor, "device": "cpu"},
        data=data or {"built": {}},
    )


def publish(
    out: Path,
    record: Record,
    validation: list[tuple[int, float]] | None = None,
    policy: Policy | None = None,
    reward: RewardFunction | None = None,
) -> Record:
    """Writes a record as a run does; the curve in normalised scores of the made-up anchors."""
    store = Store(out)
    store.open_for_writing()
    name = record.primary["name"]
    low, high = (record.references[record.primary[end]][name] for end in ("low", "high"))
    rows = []
    for step, score in validation or []:
        rows.append((step, step / 100, "log", "loss", 1.0 / (step + 1)))
        rows.append((step, step / 100, "validation", name, low + score * (high - low)))
        rows.append((step, step / 100, "validation", "length", 7.0))
    claim = store.claim(record.trial, resumable=False)
    assert isinstance(claim, Claim)
    (claim.folder / "log.txt").write_text("what was printed\n", encoding="utf-8")
    if policy is not None:
        save_policy(policy, claim.folder)
        record = dataclasses.replace(record, verifiable=True)
    if reward is not None:
        save_reward(reward, claim.folder)
        record = dataclasses.replace(record, has_reward=True)
    sealed = store.publish(record, rows, claim)
    assert sealed is not None
    return sealed


def forge(out: Path, record: Record, **changes: Any) -> Path:
    """Writes record.json by hand, sealed, with values that no run would write."""
    Store(out).open_for_writing()
    sealed = dataclasses.replace(record, **changes).sealed([])
    folder = out / "trials" / sealed.trial
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(sealed.to_json()), encoding="utf-8")
    (folder / "log.txt").write_text("\n", encoding="utf-8")
    return folder


def facts_of(task: str) -> TaskFacts | None:
    """What an installation would know about the made-up tasks."""
    if task not in TASKS:
        return None
    world = task.split("/", 1)[0]
    return TaskFacts(
        hash=sha(task),
        summary=f"a made-up task of {world}",
        demonstrations=DEMONSTRATIONS[world],
        budget={"steps": None, "gradient_steps": None, "seconds": None},
        preferences=500 if world == "gridworld" else None,
        frozen=frozenset({sha("model")}),
    )


@pytest.fixture
def record() -> Callable[..., Record]:
    """Makes a record; see `make_record`."""
    return make_record


@pytest.fixture
def published() -> Callable[..., Record]:
    """Writes a record; see `publish`."""
    return publish


@pytest.fixture
def forged() -> Callable[..., Path]:
    """Writes a record by hand; see `forge`."""
    return forge


@pytest.fixture
def facts() -> Callable[[str], TaskFacts | None]:
    """What is known about the made-up tasks; see `facts_of`."""
    return facts_of


@pytest.fixture
def known(monkeypatch) -> None:
    """The made-up tasks are installed, as far as a report asks."""
    monkeypatch.setattr("irlbench.reporting.leaderboard.installed_facts", facts_of)
