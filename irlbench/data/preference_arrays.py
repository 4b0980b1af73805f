"""Preferences as flat arrays, ragged segments one after the other; and back, trusting nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.data.preferences import Preference, Preferences
from irlbench.errors import DataError
from irlbench.serialisation import require_finite

Arrays = dict[str, NDArray[Any]]

#: Of comparisons: number of items, weight, place in the list of annotators. Of items: rank, length.
_FRAME: Mapping[str, type[np.generic]] = {
    "sizes": np.int64,
    "weights": np.float64,
    "annotators": np.int64,
    "ranks": np.int64,
    "lengths": np.int64,
}
_FLAGS = ("terminations", "truncations")
#: Of token episodes: what has one value per token, and what has one per item.
_TOKENS: Mapping[str, type[np.generic]] = {"tokens": np.int32, "action_mask": np.bool_}
_OF_ITEMS: Mapping[str, type[np.generic]] = {
    "prompt_lengths": np.int64,
    "finish_reasons": np.uint8,
}
_REASONS = ("stop", "length")


def pack(preferences: Preferences) -> tuple[Arrays, list[str]]:
    """Arrays of comparisons, and the annotators' names.

    Args:
        preferences: At least one.

    Returns:
        "sizes", "weights" and "annotators" `[comparisons]`; "ranks" and "lengths" `[items]`. Of
        episodes "observations" `[sum of lengths + 1, ...]`, "actions" (where there are any) and
        flags `[sum of lengths, ...]`; of token episodes "tokens" and "action_mask" `[sum of
        lengths]`, "prompt_lengths" and "finish_reasons" `[items]`. And the names.

    Raises:
        DataError: If there are none, an item has no steps, or their arrays are not alike.
    """
    if not len(preferences):
        raise DataError("no preferences to store")
    names = sorted({comparison.annotator for comparison in preferences})
    items = [item for comparison in preferences for item in comparison.items]
    first = items[0]
    arrays: Arrays = {
        "sizes": np.array([len(comparison.items) for comparison in preferences]),
        "weights": np.array([comparison.weight for comparison in preferences], dtype=np.float64),
        "annotators": np.array([names.index(comparison.annotator) for comparison in preferences]),
        "ranks": np.array([rank for comparison in preferences for rank in comparison.ranks]),
    }
    if isinstance(first, TokenEpisode):
        tokens = [item for item in items if isinstance(item, TokenEpisode)]
        arrays["lengths"] = np.array([len(item.tokens) for item in tokens])
        arrays["prompt_lengths"] = np.array([item.prompt_length for item in tokens])
        arrays["finish_reasons"] = np.array(
            [_reason(item.finish_reason, row) for row, item in enumerate(tokens)], dtype=np.uint8
        )
        flat: dict[str, Sequence[Any]] = dict.fromkeys(_TOKENS, tokens)
    else:
        arrays["lengths"] = np.array([len(item) for item in items])
        if not arrays["lengths"].all():
            row = int(arrays["lengths"].argmin())
            raise DataError("an item has at least one step", field="items", row=row)
        wanted = ["observations", "actions", *_FLAGS]
        if first.actions is None:
            wanted.remove("actions")
        flat = dict.fromkeys(wanted, items)
    for name, holders in flat.items():
        arrays[name] = _joined([getattr(item, name) for item in holders], name)
    return arrays, names


def unpack(arrays: Arrays, names: Sequence[str], *, file: str) -> Preferences:
    """Comparisons of what `pack` gave.

    Args:
        arrays: As read from anywhere.
        names: Of the annotators.
        file: What messages call it.

    Raises:
        DataError: If an array is missing, unknown, of another type or shape, does not fit the
            others, or holds what cannot be: with field, and row where there is one.
    """
    tokens = "tokens" in arrays
    _require_names(arrays, tokens, file)
    for name, dtype in _FRAME.items():
        _require(arrays[name], name, dtype, 1, file)
    sizes, ranks, lengths = arrays["sizes"], arrays["ranks"], arrays["lengths"]
    _require_between(sizes, "sizes", 2, len(ranks), file)
    _require_rows(ranks, "ranks", int(sizes.sum()), file)
    _require_rows(lengths, "lengths", int(sizes.sum()), file)
    for name in ("weights", "annotators"):
        _require_rows(arrays[name], name, len(sizes), file)
    _require_between(arrays["annotators"], "annotators", 0, len(names) - 1, file)
    items = _token_episodes(arrays, file) if tokens else _episodes(arrays, file)
    lasts = np.cumsum(sizes).tolist()
    flat, weights = ranks.tolist(), arrays["weights"].tolist()
    comparisons = []
    for row, (size, last) in enumerate(zip(sizes.tolist(), lasts, strict=True)):
        mine = slice(last - size, last)
        try:
            comparisons.append(
                Preference(
                    tuple(items[mine]),
                    tuple(flat[mine]),
                    names[int(arrays["annotators"][row])],
                    weights[row],
                )
            )
        except DataError as error:
            raise DataError(str(error), file=file, row=row) from error
    return Preferences(tuple(comparisons))


def _episodes(arrays: Arrays, file: str) -> Sequence[Episode]:
    lengths, observations = arrays["lengths"], arrays["observations"]
    for name in _FLAGS:
        _require(arrays[name], name, np.bool_, 1, file)
    _require_between(lengths, "lengths", 1, len(arrays["terminations"]), file)
    steps, ends = int(lengths.sum()), np.cumsum(lengths)
    stepwise = {name: arrays[name] for name in ("actions", *_FLAGS) if name in arrays}
    _require_rows(observations, "observations", steps + len(lengths), file)
    for name, array in stepwise.items():
        _require_rows(array, name, steps, file)
    for name in ("observations", "actions"):
        if name in arrays and (arrays[name].dtype.kind not in "biuf" or not arrays[name].ndim):
            raise DataError(
                f"holds {arrays[name].dtype}: numbers are needed", file=file, field=name
            )
    require_finite({name: arrays[name] for name in ("observations", *stepwise)}, file)
    for name in _FLAGS:
        early = arrays[name].copy()
        early[ends - 1] = False
        if early.any():
            item = int(np.searchsorted(ends, int(early.argmax()), side="right"))
            raise DataError("a segment goes on after an end", file=file, field=name, row=item)
    shares = {name: np.split(array, ends[:-1]) for name, array in stepwise.items()}
    seen = np.split(observations, (ends + np.arange(1, len(ends) + 1))[:-1])
    return [
        Episode(
            seen[i],
            shares["actions"][i] if "actions" in shares else None,
            shares["terminations"][i],
            shares["truncations"][i],
        )
        for i in range(len(lengths))
    ]


def _token_episodes(arrays: Arrays, file: str) -> Sequence[TokenEpisode]:
    lengths = arrays["lengths"]
    for name, dtype in {**_TOKENS, **_OF_ITEMS}.items():
        _require(arrays[name], name, dtype, 1, file)
    _require_between(lengths, "lengths", 2, len(arrays["tokens"]), file)
    for name in _TOKENS:
        _require_rows(arrays[name], name, int(lengths.sum()), file)
    for name in _OF_ITEMS:
        _require_rows(arrays[name], name, len(lengths), file)
    _require_between(arrays["tokens"], "tokens", 0, np.iinfo(np.int32).max, file)
    _require_between(arrays["finish_reasons"], "finish_reasons", 0, len(_REASONS) - 1, file)
    places = np.cumsum(lengths)[:-1]
    shares = {name: np.split(arrays[name], places) for name in _TOKENS}
    items = []
    for row in range(len(lengths)):
        try:
            items.append(
                TokenEpisode(
                    shares["tokens"][row],
                    int(arrays["prompt_lengths"][row]),
                    shares["action_mask"][row],
                    _REASONS[arrays["finish_reasons"][row]],
                )
            )
        except DataError as error:
            raise DataError(str(error), file=file, row=row) from error
    return items


def _reason(reason: str, row: int) -> int:
    if reason not in _REASONS:
        raise DataError(f"is {reason!r}, not one of {_REASONS}", field="finish_reason", row=row)
    return _REASONS.index(reason)


def _joined(arrays: Sequence[NDArray[Any] | None], name: str) -> NDArray[Any]:
    """Arrays one after the other, all of one type and shape but for their lengths."""
    first = np.asarray(arrays[0])
    found = []
    for row, array in enumerate(arrays):
        if array is None:
            raise DataError("some items have actions and this one has none", field=name, row=row)
        if (array.dtype, array.shape[1:]) != (first.dtype, first.shape[1:]):
            raise DataError(
                f"{array.dtype} of shape {array.shape} beside {first.dtype} of shape {first.shape}",
                field=name,
                row=row,
            )
        found.append(array)
    return np.concatenate(found)


def _require_names(arrays: Arrays, tokens: bool, file: str) -> None:
    if tokens:
        wanted = {*_FRAME, *_TOKENS, *_OF_ITEMS}
    else:
        wanted = {*_FRAME, *_FLAGS, "observations"} | ({"actions"} & arrays.keys())
    for name in sorted(wanted ^ arrays.keys()):
        told = "is missing" if name in wanted else "is no part of preferences"
        raise DataError(told, file=file, field=name[:80])


def _require(array: NDArray[Any], name: str, dtype: type[np.generic], axes: int, file: str) -> None:
    if array.dtype != dtype or array.ndim != axes:
        raise DataError(
            f"is {array.dtype} of shape {array.shape}; wanted is {np.dtype(dtype)} of {axes} axis",
            file=file,
            field=name,
        )


def _require_rows(array: NDArray[Any], name: str, rows: int, file: str) -> None:
    if not array.ndim or len(array) != rows:
        found = len(array) if array.ndim else 0
        raise DataError(f"holds {found} rows where {rows} belong", file=file, field=name)


def _require_between(array: NDArray[Any], name: str, low: int, high: int, file: str) -> None:
    """Refuses values out of range, before anything is summed that could overflow."""
    if not len(array):
        raise DataError("holds nothing", file=file, field=name)
    wrong = (array < low) | (array > high)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"is {array[row]}, not in {low} to {high}", file=file, field=name, row=row)
