"""The byte-level tokenizer of the tiny model: one id per byte, and a few special ids.

Id b is byte b, so any text is read, no word is out of vocabulary and nothing is lost. The same
tokenizer exists twice: as `ByteTokenizer`, plain numpy that the environments use, and as files
that `transformers.AutoTokenizer` reads (`write_tokenizer`). A test holds them equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Ids below are bytes; the special ids follow.
BYTES = 256
BOS, EOS, PAD = 256, 257, 258
#: The last five are reserved, for turns of a dialogue and the like.
SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>", *(f"<|reserved-{i}|>" for i in range(5)))
VOCABULARY = BYTES + len(SPECIAL_TOKENS)


class ByteTokenizer:
    """Text to ids and back, without a library.

    A special token's name within a text is read as the bytes that it is written with: no text
    can smuggle in an end of sequence.
    """

    vocabulary = VOCABULARY
    bos_id: int | None = BOS
    eos_id = EOS
    pad_id = PAD
    #: What the ids mean; goes into a task's hash.
    name = "bytes-264"

    def encode(self, text: str) -> NDArray[np.int32]:
        """Ids of a text, without special ids.

        Args:
            text: Any string; unpaired surrogates are kept too.

        Returns:
            int32 `[bytes]`.
        """
        raw = text.encode("utf-8", errors="surrogatepass")
        return np.frombuffer(raw, dtype=np.uint8).astype(np.int32)

    def encode_prompt(self, text: str) -> NDArray[np.int32]:
        """Ids of a prompt: the beginning-of-sequence id, then the text's.

        Args:
            text: Any string.

        Returns:
            int32 `[1 + bytes]`.
        """
        return np.concatenate([np.array([BOS], dtype=np.int32), self.encode(text)])

    def decode_prompt(self, ids: NDArray[np.int32]) -> str:
        """What `encode_prompt` was given.

        Args:
            ids: A prompt's ids, `[1 + bytes]`.
        """
        return self.decode(ids[1:])

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """Text of ids; special ids appear by name, bytes that are no UTF-8 become U+FFFD.

        Args:
            ids: Integers in [0, vocabulary), `[length]`.

        Returns:
            The text. `decode(encode(text)) == text` for every string.
        """
        array = np.asarray(ids, dtype=np.int64)
        special = np.flatnonzero(array >= BYTES)
        parts, start = [], 0
        for place in (*special, len(array)):
            parts.append(_text(array[start:place].astype(np.uint8).tobytes()))
            if place < len(array):
                parts.append(SPECIAL_TOKENS[array[place] - BYTES])
            start = place + 1
        return "".join(parts)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", errors="surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", errors="replace")


def byte_symbols() -> list[str]:
    """The printable character that stands for each byte in `tokenizer.json`.

    The table of the GPT-2 tokenizer (Radford et al. 2019), which the ByteLevel components of
    the `tokenizers` library hold: a printable Latin-1 byte stands for itself, the others are
    moved beyond U+0100 in order.

    Returns:
        256 distinct characters, index b for byte b.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(moved)) for byte in range(BYTES)]


def build_tokenizer() -> Any:
    """The same tokenizer as a `tokenizers.Tokenizer`: byte-level, no merges.

    Returns:
        A tokenizer whose template puts the beginning-of-sequence id in front.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL_TOKENS[0]} $A",
        pair=f"{SPECIAL_TOKENS[0]} $A {SPECIAL_TOKENS[0]} $B",
        special_tokens=[(SPECIAL_TOKENS[0], BOS)],
    )
    return tokenizer


def write_tokenizer(folder: Path) -> list[Path]:
    """Writes `tokenizer.json` and `tokenizer_config.json` for `transformers.AutoTokenizer`.

    Args:
        folder: An existing folder.

    Returns:
        The files written.
    """
    configuration = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[1],
        "pad_token": SPECIAL_TOKENS[2],
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "padding_side": "left",
        "model_max_length": 2048,
    }
    files = [folder / "tokenizer.json", folder / "tokenizer_config.json"]
    files[0].write_text(build_tokenizer().to_str(pretty=False) + "\n", encoding="utf-8")
    files[1].write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
    return files


def pad_right(rows: Iterable[NDArray[np.int32]], pad_id: int = PAD) -> NDArray[np.int32]:
    """Stacks id arrays of different lengths.

    Args:
        rows: int32 arrays, `[length_i]`.
        pad_id: What fills the right.

    Returns:
        int32 `[rows, longest]`.
    """
    arrays = list(rows)
    padded = np.full((len(arrays), max(map(len, arrays), default=0)), pad_id, dtype=np.int32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded
