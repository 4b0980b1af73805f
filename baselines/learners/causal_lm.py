"""The causal-language-model learner: the policy's logits are those of the model."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import Batch, Learner, LearnerSettings
from irlbench.baselines.learners.trainer import Trainer
from irlbench.data.demonstrations import Demonstrations, TokenEpisode
from irlbench.errors import DataError, UsageError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.policy import Policy
from irlbench.problem import Problem

#: Share of the updates over which the learning rate is warmed up.
_WARMUP = 0.1


class CausalLMLearner(Learner):
    """Fine-tunes all weights of the problem's reference model.

    Args:
        problem: Supplies `reference_model`, which itself stays as it is.
        settings: Step sizes; `hidden` is not used. The learning rate is warmed up linearly over a
            tenth of `total_steps`.
        run: Seed and device.

    Raises:
        UsageError: If the reference model is no causal language model.
    """

    def __init__(self, problem: Problem, settings: LearnerSettings, run: Run) -> None:
        reference = problem.resource("reference_model")
        if not isinstance(reference, CausalLMPolicy):
            raise UsageError(
                f"the reference model is a {type(reference).__name__}; a causal-lm is needed"
            )
        self.model: Any = copy.deepcopy(reference.model).to(run.device)
        self._trainer = Trainer(self.model.parameters(), settings, warmup=_WARMUP)
        self._episodes: list[TokenEpisode] = []

    def load(self, demonstrations: Demonstrations[Any], *, subsample: int = 1) -> int:
        """See `Learner.load`. Items are episodes.

        Raises:
            DataError: If a demonstration is no token episode, or `subsample` is not 1.
        """
        if subsample != 1:
            raise DataError(f"token episodes are read whole: subsample must be 1, got {subsample}")
        for i, episode in enumerate(demonstrations):
            if not isinstance(episode, TokenEpisode):
                raise DataError(f"a language model learns from tokens, got {episode!r}", row=i)
        self._episodes = list(demonstrations)
        return len(self._episodes)

    def sample(self, size: int, generator: np.random.Generator) -> Batch:
        """See `Learner.sample`. Padded to the longest episode of the batch."""
        count = len(self._episodes)
        drawn = generator.integers(count, size=size) if count > size else np.arange(count)
        return self.batch([self._episodes[i] for i in drawn])

    def batch(self, episodes: list[TokenEpisode]) -> Batch:
        """Episodes as tensors.

        Args:
            episodes: At least one.

        Returns:
            Ids `[batch, longest - 1]`, the ids that follow them, and which of those the
            demonstrator chose.
        """
        longest = max(len(episode.tokens) for episode in episodes)
        tokens = np.zeros((len(episodes), longest), dtype=np.int64)
        chosen: NDArray[np.float32] = np.zeros((len(episodes), longest), dtype=np.float32)
        for row, episode in enumerate(episodes):
            tokens[row, : len(episode.tokens)] = episode.tokens
            chosen[row, : len(episode.tokens)] = episode.action_mask
        device = self.model.device
        ids = torch.from_numpy(tokens).to(device)
        return Batch(ids[:, :-1], ids[:, 1:], torch.from_numpy(chosen[:, 1:]).to(device))

    def log_prob(self, batch: Batch) -> Tensor:
        """See `Learner.log_prob`: `[batch, time]`; padding stands on the right, unseen."""
        logits = self.model(input_ids=batch.observations, use_cache=False).logits.float()
        rows: Tensor = torch.log_softmax(logits, dim=-1)
        return rows.gather(2, batch.actions[..., None])[..., 0]

    def policy(self) -> Policy:
        """See `Learner.policy`."""
        return CausalLMPolicy(copy.deepcopy(self.model))
