"""The arithmetic task's language: step-by-step sums, a demonstrator, and a verifier.

A prompt is `348+67=`; the demonstrator's completion adds digit by digit from the right, with
the carry as a third term, and ends with the answer behind GSM8K's marker:

    348+67=
    8+7=15
    4+6+1=11
    3+0+1=4
    #### 415

Pairs of operands are divided into train, validation and test by a hash of the unordered pair, so
that no sum of one split occurs in another, nor with its operands exchanged.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from irlbench.randomness import row_keys

MARKER = "#### "
SPLITS = ("train", "validation", "test")
#: Digits of the operands: of demonstrations and of test prompts, and of the held-out `longer` set.
DIGITS = (2, 3)
LONGER_DIGITS = (4, 4)
#: Tenths of the operand pairs that belong to validation and to test; the rest is train.
_VALIDATION_TENTHS, _TEST_TENTHS = 1, 1
#: Stream of the counter-based random numbers that divides the operand pairs.
_SPLIT_STREAM = 0x5071
_PROMPT = re.compile(r"([1-9][0-9]*)\+([1-9][0-9]*)=")
_ANSWER = re.compile(r"0|[1-9][0-9]*")


class Sum(NamedTuple):
    """Two positive integers to add."""

    left: int
    right: int

    @property
    def prompt(self) -> str:
        """The prompt, `348+67=`."""
        return f"{self.left}+{self.right}="

    @property
    def solution(self) -> str:
        """What the demonstrator writes."""
        return demonstrate(self.prompt)

    @property
    def total(self) -> int:
        """The sum."""
        return self.left + self.right


class Step(NamedTuple):
    """One digit's addition, from the right: two digits and the carry."""

    left: int
    right: int
    carry: int

    @property
    def total(self) -> int:
        """The digits and the carry, 0 to 19."""
        return self.left + self.right + self.carry


def parse_prompt(prompt: str) -> Sum:
    """Reads a prompt.

    Args:
        prompt: `348+67=`.

    Raises:
        ValueError: If it is no such prompt.
    """
    match = _PROMPT.fullmatch(prompt)
    if match is None:
        raise ValueError(f"no sum of two positive integers: {prompt!r}; it reads like '348+67='")
    return Sum(int(match[1]), int(match[2]))


def digit_pairs(task: Sum) -> list[tuple[int, int]]:
    """Digits of both operands from the right, the shorter one filled up with zeros.

    Args:
        task: The sum.
    """
    width = max(len(str(task.left)), len(str(task.right)))
    left, right = str(task.left).zfill(width), str(task.right).zfill(width)
    return [(int(a), int(b)) for a, b in zip(reversed(left), reversed(right), strict=True)]


def written(step: Step, total: int) -> str:
    """One line of a solution; the carry is written where there is one.

    Args:
        step: What is added.
        total: What the author takes it to be.
    """
    carry = f"+{step.carry}" if step.carry else ""
    return f"{step.left}+{step.right}{carry}={total}\n"


def demonstrate(prompt: str) -> str:
    """The demonstrator: always every step, always right.

    Args:
        prompt: `348+67=`.

    Returns:
        The completion, without an end of sequence.
    """
    task = parse_prompt(prompt)
    lines, carry = ["\n"], 0
    for left, right in digit_pairs(task):
        step = Step(left, right, carry)
        lines.append(written(step, step.total))
        carry = step.total // 10
    return "".join(lines) + f"{MARKER}{task.total}"


def final_answer(completion: str) -> int | None:
    """The number behind the marker, where a completion ends as it should.

    The marker must occur once, on the last line, followed by a decimal number without leading
    zeros and by nothing else.

    Args:
        completion: What was written after the prompt, up to the end of sequence.

    Returns:
        The number, or None.
    """
    head, marker, answer = completion.partition(MARKER)
    if not marker or not (head == "" or head.endswith("\n")):
        return None
    return int(answer) if len(answer) < 20 and _ANSWER.fullmatch(answer) else None


def verify(prompt: str, completion: str) -> bool:
    """Whether a completion ends with the right answer.

    The steps are not read: whoever guesses right is right.

    Args:
        prompt: `348+67=`.
        completion: What was written after it, up to the end of sequence.

    Raises:
        ValueError: If the prompt is no sum.
    """
    return final_answer(completion) == parse_prompt(prompt).total


def split_of(task: Sum) -> str:
    """The split that a pair of operands belongs to, whatever their order.

    Args:
        task: The sum.
    """
    low, high = sorted(task)
    tenth = int(row_keys(np.array([low * 10**9 + high]), _SPLIT_STREAM)[0] % np.uint64(10))
    if tenth < _TEST_TENTHS:
        return "test"
    return "validation" if tenth < _TEST_TENTHS + _VALIDATION_TENTHS else "train"


def draw_sums(split: str, count: int, seed: int, *, digits: tuple[int, int] = DIGITS) -> list[Sum]:
    """Draws distinct sums of one split.

    The number of digits of each operand is drawn first, then the operand; so short operands are
    as frequent as long ones.

    Args:
        split: "train", "validation" or "test".
        count: How many.
        seed: Equal seeds draw equal sums; smaller draws are prefixes of larger ones.
        digits: Fewest and most digits of an operand.

    Raises:
        ValueError: If the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    generator = np.random.default_rng([seed, SPLITS.index(split), *digits])
    drawn: dict[tuple[int, ...], Sum] = {}
    while len(drawn) < count:
        lengths = generator.integers(digits[0], digits[1] + 1, size=2)
        left, right = (int(generator.integers(10 ** (n - 1), 10**n)) for n in lengths)
        task = Sum(left, right)
        if split_of(task) == split:
            drawn.setdefault(tuple(sorted(task)), task)
    return list(drawn.values())


def draw_longer(count: int, seed: int, *, digits: tuple[int, int] = LONGER_DIGITS) -> list[Sum]:
    """Draws the held-out longer sums, of the test split.

    Args:
        count: How many.
        seed: Equal seeds draw equal sums.
        digits: Fewest and most digits of an operand.
    """
    return draw_sums("test", count, seed, digits=digits)
