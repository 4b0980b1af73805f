"""GSM8K's grade-school problems (Cobbe et al., 2021): reading the files, and the verifier.

A line of `train.jsonl` or `test.jsonl` is `{"question": ..., "answer": ...}`; an answer ends in
`#### N`. A prompt is the question and a line break; a completion is what follows.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from irlbench.errors import DataError, UsageError
from irlbench.serialisation import open_plain

FILES = ("train.jsonl", "test.jsonl")
MARKER = "#### "
_FIELDS = ("question", "answer")
_NUMBER = re.compile(r"-?[0-9][0-9,]*(\.[0-9]+)?")
_MAX_LINE = 2**20
#: Most bytes of a file; the training file has 4.2 million.
_MAX_FILE = 2**28


class WordProblem(NamedTuple):
    """One problem with its worked answer."""

    question: str
    answer: str

    @property
    def prompt(self) -> str:
        """What a policy is given."""
        return f"{self.question}\n"

    @property
    def solution(self) -> str:
        """The recorded answer."""
        return self.answer


def final_number(text: str) -> str | None:
    """The number behind the last marker, without thousands separators, where there is one.

    Args:
        text: An answer or a completion.

    Returns:
        Canonical digits, or None.
    """
    _, marker, tail = text.rpartition(MARKER)
    number = tail.strip().removesuffix(".").removeprefix("$")
    if not marker or not _NUMBER.fullmatch(number):
        return None
    whole, _, fraction = number.replace(",", "").partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    fraction = fraction.rstrip("0")
    value = (digits.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return value if value == "0" else sign + value


def verify(answer: str, completion: str) -> bool:
    """Whether a completion ends in the number that the answer ends in.

    Args:
        answer: The worked answer of the data set.
        completion: What was written after the prompt.
    """
    found = final_number(completion)
    return found is not None and found == final_number(answer)


def read_problems(path: Path) -> list[WordProblem]:
    """Reads one of the two files.

    Args:
        path: A JSON Lines file.

    Raises:
        DataError: If it is missing or too large, or a line is not as it should be; names file,
            field and row (rows count from 1, as editors do).
    """
    problems = []
    try:
        with open_plain(path) as stream:
            if os.fstat(stream.fileno()).st_size > _MAX_FILE:
                raise DataError(f"has more than {_MAX_FILE:,} bytes", file=path.name)
            row = 0
            while line := stream.readline(_MAX_LINE + 1):
                row += 1
                if len(line) > _MAX_LINE:
                    raise DataError("a line of more than 1 MiB", file=path.name, row=row)
                if line.strip():
                    problems.append(_problem(line, path.name, row))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
    if not problems:
        raise DataError("holds no problems", file=path.name)
    return problems


def _problem(line: bytes, file: str, row: int) -> WordProblem:
    try:
        found = json.loads(line.decode("utf-8-sig" if row == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8: {error.reason}", file=file, row=row) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", file=file, row=row) from error
    if not isinstance(found, dict):
        raise DataError(
            f"is no object but a {type(found).__name__}; expected the fields question and answer",
            file=file,
            row=row,
        )
    for field in _FIELDS:
        value = found.get(field)
        if not isinstance(value, str) or not value.strip():
            shown = "is missing" if field not in found else f"is {_told(value)}"
            raise DataError(f"{shown}; expected text", file=file, field=field, row=row)
    problem = WordProblem(found["question"], found["answer"])
    if final_number(problem.answer) is None:
        raise DataError(
            f"ends in {problem.answer[-30:]!r}; expected a line '{MARKER}N' at the end",
            file=file,
            field="answer",
            row=row,
        )
    return problem


def _told(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(str(value)[:40])


def data_folder(data: str | Path | None) -> Path:
    """The folder that `--data` names.

    Args:
        data: What the user gave.

    Raises:
        UsageError: If nothing was given, or it is no folder.
        DataError: If one of the two files is not there.
    """
    if data is None:
        raise UsageError(
            "GSM8K is not shipped: --data must name a folder that holds train.jsonl and "
            'test.jsonl (fields question and answer); from Python: data="FOLDER"'
        )
    folder = Path(data)
    try:
        is_file, is_folder = folder.is_file(), folder.is_dir()
    except (OSError, ValueError) as error:  # longer than a path can be
        raise UsageError(f"--data {str(data)[:200]}: cannot be a folder ({error})") from error
    if is_file:
        raise UsageError(
            f"--data {data}: is a file; a folder is needed that holds {' and '.join(FILES)}"
        )
    if not is_folder:
        raise UsageError(f"--data {data}: no such folder; it must hold {' and '.join(FILES)}")
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"is not in the folder that --data names ({folder.name})", file=name)
    return folder
