"""The text environments that are registered with Gymnasium."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from irlbench.envs.text import arithmetic, gsm8k
from irlbench.envs.text.token_mdp import TokenEnv, Tokenizer, TokenMDP, TokenVectorEnv
from irlbench.envs.text.tokenizer import ByteTokenizer

#: Most tokens of a completion. The longest solution of a four-digit sum has 48 byte tokens.
ARITHMETIC_HORIZON = 64
#: 92 of 100 recorded answers are shorter, in byte tokens.
GSM8K_HORIZON = 512
#: Sums that an environment draws its prompts from.
ARITHMETIC_PROMPTS = 1024


def arithmetic_mdp(
    sums: list[arithmetic.Sum],
    tokenizer: Tokenizer | None = None,
    horizon: int = ARITHMETIC_HORIZON,
    cut_reward: float = 0.0,
) -> TokenMDP:
    """Sums as a token-level MDP: reward 1 for the right final answer, else 0.

    Args:
        sums: What is to be added.
        tokenizer: The byte-level one unless given.
        horizon: Most tokens of a completion.
        cut_reward: Of a completion that the horizon cuts.
    """
    prompts = [task.prompt for task in sums]

    def reward(index: int, completion: str) -> float:
        return float(arithmetic.verify(prompts[index], completion))

    return TokenMDP.over(
        prompts,
        horizon=horizon,
        reward=reward,
        tokenizer=tokenizer or ByteTokenizer(),
        cut_reward=cut_reward,
    )


def gsm8k_mdp(
    problems: list[gsm8k.WordProblem],
    tokenizer: Tokenizer | None = None,
    horizon: int = GSM8K_HORIZON,
    cut_reward: float = 0.0,
) -> TokenMDP:
    """Word problems as a token-level MDP: reward 1 for the right final number, else 0.

    Args:
        problems: Questions with their answers.
        tokenizer: The byte-level one unless given.
        horizon: Most tokens of a completion.
        cut_reward: Of a completion that the horizon cuts.
    """
    answers = [problem.answer for problem in problems]

    def reward(index: int, completion: str) -> float:
        return float(gsm8k.verify(answers[index], completion))

    prompts = [problem.prompt for problem in problems]
    return TokenMDP.over(
        prompts,
        horizon=horizon,
        reward=reward,
        tokenizer=tokenizer or ByteTokenizer(),
        cut_reward=cut_reward,
    )


@cache
def _shipped_sums(split: str) -> TokenMDP:
    return arithmetic_mdp(arithmetic.draw_sums(split, ARITHMETIC_PROMPTS, seed=0))


def make_arithmetic(*, split: str = "train", render_mode: str | None = None) -> TokenEnv:
    """Entry point of `irlbench/Arithmetic-v0`.

    Args:
        split: "train", "validation" or "test": which sums.
        render_mode: None or "ansi".
    """
    return TokenEnv(_shipped_sums(split), render_mode=render_mode)


def make_arithmetic_batch(
    *, num_envs: int = 1, split: str = "train", **settings: Any
) -> TokenVectorEnv:
    """Vector entry point of `irlbench/Arithmetic-v0`.

    Args:
        num_envs: Rows.
        split: "train", "validation" or "test": which sums.
        settings: `autoreset_mode` and `copy` of `TokenVectorEnv`.
    """
    return TokenVectorEnv(num_envs, _shipped_sums(split), **settings)


@cache
def _gsm8k(data: str | None, split: str) -> TokenMDP:
    if f"{split}.jsonl" not in gsm8k.FILES:
        raise ValueError(f"unknown split {split!r}; there are train and test")
    folder = gsm8k.data_folder(data)
    return gsm8k_mdp(gsm8k.read_problems(Path(folder) / f"{split}.jsonl"))


def make_gsm8k(
    *, data: str | None = None, split: str = "train", render_mode: str | None = None
) -> TokenEnv:
    """Entry point of `irlbench/GSM8K-v0`.

    Args:
        data: Folder that holds `train.jsonl` and `test.jsonl`.
        split: "train" or "test".
        render_mode: None or "ansi".
    """
    return TokenEnv(_gsm8k(data, split), render_mode=render_mode)


def make_gsm8k_batch(
    *, num_envs: int = 1, data: str | None = None, split: str = "train", **settings: Any
) -> TokenVectorEnv:
    """Vector entry point of `irlbench/GSM8K-v0`.

    Args:
        num_envs: Rows.
        data: Folder that holds `train.jsonl` and `test.jsonl`.
        split: "train" or "test".
        settings: `autoreset_mode` and `copy` of `TokenVectorEnv`.
    """
    return TokenVectorEnv(num_envs, _gsm8k(data, split), **settings)
