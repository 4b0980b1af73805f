"""What the leaderboard holds: rows, failures, notes. Knows no file format and no plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from irlbench.reporting.trials import Trial


@dataclass(frozen=True)
class Row:
    """One cell: a task, an algorithm and what was given, over its seeds.

    Attributes:
        world: "gridworld", "control" or "text".
        task: Task id.
        track: What kind of learning this is.
        algorithm: Algorithm id.
        variant: What differs from the defaults, in words; empty where nothing does.
        n: Trials, one per seed, failed ones among them.
        failed: Failed trials; each counts as the low anchor.
        score: Mean normalised score, or None where the anchors are not known.
        low: Lower end of its t-interval over seeds, or None.
        high: Upper end, or None.
        raw: Mean raw primary score.
        raw_name: Name of the primary score.
        provisional: Whether there are fewer seeds than the world asks for.
        reference: Whether it is a reference row, which is never ranked.
        rank: Within the setting (task, track, budget, data), 1 the best; equal scores share it.
        seconds: Mean wall-clock time of learning, or None where no trial finished.
        steps: Mean environment steps (on text, tokens), or None.
        gradient_steps: Mean parameter updates, or None.
        demonstrations: Mean demonstrations taken, or None.
        preferences: Mean preferences taken, or None.
        raw_low: Lower end of the raw score's interval, or None.
        raw_high: Upper end, or None.
        higher_is_better: Which way the raw score is good.
        low_anchor: "name" and raw "value" of what counts as 0.
        high_anchor: "name" and raw "value" of what counts as 1.
        score_demonstrator: Mean score on the scale where imported demonstrations' own
            demonstrator is 1, or None.
        best_validation: Mean normalised validation score of the best policies along the way.
        rewards: Trials that did not fail and left a learnt reward.
        metrics: Scores of the learnt rewards: name to "mean", "low" and "high" (the ends of its
            t-interval, or None) and "n", the trials in which it is defined.
        peak_memory_bytes: Largest peak over the trials, or None.
        saturated_by: Algorithms that solve the task outright, in this setting.
        conflicts: Trials of this row with different results in two directories.
        seeds: In order.
        trials: Trial ids, in order of seed.
        setting: Equal for rows that compete.
        given: The part of `variant` that the setting accounts for.
        task_hash: Hash of what the task is.
        summary: The task in one line, or None where it is not installed.
        note: What a reader should know about the task, or None. It speaks of the task as it is
            installed, so a row of another task hash has none.
    """

    world: str
    task: str
    track: str
    algorithm: str
    variant: str
    n: int
    failed: int
    score: float | None
    low: float | None
    high: float | None
    raw: float | None
    raw_name: str
    provisional: bool
    reference: bool
    rank: int | None
    seconds: float | None
    steps: float | None
    gradient_steps: float | None
    demonstrations: float | None
    preferences: float | None
    raw_low: float | None
    raw_high: float | None
    higher_is_better: bool
    low_anchor: Mapping[str, Any]
    high_anchor: Mapping[str, Any]
    score_demonstrator: float | None
    best_validation: float | None
    rewards: int
    metrics: Mapping[str, Mapping[str, Any]]
    peak_memory_bytes: float | None
    saturated_by: tuple[str, ...]
    conflicts: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: tuple[str, ...]
    setting: str
    given: str
    task_hash: str
    summary: str | None
    note: str | None

    @property
    def name(self) -> str:
        """The task's name within its world."""
        return self.task.removeprefix(f"{self.world}/")

    def to_json(self) -> dict[str, Any]:
        """The row as `leaderboard.json` holds it."""
        found = dataclasses.asdict(self)
        del found["setting"], found["given"], found["summary"], found["note"]
        return found


@dataclass(frozen=True)
class Failure:
    """A failed trial.

    Attributes:
        trial: Its id.
        task: Its task.
        algorithm: Its algorithm.
        variant: The variant of its row.
        seed: Its seed.
        error: Type and message of the error.
        source: Short name of its directory.
        log: Its log, from the directory on; None where there is none.
    """

    trial: str
    task: str
    algorithm: str
    variant: str
    seed: int
    error: str
    source: str
    log: str | None


@dataclass
class Leaderboard:
    """Everything a report shows, short of curves.

    Attributes:
        rows: In the order of the tables.
        failures: Failed trials.
        notes: What a reader should know about the records, in sentences.
        made_with: What the records were made with: name to the values seen.
        trials: Trial id to trial.
    """

    rows: list[Row]
    failures: list[Failure]
    notes: list[str]
    made_with: dict[str, list[str]]
    trials: dict[str, Trial] = field(repr=False, default_factory=dict)

    @property
    def worlds(self) -> dict[str, list[Row]]:
        """The rows of each world, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.world, []).append(row)
        return found
