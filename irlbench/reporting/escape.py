"""Text from records, put in order and made harmless for Markdown, CSV and a terminal.

A record may come from anybody. What HTML and SVG need is in `markup`.
"""

from __future__ import annotations

import re

# C0 and C1 controls (terminal escapes among them), lone surrogates, non-characters, and the
# marks that reorder the text after them.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
# A bracket alone is text; what follows would make it a link, an image or a definition.
_MARKDOWN = re.compile(r"([\\`*|]|\](?=[(\[:]))")
#: Characters of a name that a table shows.
LONGEST = 80
_ENTITY = re.compile(r"&(?=#|\w+;)")
_LONELY_UNDERSCORE = re.compile(r"(?<!\w)_|_(?!\w)")


def visible(value: object) -> str:
    """Text in which each control character shows as the replacement character.

    Args:
        value: Anything; its `str` is taken.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def clean(value: object) -> str:
    """Visible text on one line, with single spaces."""
    return visible(" ".join(str(value).split()))


def shorten(value: object, length: int) -> str:
    """Cleaned text of at most `length` characters, an ellipsis where something was cut."""
    text = clean(value)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def markdown(value: object) -> str:
    """Cleaned text that Markdown shows as it is, inside a table as well."""
    text = _MARKDOWN.sub(r"\\\1", clean(value))
    text = _LONELY_UNDERSCORE.sub(r"\\_", text)
    return _ENTITY.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")


def csv_text(value: object) -> str:
    """Cleaned text that no spreadsheet takes for a formula.

    A leading `=`, `+`, `-` or `@` gets an apostrophe in front. Numbers are no text: write them as
    they are.
    """
    text = clean(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that puts `v2` before `v10`."""
    # Digits are compared as text of a length: int() refuses numbers of thousands of digits.
    parts = [
        (part.lstrip("0"), True) if part.isdecimal() else (part, False)
        for part in re.split(r"(\d+)", text)
    ]
    return [(len(part) if digits else -1, part) for part, digits in parts]
