"""A causal language model as a policy of the token-level MDP: pi(a|s) = softmax of its logits.

Observations are the token environments': a dictionary with `tokens`, padded ids
`[batch, width]`, and `length`, how many of them are set, `[batch]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode, TokenEpisode
from irlbench.errors import DataError
from irlbench.policies.saved_model import LOCAL_KEYS, REFUSED_KEYS, build, weights, without
from irlbench.policy import Arrays, Policy
from irlbench.randomness import RowGenerator, sample_categorical

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

#: Tokens per forward pass when whole episodes are scored; bounds the memory.
_SCORED_TOKENS = 16_384


@dataclass
class _Cache:
    """What the model has read: the state that a policy carries from step to step.

    All rows share the slots of one key-value cache, filled from the left; a row that reads
    fewer tokens than others in a call, or begins anew, leaves slots that its mask hides.
    """

    values: Any
    mask: Tensor
    seen: NDArray[np.int64]
    logits: Tensor


class CausalLMPolicy(Policy):
    """Any `transformers` causal language model, sampled at temperature 1.

    Args:
        model: The model. It is put into evaluation mode.
    """

    kind: ClassVar[str] = "causal-lm"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()

    @classmethod
    def from_folder(cls, folder: str, device: str = "cpu") -> CausalLMPolicy:
        """Loads a model from a folder as `transformers` writes it; runs no code from there.

        Args:
            folder: Holds `config.json` and safetensors.
            device: "cpu" takes 32-bit floats; "cuda" bfloat16.

        Raises:
            DataError: If there is no such model, or its weights are not exactly those that the
                configuration asks for.
        """
        import torch
        from transformers import AutoModelForCausalLM

        name = Path(folder).name
        try:
            with quiet_transformers():
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=torch.float32 if device == "cpu" else torch.bfloat16,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # so that they are reported by name
                )
        except Exception as error:  # whatever a damaged configuration or file provokes
            first = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise DataError(
                f"no causal language model can be loaded: {first}", file=name
            ) from error
        model, report = loaded
        _require_exact_weights(report, name)
        return cls(model.to(device))

    @property
    def context(self) -> int | None:
        """Tokens that the model can read at once, or None where it names no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def vocabulary(self) -> int:
        """How many logits the model gives."""
        return int(self.model.config.vocab_size)

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. The state is a key-value cache; the given one is used up."""
        import torch

        with torch.inference_mode():
            state = self._read(observations, state, reset_mask)
            if deterministic:
                return state.logits.argmax(dim=-1).cpu().numpy(), state
            probabilities = torch.softmax(state.logits.double(), dim=-1).cpu().numpy()
        return sample_categorical(probabilities, generator.uniform()[:, 0]), state

    def _read(
        self, observations: Any, state: _Cache | None, reset_mask: NDArray[np.bool_] | None
    ) -> _Cache:
        """Reads the tokens of each row that it has not read, and keeps the last logits."""
        import torch

        from irlbench.policies.growing_cache import growing_cache

        tokens, lengths = np.asarray(observations["tokens"]), np.asarray(observations["length"])
        rows, width = tokens.shape
        seen = np.zeros(rows, dtype=np.int64) if state is None else state.seen
        if reset_mask is not None:
            seen = np.where(reset_mask, 0, seen)
        seen = np.where(lengths < seen, 0, seen)
        new = int((lengths - seen).max(initial=0))
        if state is not None and state.mask.shape[1] + new > 2 * width:
            # Too many hidden slots: read everything again rather than carry them along.
            state, seen = None, np.zeros(rows, dtype=np.int64)
            new = int(lengths.max())
        if state is not None and new == 0:
            return state
        columns = lengths[:, None] - new + np.arange(new)  # unread tokens end in the last column
        read = columns >= seen[:, None]
        columns = np.maximum(columns, 0)
        device = self.model.device
        mask = torch.from_numpy(read).to(device)
        if state is not None:
            kept = torch.from_numpy(seen > 0).to(device)[:, None]
            mask = torch.cat([state.mask & kept, mask], dim=1)
        output = self.model(
            input_ids=torch.from_numpy(np.take_along_axis(tokens, columns, 1)).long().to(device),
            attention_mask=mask.long(),
            position_ids=torch.from_numpy(columns).to(device),
            past_key_values=growing_cache(self.model.config) if state is None else state.values,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        if state is not None:
            fresh = torch.from_numpy(lengths > seen).to(device)[:, None]
            logits = torch.where(fresh, logits, state.logits)
        return _Cache(output.past_key_values, mask, lengths.astype(np.int64), logits)

    def log_prob(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        """See `Policy.log_prob`. Reads every prefix anew; `score` is the way for episodes."""
        import torch

        tokens, lengths = np.asarray(observations["tokens"]), np.asarray(observations["length"])
        with torch.inference_mode():
            ids = torch.from_numpy(tokens[:, : int(lengths.max())]).long().to(self.model.device)
            logits = self.model(input_ids=ids, use_cache=False).logits
            last = logits[np.arange(len(ids)), lengths - 1].float()
            chosen = torch.from_numpy(np.asarray(actions)).long().to(last.device)
            rows = torch.log_softmax(last, dim=-1).gather(1, chosen[:, None])[:, 0]
        return rows.double().cpu().numpy()

    def score(self, episodes: Sequence[Episode | TokenEpisode]) -> list[NDArray[np.float64]]:
        """See `Policy.score`. One teacher-forced pass per batch of similar lengths."""
        import torch

        items = [episode for episode in episodes if isinstance(episode, TokenEpisode)]
        if len(items) != len(episodes):
            raise DataError("a language model scores episodes of tokens")
        scores: list[NDArray[np.float64]] = [np.zeros(0)] * len(items)
        with torch.inference_mode():
            for batch in _similar_lengths([len(item.tokens) for item in items]):
                longest = max(len(items[i].tokens) for i in batch)
                ids = torch.zeros((len(batch), longest), dtype=torch.long)
                for row, i in enumerate(batch):
                    ids[row, : len(items[i].tokens)] = torch.from_numpy(items[i].tokens.copy())
                ids = ids.to(self.model.device)
                # Padding stands on the right: nothing before it can see it.
                logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
                rows = torch.log_softmax(logits, dim=-1).gather(2, ids[:, 1:, None])[..., 0]
                found = rows.double().cpu().numpy()
                for row, i in enumerate(batch):
                    scores[i] = found[row, : len(items[i].tokens) - 1][items[i].action_mask[1:]]
        return scores

    def arrays(self) -> Arrays:
        """See `Policy.arrays`. 32-bit floats; weights that are tied to others are left out."""
        return {name: w.float().cpu().numpy() for name, w in weights(self.model).items()}

    def settings(self) -> dict[str, Any]:
        """See `Policy.settings`."""
        config = without(self.model.config.to_dict(), LOCAL_KEYS | REFUSED_KEYS)
        return {"config": config, "dtype": str(self.model.dtype).removeprefix("torch.")}

    @classmethod
    def from_saved(cls, arrays: Arrays, settings: Mapping[str, Any]) -> CausalLMPolicy:
        """See `Policy.from_saved`. Shapes are compared before any memory is taken."""
        with quiet_transformers():
            return cls(build(settings, arrays))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps `transformers` from writing tables and warnings of what it loads: we say it."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _require_exact_weights(report: Mapping[str, Any], folder: str) -> None:
    """Refuses what `transformers` would have drawn at random, or left out.

    Args:
        report: What it tells of loading.
        folder: Named in the message.

    Raises:
        DataError: With the first names of each sort.
    """
    differing = [
        f"{name} ({list(found)}, not {list(wanted)})"
        for name, found, wanted in sorted(report["mismatched_keys"])
    ]
    found = {
        "missing": sorted(report["missing_keys"]),
        "of another shape than config.json says": differing,
        "unexpected": sorted(report["unexpected_keys"]),
    }
    said = [
        f"{len(names)} {sort}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for sort, names in found.items()
        if names
    ]
    if said:
        raise DataError(
            f"no causal language model can be loaded: its weights do not fit its config.json "
            f"({'; '.join(said)})",
            file=folder,
        )


def _similar_lengths(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, at most `_SCORED_TOKENS` padded tokens each."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[i] > _SCORED_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
