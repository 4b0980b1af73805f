"""Reads a stranger's tokenizer and configuration in a process of its own, before they are used.

Both are small programs. A tokenizer's rules may expand a text a million times, its patterns run
for ever, and a configuration may ask for a billion layers; the libraries that read them may end a
process. So what a task will ask of them is asked once where that does no harm: within limits of
memory and time, with nothing to download. What passes here behaves the same in the process that
goes on, as the same is asked of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from irlbench.errors import DataError, UsageError

#: Resident memory, in bytes, and seconds; the latter also grow with the texts.
MEMORY = 4 * 2**30
SECONDS = 180.0
_CHARACTERS_PER_SECOND = 20_000
_PAUSE = 0.05
#: Most ids of a text: so many for each of its bytes, and some in front and behind.
_IDS_PER_BYTE, _IDS_AROUND = 16, 256
_MAX_VOCABULARY = 2**24
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from irlbench.envs.text.examination import main
main()
"""


def examine_apart(
    folder: Path, texts: Sequence[str], *, seconds: float = SECONDS, memory: int = MEMORY
) -> None:
    """`examine` in a process of its own.

    Args:
        folder: Of a model.
        texts: What the task will have written as ids.
        seconds: Time that it may take, with no text at all.
        memory: Resident memory that it may take, in bytes.

    Raises:
        DataError: As `examine` does, and where it takes too much, or ends the process.
        UsageError: As `examine` does.
    """
    seconds += sum(map(len, texts)) / _CHARACTERS_PER_SECOND
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as told:
        asked.write(json.dumps({"folder": str(folder), "texts": list(texts)}).encode())
        asked.seek(0)
        code = _watched(_start(asked, told, seconds), folder.name, seconds, memory)
        told.seek(0)
        said = told.read(2**16)
    if code != 0:
        how = f"exit code {code}" if code > 0 else f"signal {-code} ({_signal(-code)})"
        raise DataError(
            f"its tokenizer or its configuration ended the process that read it with {how}: "
            "they are damaged, or made to do so",
            file=folder.name,
        )
    kind, message = json.loads(said)
    if kind == "data":
        raise DataError(message)
    if kind == "usage":
        raise UsageError(message)


def _start(asked: IO[bytes], told: IO[bytes], seconds: float) -> subprocess.Popen[bytes]:
    # A model is examined on the processor, by one thread, and nothing is fetched for it.
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "RUST_BACKTRACE": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "IRLBENCH_EXAMINATION_SECONDS": str(int(seconds) + 1),
    }
    command = [
        sys.executable,
        "-P",
        "-c",
        _CODE,
        json.dumps([p or str(Path.cwd()) for p in sys.path]),
    ]
    return subprocess.Popen(
        command, stdin=asked, stdout=told, stderr=subprocess.DEVNULL, env=environment
    )


def _watched(process: subprocess.Popen[bytes], name: str, seconds: float, memory: int) -> int:
    """The exit code of a process that stays within its limits."""
    import psutil

    deadline = time.monotonic() + seconds
    try:
        watched = psutil.Process(process.pid)
        while True:
            try:
                return process.wait(timeout=_PAUSE)
            except subprocess.TimeoutExpired:
                pass
            if watched.memory_info().rss > memory:
                raise DataError(
                    f"reading its tokenizer and its configuration takes more than "
                    f"{memory / 2**30:.3g} GiB: refused as made to exhaust memory",
                    file=name,
                )
            if time.monotonic() > deadline:
                raise DataError(
                    f"reading its tokenizer and its configuration takes more than {seconds:.0f} s: "
                    "refused as made to take for ever",
                    file=name,
                )
    except psutil.NoSuchProcess:
        return process.wait()
    finally:
        process.kill()
        process.wait()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def main() -> None:
    """What the process runs: examines what standard input names, and says what it found."""
    _limit_own_time()
    asked = json.loads(sys.stdin.read())
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    answer = ["sound", ""]
    try:
        examine(Path(asked["folder"]), asked["texts"])
    except DataError as error:
        answer = ["data", str(error)]
    except UsageError as error:
        answer = ["usage", str(error)]
    told.write(json.dumps(answer))
    told.flush()
    os._exit(0)  # nothing that a library left behind is waited for


def _limit_own_time() -> None:
    """Ends this process in time even if nobody is left to do so."""
    import resource

    seconds = int(os.environ["IRLBENCH_EXAMINATION_SECONDS"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def examine(folder: Path, texts: Sequence[str]) -> None:
    """Loads the tokenizer and has it write texts, and makes the model without its weights.

    Args:
        folder: Of a model, as `model_folders.require_harmless` has found it.
        texts: What the task will have written as ids.

    Raises:
        DataError: If they cannot be used: damaged, more than the weights account for, or not of
            each other.
        UsageError: If the tokenizer names no end of sequence.
    """
    from irlbench.envs.text.models import TransformersTokenizer

    config = _configuration(folder)
    tokenizer = TransformersTokenizer(folder)
    _require_vocabulary(folder, tokenizer)
    for text in texts:
        ids = tokenizer.encode_prompt(text)
        size = len(text.encode(errors="replace"))
        if len(ids) > _IDS_AROUND + _IDS_PER_BYTE * size:
            raise DataError(
                f"writes {len(ids):,} ids for a text of {size:,} bytes: refused as made to exhaust "
                "memory",
                file=f"{folder.name}/tokenizer.json",
            )
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < tokenizer.vocabulary:
            raise DataError(
                f"writes ids up to {int(ids.max())}, but the model knows {tokenizer.vocabulary}",
                file=f"{folder.name}/tokenizer.json",
            )
        tokenizer.decode_prompt(ids)
    _require_model(folder, config)


def _configuration(folder: Path) -> Any:
    from transformers import AutoConfig

    from irlbench.envs.text.model_folders import refused
    from irlbench.policies.causal_lm import quiet_transformers

    with refused(folder, "its config.json cannot be used"), quiet_transformers():
        return AutoConfig.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True
        )


def _require_vocabulary(folder: Path, tokenizer: Any) -> None:
    vocabulary, highest = tokenizer.vocabulary, tokenizer.highest_id
    if not max(highest, tokenizer.eos_id, tokenizer.pad_id) < vocabulary <= _MAX_VOCABULARY:
        raise DataError(
            f"is {vocabulary}, but the tokenizer beside it writes ids up to {highest}: "
            "model and tokenizer do not belong together",
            file=f"{folder.name}/config.json",
            field="vocab_size",
        )


def _require_model(folder: Path, config: Any) -> None:
    """Makes the model without its weights, within what they account for."""
    import torch
    from transformers import AutoModelForCausalLM

    from irlbench.envs.text.model_folders import refused, shapes, weight_files
    from irlbench.policies.causal_lm import quiet_transformers
    from irlbench.policies.saved_model import within

    # As large as the weights, of which nothing but that is asked, and of no memory.
    found = shapes(weight_files(folder))
    weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in found.items()}
    with (
        refused(folder, "no causal language model can be loaded"),
        quiet_transformers(),
        torch.device("meta"),
        within(weights),
    ):
        AutoModelForCausalLM.from_config(config, trust_remote_code=False)
