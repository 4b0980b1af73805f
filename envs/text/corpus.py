"""What the tiny model is pretrained on: sums by several authors, and a little other text.

An ordinary base model knows how a task is done and does not always do it, because the people
whose writing it has read did not. So the sums are written by authors of different care, drawn
per document and named nowhere. Only pairs of operands of the train split occur; some are of four
digits, which no demonstration and no test prompt has, only the held-out longer sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from irlbench.envs.text.arithmetic import (
    MARKER,
    Step,
    Sum,
    demonstrate,
    digit_pairs,
    split_of,
    written,
)
from irlbench.envs.text.tokenizer import BOS, EOS, ByteTokenizer

#: Raised whenever the same seed gives other text.
VERSION = 1
#: Probability that the hasty author forgets a carry, and that it miscounts a line by one.
FORGETS_CARRY, MISCOUNTS = 0.5, 0.1


def careful(task: Sum, generator: Generator) -> str:
    """Writes every step, all of them right; writes what the demonstrator writes."""
    return demonstrate(task.prompt)


def hasty(task: Sum, generator: Generator) -> str:
    """Writes every step, but forgets carries and miscounts; the answer follows the slips."""
    lines, carry, answer = ["\n"], 0, ""
    for left, right in digit_pairs(task):
        if carry and generator.random() < FORGETS_CARRY:
            carry = 0
        step = Step(left, right, carry)
        total = step.total
        if generator.random() < MISCOUNTS:
            total = max(total + int(generator.choice([-1, 1])), 0)
        lines.append(written(step, total))
        carry, answer = total // 10, f"{total % 10}{answer}"
    answer = f"{carry or ''}{answer}".lstrip("0") or "0"
    return "".join(lines) + f"{MARKER}{answer}"


def direct(task: Sum, generator: Generator) -> str:
    """Writes the answer at once; one digit of it is wrong more often than not."""
    answer = str(task.total)
    if generator.random() < 0.6:
        place = int(generator.integers(len(answer)))
        digit = (int(answer[place]) + int(generator.integers(1, 10))) % 10
        answer = str(int(answer[:place] + str(digit) + answer[place + 1 :]))
    return f"\n{MARKER}{answer}"


def vague(task: Sum, generator: Generator) -> str:
    """Rounds, and leaves it there."""
    unit = 10 if task.total < 200 else 100
    return f" about {round(task.total / unit) * unit}."


#: Authors and how much each of them writes.
AUTHORS: dict[Callable[[Sum, Generator], str], float] = {
    careful: 0.22,
    hasty: 0.5,
    direct: 0.13,
    vague: 0.15,
}
#: Digits of an operand, and how often it has so many.
OPERAND_DIGITS = {2: 0.3, 3: 0.45, 4: 0.25}
#: Share of documents that are no sums.
OTHER_TEXT = 0.04


def describe() -> dict[str, Any]:
    """What determines the corpus, as JSON values for a recipe."""
    return {
        "version": VERSION,
        "authors": {author.__name__: share for author, share in AUTHORS.items()},
        "forgets_carry": FORGETS_CARRY,
        "miscounts": MISCOUNTS,
        "operand_digits": {str(n): share for n, share in OPERAND_DIGITS.items()},
        "other_text": OTHER_TEXT,
    }


_PEOPLE = "Ada Bela Chidi Dana Emil Farah Goro Hana Ivo Jun Kemi Lena Mira Noor Omar Pia".split()
_THINGS = "apples books coins cards eggs keys lamps maps pens shells stamps stones".split()
_VERBS = "has|finds|buys|sells|keeps|counts|gives away|borrows|paints".split("|")
_PLACES = "at home|in the garden|by the river|at school|on the train|in the shop".split("|")
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
#: First and last code point of the scripts that random words are drawn from.
_SCRIPTS = (
    (0x00C0, 0x024F),
    (0x0391, 0x03C9),
    (0x0410, 0x044F),
    (0x05D0, 0x05EA),
    (0x0905, 0x0939),
    (0x3041, 0x3096),
    (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3),
    (0x1F600, 0x1F64F),
)


def sentences(generator: Generator) -> str:
    """A few plain sentences from templates."""

    def pick(words: list[str]) -> str:
        return words[int(generator.integers(len(words)))]

    lines = []
    for _ in range(int(generator.integers(1, 4))):
        number = int(generator.integers(2, 60))
        lines.append(
            f"On {pick(_DAYS)} {pick(_PEOPLE)} {pick(_VERBS)} {number} {pick(_THINGS)} "
            f"{pick(_PLACES)}."
        )
    if generator.random() < 0.3:
        lines.append(f"How many {pick(_THINGS)} does {pick(_PEOPLE)} have?")
    return " ".join(lines)


def foreign_words(generator: Generator) -> str:
    """Random words of one script, so that the bytes of many scripts are met."""
    low, high = _SCRIPTS[int(generator.integers(len(_SCRIPTS)))]
    words = []
    for _ in range(int(generator.integers(2, 8))):
        points = generator.integers(low, high + 1, size=int(generator.integers(2, 7)))
        words.append("".join(map(chr, points)))
    return " ".join(words)


def training_sum(generator: Generator) -> Sum:
    """A sum of the train split, its numbers of digits drawn first."""
    while True:
        lengths = generator.choice(list(OPERAND_DIGITS), size=2, p=list(OPERAND_DIGITS.values()))
        left, right = (int(generator.integers(10 ** (n - 1), 10**n)) for n in lengths)
        if split_of(Sum(left, right)) == "train":
            return Sum(left, right)


def documents(seed: int) -> Iterator[NDArray[np.int32]]:
    """Endless documents: beginning of sequence, text, end of sequence.

    Args:
        seed: Equal seeds give equal corpora.

    Yields:
        int32 `[length]`.
    """
    generator = np.random.default_rng([seed, 0xC0])
    tokenizer = ByteTokenizer()
    authors, shares = list(AUTHORS), np.cumsum(list(AUTHORS.values()))
    ends = np.array([EOS], dtype=np.int32)
    while True:
        if generator.random() < OTHER_TEXT:
            text = sentences(generator) if generator.random() < 0.7 else foreign_words(generator)
            ids = tokenizer.encode(text)
            if generator.random() < 0.1:
                ids = generator.integers(0, 256, size=24, dtype=np.int32)
        else:
            task = training_sum(generator)
            author = authors[int(np.searchsorted(shares, generator.random() * shares[-1]))]
            ids = tokenizer.encode(task.prompt + author(task, generator))
        yield np.concatenate([np.array([BOS], dtype=np.int32), ids, ends])


def packed_rows(seed: int, rows: int, length: int) -> Iterator[NDArray[np.int32]]:
    """Endless batches of documents written one after the other, without padding.

    A row goes on where the one before ended, in the middle of a document too.

    Args:
        seed: Equal seeds give equal batches.
        rows: Rows per batch.
        length: Tokens per row.

    Yields:
        int32 `[rows, length]`.
    """
    source = documents(seed)
    rest = np.zeros(0, dtype=np.int32)
    while True:
        parts, have = [rest], len(rest)
        while have < rows * length:
            parts.append(next(source))
            have += len(parts[-1])
        tokens = np.concatenate(parts)
        yield tokens[: rows * length].reshape(rows, length)
        rest = tokens[rows * length :]
