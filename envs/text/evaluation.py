"""How text policies are judged: sampled at temperature 1, verified, on prompts never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from irlbench.data.demonstrations import TokenEpisode
from irlbench.envs.text.token_mdp import TokenMDP, TokenVectorEnv
from irlbench.errors import DataError
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator
from irlbench.task import Evaluation, Evaluator, Split

#: What policies draw from.
_POLICY_STREAM = 1
#: Tokens in a batch of episodes at most; bounds the memory of a key-value cache.
_BATCH_TOKENS = 65_536
_SAMPLES = 20


@dataclass(frozen=True, eq=False)
class Rollouts:
    """One episode per prompt, in the order of the prompts.

    Attributes:
        rewards: float64 `[prompts]`.
        lengths: Tokens written, the end of sequence included, int64 `[prompts]`.
        finish_reasons: "stop" or "length", `[prompts]`.
        completions: Text, `[prompts]`.
    """

    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    finish_reasons: list[str]
    completions: list[str]


def roll_out(
    policy: Policy, mdp: TokenMDP, first_seed: int, *, deterministic: bool = False
) -> Rollouts:
    """Lets a policy complete every prompt once.

    What an episode draws depends on its seed and its position alone, so how prompts are batched
    changes nothing.

    Args:
        policy: Acts on the observations of `TokenVectorEnv`.
        mdp: Prompts and reward.
        first_seed: Of prompt 0; prompt i has `first_seed + i`.
        deterministic: Take the likeliest token instead of a sample.
    """
    count = len(mdp)
    rewards, lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
    reasons, completions = [""] * count, [""] * count
    for prompts in _batches(mdp):
        env = TokenVectorEnv(len(prompts), mdp, autoreset_mode=AutoresetMode.DISABLED, copy=False)
        observations, _ = env.reset(seed=0, options={"prompt_index": prompts})
        generator = RowGenerator(first_seed + prompts, stream=_POLICY_STREAM)
        state, ended = None, np.zeros(len(prompts), dtype=bool)
        while not ended.all():
            actions, state = policy.act(
                observations, state, deterministic=deterministic, generator=generator
            )
            observations, earned, terminations, _, info = env.step(actions)
            rewards[prompts] += earned
            for row in np.flatnonzero(terminations):
                reasons[prompts[row]] = info["finish_reason"][row]
            ended |= terminations
        for place, prompt in enumerate(prompts.tolist()):
            written = env.completion_ids(place)
            lengths[prompt], completions[prompt] = len(written), mdp.completion(written)
    return Rollouts(rewards, lengths, reasons, completions)


def _batches(mdp: TokenMDP) -> list[NDArray[np.int64]]:
    """Prompt indices by length, in batches of bounded size."""
    order = np.argsort(mdp.prompt_lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        stop = start + 1
        while (
            stop < len(order)
            and (stop + 1 - start) * (int(mdp.prompt_lengths[order[stop]]) + mdp.horizon)
            <= _BATCH_TOKENS
        ):
            stop += 1
        batches.append(order[start:stop])
        start = stop
    return batches


def demonstration_nll(policy: Policy, episodes: Sequence[TokenEpisode]) -> float | None:
    """Mean negative log-likelihood per token of held-out demonstrations, in nats.

    Args:
        policy: Any policy.
        episodes: Demonstrations that no policy has learnt from.

    Returns:
        The mean, or None where the policy has no log-probability, or there are no episodes.
    """
    if not episodes:
        return None
    try:
        scores = policy.score(episodes)
    except (NotImplementedError, DataError):  # the latter: a policy that scores no token episodes
        return None
    return float(-np.concatenate(scores).mean() + 0.0)  # no negative zero


class TextEvaluator(Evaluator):
    """Verified accuracy on held-out prompts.

    Args:
        mdps: "test" and "validation", and optionally "longer".
        held_out: For "test" and "validation", demonstrations whose likelihood is taken.
        seeds: First seed of the episodes of each of `mdps`.
        greedy: Whether the test prompts are also completed with the likeliest tokens.
    """

    def __init__(
        self,
        mdps: Mapping[str, TokenMDP],
        held_out: Mapping[str, Sequence[TokenEpisode]],
        seeds: Mapping[str, int],
        *,
        greedy: bool = False,
    ) -> None:
        self._mdps, self._held_out = mdps, held_out
        self._seeds, self._greedy = seeds, greedy

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See `Evaluator.evaluate`."""
        mdp = self._mdps[split]
        found = roll_out(policy, mdp, self._seeds[split])
        scores = {
            "accuracy": float(found.rewards.mean()),
            "stopped": float(np.mean([reason == "stop" for reason in found.finish_reasons])),
            "length": float(found.lengths.mean()),
        }
        nll = demonstration_nll(policy, self._held_out[split])
        if nll is not None:
            scores["nll"] = nll
        if split == "test" and "longer" in self._mdps:
            longer = roll_out(policy, self._mdps["longer"], self._seeds["longer"])
            scores["accuracy_longer"] = float(longer.rewards.mean())
        if split == "test" and self._greedy:
            likeliest = roll_out(policy, mdp, self._seeds[split], deterministic=True)
            scores["accuracy_greedy"] = float(likeliest.rewards.mean())
        episodes = {"return": found.rewards.tolist(), "length": found.lengths.tolist()}
        return Evaluation(scores, episodes, _samples(mdp, found))


def _samples(mdp: TokenMDP, found: Rollouts) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for i in range(min(_SAMPLES, len(mdp))):
        prompt = mdp.prompts[i, : mdp.prompt_lengths[i]]
        shown.append(
            {
                "prompt": _showable(mdp.tokenizer.decode_prompt(prompt)),
                "completion": _showable(found.completions[i]),
                "reward": float(found.rewards[i]),
                "finish_reason": found.finish_reasons[i],
            }
        )
    return shown


def _showable(text: str) -> str:
    """A text that every encoding of Unicode can hold: U+FFFD for each unpaired surrogate."""
    return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
