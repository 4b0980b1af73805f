"""Makes the tiny model that ships: a Llama of about a million parameters, from scratch.

One pass over a generated corpus (`corpus.py`) of packed rows, AdamW, a cosine schedule. Equal
seeds and threads give equal weights on one kind of CPU.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from irlbench.envs.text import corpus
from irlbench.envs.text.tokenizer import BOS, EOS, PAD, VOCABULARY, write_tokenizer
from irlbench.errors import UsageError

#: Called with the step, how many there are, and scalars by name.
Progress = Callable[[int, int, dict[str, float]], None]

#: Shape of the model, as `transformers.LlamaConfig` names it.
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast the model is trained.

    Attributes:
        steps: Updates.
        rows: Packed rows per update.
        length: Tokens per row.
        learning_rate: Of AdamW at its highest; warmed up linearly, then a cosine to a twentieth.
        warmup: Updates until then.
        weight_decay: Of AdamW.
        gradient_clip: Largest norm of a gradient.
    """

    steps: int = 2000
    rows: int = 8
    length: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.1
    gradient_clip: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate of an update.

        Args:
            step: From 0 on.
        """
        warm = min(1.0, (step + 1) / self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (0.05 + 0.95 * cosine)


#: Seconds instead of minutes, for trying out: the model learns next to nothing.
QUICK = Schedule(steps=6, rows=4, length=64, warmup=2)


def train_tiny_model(
    out_dir: Path,
    *,
    seed: int = 0,
    threads: int = 1,
    quick: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains the tiny model and writes its folder.

    The folder holds `config.json`, `model.safetensors`, the tokenizer's two files and
    `recipe.json`, and appears whole or not at all.

    Args:
        out_dir: Where it goes; must not exist, or be empty.
        seed: Of the initial weights and of the corpus.
        threads: Threads of torch; another number gives other rounding.
        quick: Train for seconds only, with `QUICK`.
        progress: Called some fifty times along the way.

    Returns:
        What `recipe.json` holds: how the model was made, and its measured accuracy.

    Raises:
        UsageError: If the folder is taken, or an argument makes no sense.
    """
    if seed < 0 or threads < 1:
        raise UsageError(f"seed {seed} and threads {threads}: at least 0 and at least 1")
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise UsageError(f"{out_dir} is taken: name a folder that does not exist, or is empty")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    except OSError as error:
        raise UsageError(f"cannot write to {out_dir.parent}: {error.strerror}") from error
    schedule = QUICK if quick else Schedule()
    try:
        with _threads(threads):
            began = time.monotonic()
            model = _train(schedule, seed, progress)
            seconds = time.monotonic() - began
            write_model(model, beside)
            recipe = {
                "made_by": "irlbench models train",
                "seed": seed,
                "threads": threads,
                "schedule": asdict(schedule),
                "architecture": ARCHITECTURE,
                "parameters": sum(p.numel() for p in model.parameters()),
                "corpus": corpus.describe(),
                "seconds": round(seconds, 1),
                "versions": _versions(),
                "measured": _measure(beside, prompts=8 if quick else 512),
            }
            text = json.dumps(recipe, indent=2) + "\n"
            (beside / "recipe.json").write_text(text, encoding="utf-8")
        beside.chmod(0o755)
        beside.replace(out_dir)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return recipe


def _train(schedule: Schedule, seed: int, progress: Progress | None) -> Any:
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**ARCHITECTURE))
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=schedule.weight_decay,
    )
    every = max(schedule.steps // 50, 1)
    batches = islice(corpus.packed_rows(seed, schedule.rows, schedule.length), schedule.steps)
    for step, rows in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        tokens = torch.from_numpy(rows).long()
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
        loss = cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_clip)
        optimiser.step()
        if progress is not None and ((step + 1) % every == 0 or step + 1 == schedule.steps):
            progress(step + 1, schedule.steps, {"loss": float(loss.detach())})
    return model.eval()


def write_model(model: Any, folder: Path) -> None:
    """Writes a model and the byte-level tokenizer as `transformers` reads them.

    Args:
        model: A `transformers` causal language model over the byte-level vocabulary.
        folder: An existing folder.
    """
    from safetensors.torch import save_file

    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    tied = tied if model.config.tie_word_embeddings else set()
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.to_json_file(folder / "config.json")
    write_tokenizer(folder)


def _measure(folder: Path, prompts: int) -> dict[str, float]:
    """Verified accuracy on test prompts, sampled and greedy, and on longer sums."""
    from irlbench.envs.text.arithmetic import draw_longer, draw_sums
    from irlbench.envs.text.environments import arithmetic_mdp
    from irlbench.envs.text.evaluation import roll_out
    from irlbench.policies.causal_lm import CausalLMPolicy
    from irlbench.randomness import EVALUATION_SEEDS

    policy = CausalLMPolicy.from_folder(str(folder))
    sums = draw_sums("test", prompts, seed=1)
    mdp = arithmetic_mdp(sums)
    longer = arithmetic_mdp(draw_longer(prompts, seed=0))
    first = EVALUATION_SEEDS
    sampled = roll_out(policy, mdp, first)
    careful = [t == s.solution for t, s in zip(sampled.completions, sums, strict=True)]
    return {
        "test_prompts": float(prompts),
        "accuracy": float(sampled.rewards.mean()),
        "as_demonstrated": sum(careful) / prompts,
        "accuracy_greedy": float(roll_out(policy, mdp, first, deterministic=True).rewards.mean()),
        "accuracy_longer": float(roll_out(policy, longer, first).rewards.mean()),
    }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "torch", "transformers", "tokenizers")}
