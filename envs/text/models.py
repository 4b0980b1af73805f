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
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.serialisation import sha256_file, sha256_json

SHIPPED = Path(__file__).parent / "assets" / "tiny-llama"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


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
        """SHA-256 over configuration, weights and tokenizer."""
        weights = sorted(self.folder.glob("*.safetensors"))
        if not weights or not (self.folder / "config.json").is_file():
            raise DataError(
                "holds no config.json with safetensors beside it; other formats are refused. "
                "--model names a folder as transformers writes it",
                file=self.folder.name,
            )
        others = [self.folder / n for n in ("config.json", "tokenizer.json")]
        return sha256_json({p.name: sha256_file(p) for p in [*weights, *others] if p.is_file()})

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Reads and writes the model's ids."""
        return ByteTokenizer() if self.folder == SHIPPED else TransformersTokenizer(self.folder)

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
                f"--model {self.folder.name} reads {limit} tokens, but prompt and horizon need "
                f"{tokens}: choose a model with a longer context"
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
            self._inner: Any = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            first = str(error).strip().split("\n", 1)[0]
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
    if folder.exists() or not _HUB_ID.fullmatch(model):
        raise UsageError(
            f"--model {model}: no such folder, and no hub id either (owner/name@revision)"
        )
    return _from_hub(model, fetch)


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
