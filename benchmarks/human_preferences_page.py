"""The page on what people prefer, made from the record of `human_preferences.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grouped_pairs import RESAMPLES

#: Each measure of a segment, by what is thought to be better before the labels are seen.
MEASURES = {
    "torso height": "higher is better",
    "forward velocity": "faster is better",
    "action size": "smaller is better",
}
TURNED = ", direction learnt"
REFERENCE = "torso height"
POLICY = "ipl, policy"
LEARNT = {
    "bt-reward": "sum of the reward model",
    "bt-reward, 50 steps": "the same",
    "ipl": "sum of the implied reward Q - gamma V'",
    "ipl, 50 steps": "the same",
    POLICY: "sum of log pi(a\\|s), which is no reward",
}

PAGE_TEXT = """\
# What people prefer

Do rewards learnt from people's answers predict their other answers? Here on segments of Hopper, from
pairs alone: `ipl`, and the reward model of `bt-reward` (its solver has no part), beside measures that
need no learning. All figures are from [the record](../results/human-preferences/record.json);
`python benchmarks/human_preferences.py` makes record and page.

## The pairs

{pairs} pairs of segments of 100 observations, cut from D4RL's `hopper-medium-expert-v2` (recorded on an
older version of Hopper with the same observations) and judged by people for "Inverse Preference
Learning" (Hejna and Sadigh, 2023; `jhejna/inverse-preference-learning`, MIT licence):

{files}

{untied} of them have a preference, {ties} are ties. What the last action of a segment led to was not
recorded, so a segment has 99 steps.

**{copied} pairs are there twice**: those of the second file are the last of the first, to the bit and
with the same labels. {distinct} pairs are distinct, {distinct_untied} of them without a tie. Some others
have segments that overlap. Pairs with an observation in common are held out together: {groups} groups,
the connected components. Segments of one episode that do not overlap cannot be recognised.

## How often the preferred segment was predicted

{table}

- **Accuracy** is over pairs that are no ties, {untied} of all and {distinct_untied} without copies, each
  predicted when it was held out: {folds} folds, groups whole, divided anew {repeats} times with other
  first weights. Ties are given in training, as 0.5. The segment with the higher score is predicted. In
  training copies count twice, in both columns.
- **In brackets**: 95% percentile bootstrap over groups ({resamples:,} resamples) of the mean over repeats.
  It says how far the accuracy would vary with other pairs, for the models that were fitted. It does not
  hold what other training pairs would change. Folds are not independent (the training pairs of two
  are the same but for a ninth) and repeats have the same pairs, so no interval is made over either:
  *over repeats* are the least and the largest accuracy of one, which division and first weights make.
- **Less torso height** is the difference on the same pairs, its interval from the same resamples.
- **Training pairs**: the share of those without a tie that what was fitted on them gets right.
- **Measures** are means over the steps: observation 0, observation 5, and the squared length of the
  action. *Direction learnt* turns a measure round where most of the training pairs speak against it.

Chance is 0.5. Beside torso height:

{verdict}

## How it was run

Both algorithms as they are, with their defaults on control but for

{settings}

**Nothing was tuned.** The settings of 500 steps were set before any result was seen, for what a hundred
fits may cost on one core. Those of 50 steps were added after a look at one repeat, in which these fitted their
training pairs far better than others: they show what shorter training does, on the same folds, and
are no choice made without them.

{seconds:,} processor seconds on one thread ({processor}); irlbench {version}, commit {commit}, torch
{torch}. The record has every setting, each fold's counts, and each pair's share of repeats in which
it was predicted.
"""


def page(record: Mapping[str, Any]) -> str:
    """The page that a record makes.

    Args:
        record: What `record.json` holds.
    """
    methods, code = record["methods"], record["irlbench"]
    names = [name for measure in MEASURES for name in (measure, measure + TURNED)] + list(LEARNT)
    head = ["", "accuracy", "without copies", "over repeats", "less torso height", "training pairs"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *(_line(record, name) for name in names)]
    return PAGE_TEXT.format(
        files="\n".join(
            f"- `{name}`, {file['pairs']} pairs, SHA-256 `{file['sha256'][:12]}`"
            for name, file in record["files"].items()
        ),
        pairs=record["pairs"],
        untied=record["untied"],
        ties=record["pairs"] - record["untied"],
        copied=record["pairs"] - record["distinct"],
        distinct=record["distinct"],
        distinct_untied=record["distinct_untied"],
        groups=max(record["groups"]) + 1,
        repeats=len(record["repeats"]),
        folds=len(record["repeats"][0]),
        resamples=RESAMPLES,
        table="\n".join(f"| {' | '.join(row)} |" for row in rows),
        verdict="\n".join(_verdict(name, methods[name]["less_reference"]) for name in LEARNT),
        settings="\n".join(_settings(*entry) for entry in record["algorithms"].items()),
        seconds=record["processor_seconds"],
        processor=record["hardware"]["processor"],
        torch=record["versions"]["torch"],
        version=code["version"],
        commit=(code["commit"] or "unknown")[:12] + (", changed" if code["dirty"] else ""),
    )


def _line(record: Mapping[str, Any], name: str) -> list[str]:
    found, by_repeat = record["methods"][name], record["by_repeat"][name]
    label = name if name.endswith(TURNED) else f"{name}: {(MEASURES | LEARNT)[name]}"
    own = record["fitted"].get(name)
    return [
        label,
        told(found["accuracy"]),
        told(found["distinct"]),
        "" if name in MEASURES else f"{min(by_repeat):.3f} to {max(by_repeat):.3f}",
        "" if name == REFERENCE else told(found["less_reference"], "+.3f"),
        "" if own is None else f"{own:.3f}",
    ]


def told(found: Mapping[str, float], form: str = ".3f") -> str:
    """An estimate and its interval.

    Args:
        found: "estimate", "low" and "high".
        form: Of each number.
    """
    low, high = (format(found[end], form) for end in ("low", "high"))
    return f"{found['estimate']:{form}} [{low}, {high}]"


def _verdict(name: str, less: Mapping[str, float]) -> str:
    said = "is not told apart from torso height by these pairs"
    if less["low"] > 0:
        said = "predicts better than torso height"
    elif less["high"] < 0:
        said = "predicts worse than torso height"
    return f"- `{name}` {said}: {told(less, '+.3f')}."


def _settings(name: str, of: Mapping[str, Any]) -> str:
    changed = ", ".join(f"`{key}={value}`" for key, value in of["changed"].items())
    return f"- `{name}`: {changed}."
