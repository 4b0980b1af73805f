"""What a model's folder must be before a library opens anything in it.

A folder comes from anywhere. `transformers` runs no code from it as we call it, but a
configuration can still name other files, inside the folder or outside, and attention from the
hub, which is code. Those are refused here, by reading text; what takes reading by a library is
examined apart (`irlbench.envs.text.examination`).
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irlbench.errors import DataError
from irlbench.serialisation import open_plain

#: Most bytes of a file that is read whole: configuration, vocabulary, templates. The largest
#: tokenizers of published models have about 35 MiB.
_MOST = 64 * 2**20
_READ_WHOLE = frozenset({".json", ".txt", ".model", ".jinja"})
#: The only folder within a model's that is looked into.
_TEMPLATES = "additional_chat_templates"
#: Keys of `config.json` by which other weights or another configuration would be read, or the
#: model changed.
_REFUSED = ("transformers_weights", "configuration_files", "quantization_config", "fusion_config")
_IMPLEMENTATION = re.compile(r"_?(attn|experts)_implementation(_internal)?")
_IMPLEMENTATIONS = (None, "eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
#: Keys of `tokenizer_config.json` by which another file would be read.
_REFUSED_OF_TOKENIZERS = ("fast_tokenizer_files", "gguf_file", "tokenizer_object")
#: Files of this name make `transformers` read them in place of the weights.
_RANK_LOCAL = re.compile(r"shard-[0-9]{5}-model-[0-9]{5}-of-[0-9]{5}\.safetensors")


def require_harmless(folder: Path) -> dict[str, Any]:
    """Refuses a folder that could make a reader wait, or read what is not in it.

    Args:
        folder: Of a model.

    Returns:
        What `config.json` holds.

    Raises:
        DataError: If it holds anything but files of bearable size, or no configuration, or its
            configuration names other files or code. Names the file.
    """
    name, config = folder.name, folder / "config.json"
    _require_plain(folder)
    if not config.is_file():
        raise DataError(
            "holds no config.json, so no model as transformers writes it, in safetensors; "
            "--model names a folder, or owner/name@revision on the hub",
            file=name,
        )
    if (folder / "adapter_config.json").exists():
        raise DataError(
            "is an adapter, which would read another model: merge it into its model, and save that",
            file=f"{name}/adapter_config.json",
        )
    described = read_object(config)
    _require_own_weights(described, f"{name}/config.json")
    if (folder / "tokenizer_config.json").exists():
        _require_own_files(folder, read_object(folder / "tokenizer_config.json"))
    return described


def _require_plain(folder: Path) -> None:
    inside = [folder, folder / _TEMPLATES] if (folder / _TEMPLATES).is_dir() else [folder]
    try:
        entries = sorted((entry for place in inside for entry in place.iterdir()), key=str)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=folder.name) from error
    for entry in entries:
        file = f"{folder.name}/{entry.relative_to(folder).as_posix()}"
        try:
            found = entry.stat()
        except OSError:
            continue  # a link to nowhere is as good as no file
        if stat.S_ISDIR(found.st_mode):
            continue
        if not stat.S_ISREG(found.st_mode):
            raise DataError("is no plain file: a model's folder holds nothing else", file=file)
        if entry.suffix in _READ_WHOLE and found.st_size > _MOST:
            raise DataError(f"has {found.st_size:,} bytes; at most {_MOST:,} are read", file=file)
        if _RANK_LOCAL.fullmatch(entry.name):
            raise DataError(
                "is a part of a distributed checkpoint, which would be read in place of the "
                "weights: save the whole model",
                file=file,
            )


def _require_own_weights(described: dict[str, Any], file: str) -> None:
    for key, value in _items(described):
        if key in _REFUSED and value is not None:
            raise DataError(
                "asks for other weights than those beside it, or changes them: save the model "
                "without it",
                file=file,
                field=key,
            )
        if _IMPLEMENTATION.fullmatch(key) and value not in _IMPLEMENTATIONS:
            raise DataError(
                f"is {_told(value)}, which may be code from the hub: take it out; how attention "
                "is computed is chosen when the model is loaded",
                file=file,
                field=key,
            )


def _require_own_files(folder: Path, described: dict[str, Any]) -> None:
    file = f"{folder.name}/tokenizer_config.json"
    for key in _REFUSED_OF_TOKENIZERS:
        if described.get(key) is not None:
            raise DataError("names another file to read: take it out", file=file, field=key)
    inside = os.path.abspath(folder)  # noqa: PTH100 - links stay as they are, as in the hub's cache
    for key, value in described.items():
        if not key.endswith("_file") or not isinstance(value, str):
            continue
        # What is not there is read by nobody: many published files keep paths of their makers.
        place = os.path.abspath(os.path.join(inside, value))  # noqa: PTH100, PTH118
        if os.path.commonpath([inside, place]) != inside and _exists(place):
            raise DataError(
                f"is {_told(value)}, which is not in the model's folder: take it out",
                file=file,
                field=key,
            )


def _exists(place: str) -> bool:
    try:
        return os.path.lexists(place)
    except ValueError:  # a null byte
        return False


def _items(value: Any) -> list[tuple[str, Any]]:
    """Keys and values of objects within each other, without recursion."""
    found: list[tuple[str, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.extend(one.items())
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)
    return found


def _told(value: Any) -> str:
    shown = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder, as `transformers` would read it.

    Infinity is allowed: some published configurations hold it.

    Raises:
        DataError: If it cannot be read, is larger than 64 MiB, or is no object.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        with open_plain(path) as stream:
            content = stream.read(_MOST + 1)
        if len(content) > _MOST:
            raise DataError(f"more than {_MOST:,} bytes", file=file)
        found = json.loads(content.decode())
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=file) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON: {error}", file=file) from error
    if not isinstance(found, dict):
        raise DataError(f"is no object but a {type(found).__name__}", file=file)
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files that `transformers` reads weights from, in its order of preference.

    Raises:
        DataError: If there are none, or the index names anything but safetensors beside it.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise DataError(
            "holds no model.safetensors: weights are read from safetensors only; other formats, "
            "pickles above all (pytorch_model.bin), are refused",
            file=folder.name,
        )
    file = f"{folder.name}/{index.name}"
    try:
        shards = read_object(index).get("weight_map")
    except DataError as error:
        raise DataError(f"{error}: holds no weight_map") from error
    if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
        raise DataError("holds no weight_map", file=file)
    if not shards:
        raise DataError("names no weights", file=file)
    for shard in sorted(set(shards.values())):
        if Path(shard).name != shard or "\\" in shard or "\0" in shard:
            raise DataError(f"names {_told(shard)}; weights lie beside it", file=file)
        if not shard.endswith(".safetensors"):
            raise DataError(
                f"names {_told(shard)}; weights are read from safetensors only", file=file
            )
    return [folder / shard for shard in sorted(set(shards.values()))]


def require_finite(place: Path) -> None:
    """Refuses a file of weights that is damaged, or holds NaN or an infinity.

    Raises:
        DataError: Names the file, and the first of the weights.
    """
    from safetensors import safe_open

    file = f"{place.parent.name}/{place.name}"
    try:
        open_plain(place).close()
        # By PyTorch, as NumPy has no bfloat16; the file is mapped, one tensor is read at a time.
        with safe_open(place, framework="pt") as weights:
            spoilt = [name for name in weights.keys() if not _finite(weights.get_tensor(name))]  # noqa: SIM118
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=file) from error
    except DataError as error:
        raise DataError(str(error), file=place.parent.name) from error
    except Exception as error:  # its parser's, and PyTorch's where the header lies
        first = str(error).strip().split("\n", 1)[0][:200]
        raise DataError(
            f"is no safetensors file ({first}); other formats, pickles above all, are refused",
            file=file,
        ) from error
    if spoilt:
        names = ", ".join(_told(name)[1:-1] for name in sorted(spoilt)[:3])
        raise DataError(f"holds NaN or an infinity in {len(spoilt)} weights: {names}", file=file)


def _finite(tensor: Any) -> bool:
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    # NaN goes through minimum and maximum; a mask would take more memory than the tensor.
    low, high = (tensor.float() if tensor.element_size() == 1 else tensor).aminmax()
    return bool(low.isfinite() and high.isfinite())


def shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by name, from the headers of their files.

    Args:
        files: As `require_finite` has found them sound.
    """
    from safetensors import safe_open

    found = {}
    for place in files:
        with safe_open(place, framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118
                found[name] = tuple(weights.get_slice(name).get_shape())
    return found


@contextmanager
def refused(folder: Path, what: str) -> Iterator[None]:
    """Takes whatever a library raises for a refusal of what it read.

    The parsers of `tokenizers` are written in Rust: where they give up, they raise what is no
    `Exception`, so that an ordinary `except` does not see it.

    Args:
        folder: Of the model that was read.
        what: Begins the message.

    Raises:
        DataError: With the first of what was said, in one line.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, DataError):
        raise
    except BaseException as error:
        lines = [line.strip() for line in str(error).strip().split("\n")]
        said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        said = said.replace(str(folder), folder.name)
        said = said if len(said) <= 300 else f"{said[:300]}..."
        raise DataError(f"{what}: {said or type(error).__name__}", file=folder.name) from error
