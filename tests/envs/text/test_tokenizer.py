from __future__ import annotations

import numpy as np
import pytest

from irlbench.envs.text.models import SHIPPED
from irlbench.envs.text.tokenizer import (
    BOS,
    BYTES,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    VOCABULARY,
    ByteTokenizer,
    build_tokenizer,
    byte_symbols,
    pad_right,
    write_tokenizer,
)

TEXTS = [
    "348+67=\n8+7=15\n",
    "",
    "  leading, \t tabs and trailing  ",
    "e\u0301 é 漢字 \u200d🙂🏽 \u202e",
    "\x00\x01\x7f",
    "a <|eos|> b <|bos|>",
    "line\r\nline\u2028line",
    " don't , clean . this !",
    "\ufeffbyte order mark",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_prompt(tokenizer.encode_prompt(text)) == text
    assert len(ids) == len(text.encode())


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80\udc81"])
def test_unpaired_surrogates_come_back(text):
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_byte_comes_back_and_bad_utf8_is_shown():
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(np.array([0xFF, 0x41])) == "\ufffdA"
    assert tokenizer.decode(np.array([0x41, EOS, 0x42])) == "A<|eos|>B"
    everything = np.arange(BYTES)
    assert tokenizer.encode(everything.astype(np.uint8).tobytes().decode("latin-1")).max() < BYTES


def test_the_vocabulary_is_what_it_says():
    assert len(set(byte_symbols())) == BYTES
    assert VOCABULARY == 264
    assert [SPECIAL_TOKENS[i - BYTES] for i in (BOS, EOS, PAD)] == ["<|bos|>", "<|eos|>", "<|pad|>"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_library_tokenizer_is_the_same(text):
    built = build_tokenizer()
    built.encode_special_tokens = True
    ours = ByteTokenizer()
    assert built.encode(text).ids == ours.encode_prompt(text).tolist()
    assert built.decode(ours.encode(text).tolist(), skip_special_tokens=False) == text


def test_transformers_reads_the_shipped_files(tmp_path):
    from transformers import AutoTokenizer

    shipped = AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)
    ours = ByteTokenizer()
    assert (shipped.bos_token_id, shipped.eos_token_id, shipped.pad_token_id) == (BOS, EOS, PAD)
    assert len(shipped) == VOCABULARY
    for text in TEXTS:
        ids = shipped(text)["input_ids"]
        assert ids == ours.encode_prompt(text).tolist()
        assert shipped.decode(ids[1:], skip_special_tokens=False) == text
    for written in write_tokenizer(tmp_path):
        assert written.read_bytes() == (SHIPPED / written.name).read_bytes()


def test_padding():
    rows = pad_right([np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)])
    assert rows.tolist() == [[1, 2], [3, PAD]]
    assert pad_right([]).shape == (0, 0)
