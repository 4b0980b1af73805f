"""Which language model a text task starts from: the tiny one that ships, or the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.envs.text.token_mdp import Tokenizer
from irlbench.envs.text.tokenizer import ByteTokenizer
from irlbench.errors import DataError, UsageError
from irlbench.policies.causal_lm import CausalLMPolicy, quiet_transformers
from irlbench.serialisation import sha256_file, sha256_json

SHIPPED = Path(__file__).parent / "assets" / "tiny-llama"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
#: What the loaders of model and tokenizer can read, and so what a model's hash covers.
_READ = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
)


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model and its tokenizer, in a folder.

    Attributes:
        folder: Holds `config.json`, safetensors and the tokenizer's files.
        revision: The hub's commit, where it came from there.
    """

    folder: Path
    revision: str | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 over every file of configuration, weights and tokenizer that is read."""
        if (
            not any(self.folder.glob("*.safetensors"))
            or not (self.folder / "config.json").is_file()
        ):
            raise DataError(
                "holds no config.json with safetensors beside it; other formats are refused. "
                "--model names a folder as transformers writes it",
                file=self.folder.name,
            )
        read = {place for pattern in _READ for place in self.folder.glob(pattern)}
        return sha256_json({p.name: sha256_file(p) for p in read if p.is_file()})

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Reads and writes the model's ids."""
        return ByteTokenizer() if self.folder == SHIPPED else TransformersTokenizer(self.folder)

    def require_sound(self) -> None:
        """Reads configuration, weights and tokenizer once, before anything is built on them.

        Raises:
            DataError: If a file is missing, damaged or no safetensors, a weight is not finite,
                or the tokenizer writes ids that the model does not know. Names the file.
        """
        from irlbench.serialisation import read_json

        name, config = self.folder.name, self.folder / "config.json"
        if not config.is_file():
            raise DataError(
                "holds no config.json, so no model as transformers writes it, in safetensors; "
                "--model names a folder, or owner/name@revision on the hub",
                file=name,
            )
        described = read_json(config)
        if not isinstance(described, dict):
            raise DataError(
                f"is no object but a {type(described).__name__}", file=f"{name}/config.json"
            )
        for place in _weight_files(self.folder):
            _require_finite(place)
        if self.folder == SHIPPED:
            return
        vocabulary = described.get("vocab_size")
        highest = TransformersTokenizer(self.folder).highest_id
        if isinstance(vocabulary, int) and highest >= vocabulary:
            raise DataError(
                f"is {vocabulary}, but the tokenizer beside it writes ids up to {highest}: "
                "model and tokenizer do not belong together",
                file=f"{name}/config.json",
                field="vocab_size",
            )

    def policy(self, device: str = "cpu") -> CausalLMPolicy:
        """The model as a policy, loaded anew at every call.

        Args:
            device: "cpu" or "cuda".
        """
        return CausalLMPolicy.from_folder(str(self.folder), device)

    def require_context(self, tokens: int) -> None:
        """Refuses a model that cannot read a task's longest episode.

        Args:
            tokens: Longest prompt and horizon.

        Raises:
            UsageError: With both figures.
        """
        from irlbench.serialisation import read_json

        limit = read_json(self.folder / "config.json").get("max_position_embeddings")
        if isinstance(limit, int) and tokens > limit:
            raise UsageError(
                f"the model {self.folder.name} reads {limit} tokens, but prompt and horizon need "
                f"{tokens}: choose one with a longer context (--model)"
            )


class TransformersTokenizer:
    """Any tokenizer that `transformers` reads; runs no code from its folder.

    Args:
        folder: Holds the tokenizer's files and the model's `config.json`.

    Raises:
        DataError: If there is none.
        UsageError: If it has no end-of-sequence token.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        from irlbench.serialisation import read_json

        try:
            with quiet_transformers():
                self._inner: Any = AutoTokenizer.from_pretrained(
                    str(folder), trust_remote_code=False, local_files_only=True
                )
        except Exception as error:  # its parser raises bare exceptions
            first = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise DataError(f"no tokenizer can be loaded: {first}", file=folder.name) from error
        if self._inner.eos_token_id is None:
            raise UsageError(
                f"the tokenizer of --model {folder.name} names no end-of-sequence token "
                "(eos_token in tokenizer_config.json): generation could not end"
            )
        named = read_json(folder / "config.json").get("vocab_size")
        self.vocabulary = int(named) if isinstance(named, int) else len(self._inner)
        self.eos_id = int(self._inner.eos_token_id)
        pad = self._inner.pad_token_id
        self.pad_id = self.eos_id if pad is None else int(pad)
        self.highest_id = max(map(int, self._inner.get_vocab().values()), default=0)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Ids of a text, without special ids.

        Args:
            text: A special token's name within it is read as ordinary text.
        """
        ids = self._inner(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return np.asarray(ids, dtype=np.int32)

    def encode_prompt(self, text: str) -> NDArray[np.int32]:
        """Ids of a prompt, with what the tokenizer puts in front, but no closing one.

        Args:
            text: A special token's name within it is read as ordinary text.
        """
        ids = list(self._inner(text, split_special_tokens=True)["input_ids"])
        while ids and ids[-1] == self.eos_id:
            ids.pop()
        return np.asarray(ids, dtype=np.int32)

    def decode_prompt(self, ids: NDArray[np.int32]) -> str:
        """What `encode_prompt` was given.

        Args:
            ids: A prompt's ids, `[length]`.
        """
        return str(
            self._inner.decode(
                ids.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """Text of ids; special ids appear by name.

        Args:
            ids: Integers in [0, vocabulary), `[length]`.
        """
        return str(
            self._inner.decode(
                np.asarray(ids).tolist(),
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )


def language_model(model: str | None, *, fetch: bool = False) -> LanguageModel:
    """The model that `--model` names, or the one that ships.

    Args:
        model: A folder, or `owner/name@revision` on the hub; None: the one that ships.
        fetch: Download from the hub what is not in its local cache.

    Raises:
        UsageError: If there is no such model, or the hub cannot be reached.
    """
    if model is None:
        return LanguageModel(SHIPPED)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return LanguageModel(folder.resolve())
    if folder.exists():
        raise UsageError(
            f"--model {model}: is a file; a folder is needed, with config.json and safetensors"
        )
    if not _HUB_ID.fullmatch(model):
        raise UsageError(
            f"--model {model}: no such folder, and no hub id either (owner/name@revision)"
        )
    return _from_hub(model, fetch)


def _weight_files(folder: Path) -> list[Path]:
    """The files that `transformers` reads weights from, in its order of preference."""
    from irlbench.serialisation import read_json

    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise DataError(
            "holds no model.safetensors: weights are read from safetensors only; other formats, "
            "pickles above all (pytorch_model.bin), are refused",
            file=folder.name,
        )
    described = read_json(index)
    shards = described.get("weight_map") if isinstance(described, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
        raise DataError("holds no weight_map", file=f"{folder.name}/{index.name}")
    outside = sorted(s for s in shards.values() if Path(s).name != s)
    if outside:
        raise DataError(
            f"names {outside[0]!r}; weights lie beside it", file=f"{folder.name}/{index.name}"
        )
    return [folder / shard for shard in sorted(set(shards.values()))]


def _require_finite(place: Path) -> None:
    """Refuses a file of weights that is damaged, or holds NaN or an infinity."""
    from safetensors import safe_open

    file = f"{place.parent.name}/{place.name}"
    try:
        # By PyTorch, as NumPy has no bfloat16; the file is mapped, one tensor is read at a time.
        with safe_open(place, framework="pt") as weights:
            spoilt = [name for name in weights.keys() if not _finite(weights.get_tensor(name))]  # noqa: SIM118
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=file) from error
    except Exception as error:  # its parser's, and PyTorch's where the header lies
        raise DataError(
            f"is no safetensors file ({error}); other formats, pickles above all, are refused",
            file=file,
        ) from error
    if spoilt:
        raise DataError(
            f"holds NaN or an infinity in {len(spoilt)} weights: {', '.join(sorted(spoilt)[:3])}",
            file=file,
        )


def _finite(tensor: Any) -> bool:
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    # NaN goes through minimum and maximum; a mask would take more memory than the tensor.
    low, high = (tensor.float() if tensor.element_size() == 1 else tensor).aminmax()
    return bool(low.isfinite() and high.isfinite())


def _from_hub(model: str, fetch: bool) -> LanguageModel:
    from huggingface_hub import snapshot_download

    name, _, revision = model.partition("@")
    try:
        place = snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=list(_FILES),
            local_files_only=not fetch,
        )
    except Exception as error:  # the hub's client raises whatever its transport raised
        first = str(error).strip().split("\n", 1)[0][:200]
        raise UsageError(
            f"--model {model} cannot be had from the hub ({type(error).__name__}: {first}). "
            "Without a network give --model a local folder, and --data a local one where the "
            "task asks for it; without --model the tiny model that ships is used"
        ) from error
    return LanguageModel(Path(place), revision=Path(place).name)
