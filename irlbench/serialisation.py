"""Arrays and JSON on disk: how policies, rewards and checkpoints are written. No pickle."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError

FORMAT = 1
_MAX_JSON_BYTES = 16 * 2**20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text.

    Raises:
        ValueError: If the value holds NaN or an infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: If it is missing, larger than 16 MiB, or no JSON.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise DataError("larger than 16 MiB", file=path.name)
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path.name) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", file=path.name) from error


def write_text_atomic(path: Path, text: str) -> None:
    """Writes a file beside its place, then renames it there: whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def save_arrays(
    folder: Path,
    name: str,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
) -> None:
    """Writes `<name>.safetensors` and `<name>.json`; each file whole or not at all."""
    from safetensors.numpy import save

    path = folder / f"{name}.safetensors"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(save({key: np.ascontiguousarray(a) for key, a in arrays.items()}))
    beside.replace(path)
    described = {"format": FORMAT, "kind": kind, "settings": dict(settings)}
    write_text_atomic(folder / f"{name}.json", json.dumps(described, indent=1, sort_keys=True))


def load_arrays(
    folder: Path, name: str, kinds: Iterable[str]
) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    """Reads what `save_arrays` wrote.

    Args:
        folder: Where the two files are.
        name: Their common stem.
        kinds: The kinds that are accepted.

    Returns:
        Kind, arrays and settings.

    Raises:
        DataError: If a file is missing, damaged, of a newer format or of an unknown kind.
    """
    described = read_json(folder / f"{name}.json")
    if not isinstance(described, dict) or not isinstance(described.get("settings"), dict):
        raise DataError("holds no settings", file=f"{name}.json")
    if described.get("format") != FORMAT:
        raise DataError(
            f"format {described.get('format')!r}; this version reads format {FORMAT}",
            file=f"{name}.json",
        )
    kind = described.get("kind")
    if kind not in tuple(kinds):
        raise DataError(f"unknown kind {kind!r}; known: {sorted(kinds)}", file=f"{name}.json")
    return str(kind), read_safetensors(folder / f"{name}.safetensors"), described["settings"]


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Reads a safetensors file into NumPy arrays.

    Raises:
        DataError: If it is missing, or is something else (a pickle, say).
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=path.name) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"is no safetensors file ({error}); other formats, pickles above all, are refused",
            file=path.name,
        ) from error


def load_named_class(place: str) -> Any:
    """Imports `package.module:Name`. Only for the closed tables of this package."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
