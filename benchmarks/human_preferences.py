"""What people prefer among Hopper's segments: IPL and a reward model, beside plain measures.

    OMP_NUM_THREADS=1 python benchmarks/human_preferences.py [--data DIR]

fits both on pairs that people judged, predicts pairs that were held out, and writes the record
(results/human-preferences/record.json) and the page made from it (docs/human-preferences.md).
`--page` makes the page again from the record that is there. A quarter of an hour on one core.

DIR holds the two archives of `jhejna/inverse-preference-learning` that `FILES` names.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from grouped_pairs import copies_of, credit_of, folds_of, groups_of, interval
from human_preferences_page import MEASURES, POLICY, REFERENCE, TURNED, page
from numpy.typing import NDArray

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bt_reward import BTReward
from irlbench.data.npz import NpzFile
from irlbench.data.preference_npz import read_preferences
from irlbench.data.preferences import Pairs, Preference, Preferences
from irlbench.data.validation import EpisodeChecker
from irlbench.errors import DataError, UsageError
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.registry import registry
from irlbench.reward import RewardFunction
from irlbench.running import provenance
from irlbench.serialisation import sha256_file

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "human-preferences"
RECORD = ROOT / "results" / "human-preferences" / "record.json"
PAGE = ROOT / "docs" / "human-preferences.md"
TASK = "control/hopper"
FILES = tuple(f"hopper-medium-expert-v2_num100_human_{part}.npz" for part in ("train", "eval"))
REPEATS, FOLDS = 10, 10

_BT = {"gradient_steps": 500, "batch_size": 16}
_IPL = {**_BT, "hidden": (64, 64), "target_rate": 0.05}
#: What is fitted: the algorithm, and what differs from its defaults on control. The settings of 500
#: steps were chosen beforehand, for a hundred pairs and a hundred fits on one core: with a twentieth
#: of its steps IPL's slow copy follows ten times as fast. Those of 50 steps came after a look.
SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bt-reward": ("bt-reward", _BT),
    "bt-reward, 50 steps": ("bt-reward", {**_BT, "gradient_steps": 50}),
    "ipl": ("ipl", _IPL),
    "ipl, 50 steps": ("ipl", {**_IPL, "gradient_steps": 50}),
}


@dataclass(frozen=True, eq=False)
class Judged:
    """Pairs that people judged.

    Attributes:
        preferences: The pairs, file after file.
        pairs: The same as arrays.
        groups: Of each pair the group that is held out as one, from 0, int64 `[pairs]`.
        copies: Whether a pair stands before with the same label, bool `[pairs]`.
        files: Name of each archive to its hash and its number of pairs.
    """

    preferences: Preferences
    pairs: Pairs
    groups: NDArray[np.int64]
    copies: NDArray[np.bool_]
    files: Mapping[str, Mapping[str, Any]]


def read(folder: Path) -> Judged:
    """Reads the archives.

    Raises:
        UsageError: If one is not there.
        DataError: If one does not fit the task.
    """
    task = registry().task(TASK)
    spaces = task.spaces()
    assert spaces is not None, "hopper takes imported data"
    found: list[Preference] = []
    files = {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise UsageError(
                f"there is no {name} in {folder.name}: --data names the folder of the archives "
                "of jhejna/inverse-preference-learning"
            )
        checker = EpisodeChecker(name, *spaces, horizon=task.info.horizon)
        with NpzFile(path) as archive:
            part = read_preferences(archive, checker, "human")
        checker.finish()
        files[name] = {"sha256": sha256_file(path), "pairs": len(part)}
        found += part.comparisons
    preferences = Preferences(tuple(found))
    pairs = preferences.pairs()
    groups = groups_of(pairs.observations)
    return Judged(preferences, pairs, groups, copies_of(pairs), files)


def measured(pairs: Pairs) -> dict[str, NDArray[np.float64]]:
    """The plain measures of both segments, larger where it is thought to be better, `[pairs, 2]`.

    Means over the steps, of what is observed before each.
    """
    before = pairs.observations[:, :, :-1]
    squares = (pairs.actions.astype(np.float64) ** 2).sum(axis=-1)
    values = (before[..., 0].mean(axis=-1), before[..., 5].mean(axis=-1), -squares.mean(axis=-1))
    return dict(zip(MEASURES, values, strict=True))


def learnt(train: Preferences, pairs: Pairs, seed: int) -> dict[str, NDArray[np.float64]]:
    """Fits both algorithms, and scores all segments by what they learnt, `[pairs, 2]`.

    Args:
        train: What they are given.
        pairs: What is scored.
        seed: Of the fit.
    """
    task = registry().task(TASK)
    spaces = task.spaces()
    assert spaces is not None, "hopper takes imported data"

    def problem() -> Problem:
        return Problem(
            task.id,
            task.info.world,
            *spaces,
            horizon=task.info.horizon,
            discount=task.info.discount,
            track="preferences",
            seed=seed,
            needs=frozenset({"preferences"}),
            suppliers={"preferences": lambda: train},
        )

    found = {}
    for name in SETTINGS:
        made = configured(name)
        if isinstance(made, BTReward):
            found[name] = returns(made.fit_reward(problem(), Run(seed)), pairs)
            continue
        solution = made.fit(problem(), Budget(), Run(seed))
        found[name] = returns(solution.reward, pairs)
        if name == "ipl":
            found[POLICY] = log_likelihoods(solution.policy, pairs)
    return found


def configured(name: str) -> Any:
    """An algorithm with its settings here, by its name in `SETTINGS`."""
    algorithm, changed = SETTINGS[name]
    return registry().algorithm(algorithm).configure(registry().task(TASK).info.world, changed)


def returns(reward: RewardFunction, pairs: Pairs) -> NDArray[np.float64]:
    """Undiscounted sums over both segments, `[pairs, 2]`; all are of one length."""
    states, actions, following = _steps(pairs)
    values = reward(states, actions, following, pairs.terminations.reshape(-1))
    return values.reshape(pairs.mask.shape).sum(axis=-1)


def log_likelihoods(policy: Policy, pairs: Pairs) -> NDArray[np.float64]:
    """Sums of log pi(a|s) over both segments, `[pairs, 2]`."""
    states, actions, _ = _steps(pairs)
    return policy.log_prob(states, actions).reshape(pairs.mask.shape).sum(axis=-1)


def _steps(pairs: Pairs) -> list[NDArray[Any]]:
    """Observations, actions and next observations of all steps, `[steps, ...]` each."""
    now, then = pairs.observations[:, :, :-1], pairs.observations[:, :, 1:]
    return [array.reshape(-1, array.shape[-1]) for array in (now, pairs.actions, then)]


def turned(scores: NDArray[np.float64], credit: NDArray[np.float64]) -> NDArray[np.float64]:
    """A measure, turned round where less than half of the training pairs speak for it.

    Args:
        scores: Of both segments of each pair, `[pairs, 2]`.
        credit: Of the training pairs.
    """
    return scores if np.nanmean(credit) >= 0.5 else -scores


def judge(data: Judged, repeats: int, folds: int) -> dict[str, Any]:
    """Repeated grouped cross-validation of everything.

    Args:
        data: The pairs.
        repeats: Times that all pairs are divided anew.
        folds: Parts of which each is held out once.

    Returns:
        "repeats": for each, and each of its folds, the numbers of pairs and, of each method, what
        it got right; "credit": each method's over all repeats, `[repeats, pairs]`; "fitted": the
        share of their training pairs that learnt methods get right.
    """
    truth = data.pairs.first_preferred
    credit: dict[str, NDArray[np.float64]] = {}
    fitted: dict[str, list[float]] = {}
    told = []
    for repeat in range(repeats):
        fold, began = folds_of(data.groups, folds, repeat), time.monotonic()
        rows: list[dict[str, Any]] = []
        for number in range(folds):
            out = fold == number
            right, shares = held_out(data, out, repeat * folds + number)
            for name, values in right.items():
                credit.setdefault(name, np.full((repeats, len(truth)), np.nan))
                credit[name][repeat, out] = values
            for name, share in shares.items():
                fitted.setdefault(name, []).append(share)
            correct = {name: float(np.nansum(values)) for name, values in right.items()}
            untied = int((truth[out] != 0.5).sum())
            rows.append({"pairs": int(out.sum()), "untied": untied, "correct": correct})
        told.append(rows)
        means = (f"{name} {np.nanmean(whole[repeat]):.3f}" for name, whole in credit.items())
        print(f"repeat {repeat}, {time.monotonic() - began:.0f} s:  {'  '.join(means)}", flush=True)
    means_of_fits = {name: float(np.mean(values)) for name, values in fitted.items()}
    return {"repeats": told, "credit": credit, "fitted": means_of_fits}


def held_out(
    data: Judged, out: NDArray[np.bool_], seed: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Learns from the other pairs, and predicts these.

    Args:
        data: The pairs.
        out: Which are held out, bool `[pairs]`.
        seed: Of the fits.

    Returns:
        Each method's credit on what was held out, and the share of training pairs that each of
        the learnt methods gets right.
    """
    truth = data.pairs.first_preferred
    given = Preferences(tuple(data.preferences[int(i)] for i in np.flatnonzero(~out)))
    plain, predicted = measured(data.pairs), learnt(given, data.pairs, seed)
    whole = {name: credit_of(values, truth) for name, values in (plain | predicted).items()}
    for name, values in plain.items():
        whole[name + TURNED] = credit_of(turned(values, whole[name][~out]), truth)
    shares = {name: float(np.nanmean(whole[name][~out])) for name in predicted}
    return {name: values[out] for name, values in whole.items()}, shares


def summary(
    credit: Mapping[str, NDArray[np.float64]],
    groups: NDArray[np.int64],
    copies: NDArray[np.bool_],
) -> dict[str, dict[str, Any]]:
    """Accuracies with their intervals, on all pairs and without copies.

    Args:
        credit: Of each method the mean over repeats, NaN for ties, `[pairs]`.
        groups: Of each pair, `[pairs]`.
        copies: Pairs that stand before, `[pairs]`.
    """
    found = {}
    for name, values in credit.items():
        less = values - credit[REFERENCE]
        found[name] = {
            "accuracy": interval(values, groups),
            "distinct": interval(np.where(copies, np.nan, values), groups),
            "less_reference": interval(less, groups),
        }
    return found


def record_of(data: Judged, found: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What is committed: everything that the page says follows from it."""
    untied = data.pairs.first_preferred != 0.5
    mean = {name: rows.mean(axis=0) for name, rows in found["credit"].items()}
    by_repeat = {name: np.nanmean(rows, axis=1) for name, rows in found["credit"].items()}
    algorithms = {}
    for name, (algorithm, changed) in SETTINGS.items():
        made = configured(name)
        algorithms[name] = {
            "id": algorithm,
            "version": made.version,
            "changed": changed,
            "config": dataclasses.asdict(made.config),
        }
    return {
        "schema": 1,
        "task": registry().task(TASK).id,
        "files": data.files,
        "pairs": len(untied),
        "untied": int(untied.sum()),
        "distinct": int((~data.copies).sum()),
        "distinct_untied": int((untied & ~data.copies).sum()),
        "algorithms": algorithms,
        "methods": summary(mean, data.groups, data.copies),
        "by_repeat": {name: values.tolist() for name, values in by_repeat.items()},
        "fitted": found["fitted"],
        "repeats": found["repeats"],
        "groups": data.groups.tolist(),
        "copies": np.flatnonzero(data.copies).tolist(),
        "credit": {
            name: [None if np.isnan(value) else float(value) for value in values]
            for name, values in mean.items()
        },
        "processor_seconds": round(seconds),
        "versions": provenance.versions(),
        "irlbench": provenance.code(),
        "hardware": {"processor": provenance.processor(), "device": "cpu", "threads": 1},
    }


def written(record: Mapping[str, Any]) -> str:
    """The record as JSON, a line for each of its entries and each repeat."""
    lines = []
    for key, value in record.items():
        told = json.dumps(value)
        if key == "repeats":
            told = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {told}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    """Runs it, and writes record and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the archives")
    parser.add_argument("--page", action="store_true", help="only make the page again")
    chosen = parser.parse_args()
    if not chosen.page:
        import torch

        provenance.code()  # of what runs, before a file is written
        torch.set_num_threads(1)
        try:
            data = read(chosen.data)
        except (DataError, UsageError) as error:
            parser.error(str(error))
        began = time.process_time()
        found = judge(data, REPEATS, FOLDS)
        made = record_of(data, found, time.process_time() - began)
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(written(made), encoding="utf-8")
    PAGE.write_text(page(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
