"""What the tables say of recovered rewards, in words and digits, before any file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irlbench.reporting import numbers
from irlbench.reporting.escape import shorten
from irlbench.reporting.rows import Row

HOW_TO_READ = (
    "How far the reward that was learnt is from the true one, mean over seeds with its 95% "
    "interval. Of distances and regret lower is better: a distance is 0 where they differ by shaping and scale only, about "
    "0.7 where they have nothing to do with each other, 1 where one is the other's negation. Regret "
    "is lost by planning for the learnt reward instead of the true one, in the task's own dynamics "
    "and, after transfer, in changed ones: 0 is the best policy, 1 uniform moves, above 1 is worse. "
    "Of correlations with the true reward (of steps) and return (of episodes), and of the share of "
    "held-out pairs of which it prefers the better, higher is better; beside them stands what the "
    "length of an episode alone says of its return. "
    "n/a: not defined there, as a distance to a constant reward."
)
#: A record from elsewhere may name any number of measures; a table has no more columns.
MOST = 12


@dataclass(frozen=True)
class _Words:
    """A measure that this version knows, in words."""

    title: str
    help: str


_WORDS = {
    "epic": _Words("EPIC distance", "Gleave et al. 2021, over transitions"),
    "dard": _Words("DARD distance", "Wulfe et al. 2022, over transitions"),
    "starc": _Words("STARC distance", "Skalse et al. 2024, in expectation over next states"),
    "reoptimised_regret": _Words(
        "regret, planned again", "of the best policy for the learnt reward, in the same dynamics"
    ),
    "transfer_regret": _Words(
        "regret after transfer", "of the best policy for the learnt reward, in changed dynamics"
    ),
    "pearson": _Words("Pearson, steps", "correlation with the true reward over held-out steps"),
    "spearman": _Words("Spearman, steps", "rank correlation with the true reward over those"),
    "return_pearson": _Words(
        "Pearson, returns", "correlation with the true return over held-out episodes"
    ),
    "return_spearman": _Words(
        "Spearman, returns", "rank correlation with the true return over those"
    ),
    "pair_accuracy": _Words(
        "pairs right", "share of held-out pairs of which it prefers the truly better"
    ),
    "survival": _Words(
        "length alone", "correlation of an episode's length with its true return, for comparison"
    ),
}


def names(rows: Sequence[Row]) -> list[str]:
    """The measures that any of the rows has, those that this version knows first.

    The sampling error of a measure is no measure of its own; the files have it.
    """
    found = {name for row in rows for name in row.metrics}
    found -= {f"{name}_error" for name in found}
    known = [name for name in _WORDS if name in found]
    return (known + sorted(found - _WORDS.keys()))[:MOST]


def title(name: str) -> str:
    """A measure's heading."""
    return _WORDS[name].title if name in _WORDS else shorten(name.replace("_", " "), 40)


def help_of(name: str) -> str | None:
    """What a measure says, or None where this version does not know it."""
    return _WORDS[name].help if name in _WORDS else None


def parts(row: Row, name: str) -> tuple[str, str]:
    """A row's figure and what stands behind it: its interval, and on how few trials it rests.

    Args:
        row: One with learnt rewards.
        name: Of a measure.

    Returns:
        `("n/a", "")` where the measure is not defined.
    """
    metric = row.metrics.get(name)
    if metric is None:
        return "n/a", ""
    figure, interval = numbers.with_interval(metric["mean"], metric["low"], metric["high"])
    if metric["n"] < row.n:
        interval = f"{interval} {metric['n']} of {row.n} trials".lstrip()
    return figure, interval
