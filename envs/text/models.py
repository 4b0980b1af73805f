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

from irlbench.envs.text.examination import examine_apart
from irlbench.envs.text.model_folders import (
    read_object,
    refused,
    require_finite,
    require_harmless,
    weight_files,
)
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
        try:
            return sha256_json({p.name: sha256_file(p) for p in sorted(read) if p.is_file()})
        except OSError as error:
            place = Path(error.filename or self.folder).name
            raise DataError(
                f"cannot be read: {error.strerror}", file=f"{self.folder.name}/{place}"
            ) from error

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Reads and writes the model's ids."""
        return ByteTokenizer() if self.folder == SHIPPED else TransformersTokenizer(self.folder)

    def require_sound(self, texts: Sequence[str] = ()) -> None:
        """Reads configuration, weights and tokenizer once, before anything is built on them.

        The tokenizer and the configuration of a stranger are read in a process of its own.

        Args:
            texts: What the tokenizer will be asked to write.

        Raises:
            DataError: If a file is missing, damaged or no safetensors, a weight is not finite,
                the tokenizer writes ids that the model does not know, or reading them takes code,
                other files, or too much memory or time. Names the file.
            UsageError: If the tokenizer names no end of sequence.
        """
        if self.folder != SHIPPED:
            require_harmless(self.folder)
        for place in weight_files(self.folder):
            require_finite(place)
        if self.folder != SHIPPED:
            examine_apart(self.folder, texts)

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
        limit = read_object(self.folder / "config.json").get("max_position_embeddings")
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

        self._folder = folder
        with refused(folder, "no tokenizer can be loaded"), quiet_transformers():
            self._inner: Any = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
            end, pad = self._inner.eos_token_id, self._inner.pad_token_id
            self.highest_id = max(map(int, self._inner.get_vocab().values()), default=0)
            named = read_object(folder / "config.json").get("vocab_size")
            self.vocabulary = int(named) if isinstance(named, int) else len(self._inner)
            backend = getattr(self._inner, "backend_tokenizer", None)
            dropout = getattr(getattr(backend, "model", None), "dropout", None)
        if end is None:
            raise UsageError(
                f"the tokenizer of --model {folder.name} names no end-of-sequence token "
                "(eos_token in tokenizer_config.json): generation could not end"
            )
        if dropout:
            raise DataError(
                f"is {dropout}: the same text would have other ids each time; set it to null",
                file=f"{folder.name}/tokenizer.json",
                field="dropout",
            )
        self.eos_id = int(end)
        self.pad_id = self.eos_id if pad is None else int(pad)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Ids of a text, without special ids.

        Args:
            text: A special token's name within it is read as ordinary text.
        """
        return np.asarray(self._ids(text, add_special_tokens=False), dtype=np.int32)

    def encode_prompt(self, text: str) -> NDArray[np.int32]:
        """Ids of a prompt, with what the tokenizer puts in front, but no closing one.

        Args:
            text: A special token's name within it is read as ordinary text.
        """
        ids = self._ids(text, add_special_tokens=True)
        while ids and ids[-1] == self.eos_id:
            ids.pop()
        return np.asarray(ids, dtype=np.int32)

    def decode_prompt(self, ids: NDArray[np.int32]) -> str:
        """What `encode_prompt` was given.

        Args:
            ids: A prompt's ids, `[length]`.
        """
        return self._text(ids.tolist(), skip_special_tokens=True)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """Text of ids; special ids appear by name.

        Args:
            ids: Integers in [0, vocabulary), `[length]`.
        """
        return self._text(np.asarray(ids).tolist(), skip_special_tokens=False)

    def _ids(self, text: str, *, add_special_tokens: bool) -> list[int]:
        with refused(self._folder, "the tokenizer cannot read a text"):
            return list(
                self._inner(text, add_special_tokens=add_special_tokens, split_special_tokens=True)[
                    "input_ids"
                ]
            )

    def _text(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        with refused(self._folder, "the tokenizer cannot write a text"):
            return str(
                self._inner.decode(
                    ids,
                    skip_special_tokens=skip_special_tokens,
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
    try:
        folder = Path(model).expanduser()
        if folder.is_dir():
            return LanguageModel(folder.resolve())
        exists = folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, or the home of nobody
        raise UsageError(f"--model {model[:200]}: cannot be a folder ({error})") from error
    if exists:
        raise UsageError(
            f"--model {model}: is a file; a folder is needed, with config.json and safetensors"
        )
    if not _HUB_ID.fullmatch(model):
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
