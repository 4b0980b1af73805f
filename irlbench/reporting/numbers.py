"""How numbers are written: no more digits than the interval allows, aligned on the point."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST_DECIMALS = 3


def decimals_for_score(half_width: float | None) -> int:
    """Decimals of a normalised score: one to three, as many as the interval allows.

    Args:
        half_width: Of the interval; None where there is none.
    """
    if half_width is None:
        return 2
    return max(_reaching(half_width, _MOST_DECIMALS), 1)


def decimals_for_raw(value: float, half_width: float | None) -> int:
    """Decimals of a raw score: at most four significant digits, fewer if the interval is wide.

    Args:
        value: The score.
        half_width: Of its interval; None where there is none.
    """
    most = _MOST_DECIMALS
    if value:
        most = min(max(3 - math.floor(math.log10(abs(value))), 0), most)
    return most if half_width is None else _reaching(half_width, most)


def _reaching(half_width: float, most: int) -> int:
    """Decimals that show a half width in one digit, or in two where the first is a 1."""
    if half_width < 10.0 ** -(most + 2):
        return most
    return min(max(-math.floor(math.log10(half_width / 2)), 0), most)


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals; never a negative zero."""
    written = f"{value:.{decimals}f}"
    return written.lstrip("-") if float(written) == 0 else written


def with_interval(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """A normalised score and its interval.

    Returns:
        As in `("0.97", "[0.95, 0.99]")`; the second is empty where there is no interval.
    """
    if low is None or high is None:
        return fixed(value, decimals_for_score(None)), ""
    decimals = decimals_for_score((high - low) / 2)
    return fixed(value, decimals), f"[{fixed(low, decimals)}, {fixed(high, decimals)}]"


def raw(value: float, low: float | None, high: float | None) -> str:
    """A raw score with the digits that its interval allows."""
    half = None if low is None or high is None else (high - low) / 2
    decimals = decimals_for_raw(value, half)
    return fixed(value, decimals)


def count(value: float) -> str:
    """A number of things: whole where it is whole, with k or M from ten thousand on."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{value / scale:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def duration(seconds: float) -> str:
    """Seconds for people: `<0.1 s`, `0.4 s`, `12 s`, `3.5 min`, `2.1 h`."""
    if seconds < 0.05:
        return "<0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def align(written: Sequence[str], filler: str = " ") -> list[str]:
    """Pads numbers to one width with their decimal points under each other.

    Args:
        written: Numbers; text without a digit is set to the right.
        filler: What to pad with.
    """
    heads = [text.partition(".")[0] for text in written]
    tails = [text[len(head) :] for head, text in zip(heads, written, strict=True)]
    head, tail = max(map(len, heads), default=0), max(map(len, tails), default=0)
    return [
        h.rjust(head, filler) + t.ljust(tail, filler) for h, t in zip(heads, tails, strict=True)
    ]
