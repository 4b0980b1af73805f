"""What a check comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["held", "did not hold", "inconclusive", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One line of the answer.

    Attributes:
        name: What must hold.
        verdict: Whether it did.
        reason: In words: what was looked at, or what was wrong.
    """

    name: str
    verdict: Verdict
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Name, verdict and reason."""
        return asdict(self)


def held(name: str, reason: str) -> Check:
    """A check that held."""
    return Check(name, "held", reason)


def failed(name: str, reason: str) -> Check:
    """A check that did not hold."""
    return Check(name, "did not hold", reason)


def unclear(name: str, reason: str) -> Check:
    """A check that says nothing either way."""
    return Check(name, "inconclusive", reason)


def beside(name: str, reason: str) -> Check:
    """A check that makes no sense here."""
    return Check(name, "not applicable", reason)


def all_held(checks: Iterable[Check]) -> bool:
    """Whether nothing failed to hold, and nothing was inconclusive."""
    return all(check.verdict in ("held", "not applicable") for check in checks)
