"""Demonstrations on text: episodes from written solutions, and their writer as a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Demonstrations, Episode, TokenEpisode
from irlbench.envs.text.token_mdp import STOP, Tokenizer
from irlbench.errors import DataError
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator


class Solved(Protocol):
    """A prompt with its solution."""

    @property
    def prompt(self) -> str:
        """What a policy is given."""

    @property
    def solution(self) -> str:
        """What the demonstrator writes."""


def episode(item: Solved, tokenizer: Tokenizer) -> TokenEpisode:
    """A prompt, its solution and the end of sequence as ids.

    Args:
        item: A prompt with its solution.
        tokenizer: Writes the ids.
    """
    prompt, solution = tokenizer.encode_prompt(item.prompt), tokenizer.encode(item.solution)
    ends = np.array([tokenizer.eos_id], dtype=np.int32)
    tokens = np.concatenate([prompt, solution, ends])
    return TokenEpisode(tokens, len(prompt), np.arange(len(tokens)) >= len(prompt), STOP)


def fitting(items: Iterable[Solved], tokenizer: Tokenizer, horizon: int) -> Iterator[TokenEpisode]:
    """Episodes of those solutions that the horizon would not cut.

    Args:
        items: Prompts with their solutions.
        tokenizer: Writes the ids.
        horizon: Most tokens of a completion, the end of sequence included.

    Yields:
        Episodes, in the order of the items.
    """
    return (e for e in (episode(item, tokenizer) for item in items) if len(e) <= horizon)


def demonstrations(
    items: Sequence[Solved], tokenizer: Tokenizer, horizon: int, name: str
) -> Demonstrations[TokenEpisode]:
    """Episodes of solutions; those that the horizon would cut are left out and counted.

    Args:
        items: Prompts with their solutions.
        tokenizer: Writes the ids.
        horizon: Most tokens of a completion, the end of sequence included.
        name: Of the set, for its provenance.

    Raises:
        DataError: If none is short enough.
    """
    kept = tuple(fitting(items, tokenizer, horizon))
    if not kept:
        raise DataError(f"none of {len(items)} solutions of {name} fits {horizon} tokens")
    provenance = {
        "name": name,
        "episodes": len(kept),
        "longer_than_horizon": len(items) - len(kept),
    }
    return Demonstrations(kept, provenance)


class DemonstratorPolicy(Policy):
    """Writes what a demonstrator by rule writes, token by token.

    Args:
        solve: Solution of a prompt, both as text.
        tokenizer: Reads and writes the ids.
    """

    kind: ClassVar[str] = "demonstrator"

    def __init__(self, solve: Callable[[str], str], tokenizer: Tokenizer) -> None:
        self._solve, self._tokenizer = solve, tokenizer

    def _completion(self, prompt: NDArray[np.int32]) -> NDArray[np.int32]:
        text = self._tokenizer.decode_prompt(prompt)
        ends = np.array([self._tokenizer.eos_id], dtype=np.int32)
        return np.concatenate([self._tokenizer.encode(self._solve(text)), ends])

    def act(
        self,
        observations: Any,
        state: Any = None,
        *,
        reset_mask: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        generator: RowGenerator,
    ) -> tuple[NDArray[Any], Any]:
        """See `Policy.act`. The state is the solution of each row."""
        solutions: list[NDArray[np.int32]] = list(state or [])
        tokens, starts = observations["tokens"], observations["prompt_length"]
        written = np.asarray(observations["length"]) - starts
        for row in np.flatnonzero(np.ones(len(tokens), bool) if state is None else written == 0):
            solution = self._completion(np.asarray(tokens[row, : starts[row]]))
            if state is None:
                solutions.append(solution)
            else:
                solutions[row] = solution
        at = [min(int(n), len(s) - 1) for n, s in zip(written, solutions, strict=True)]
        return np.array([s[i] for i, s in zip(at, solutions, strict=True)]), solutions

    def score(self, episodes: Sequence[Episode | TokenEpisode]) -> list[NDArray[np.float64]]:
        """See `Policy.score`: 0 for what it would write, minus infinity for anything else."""
        found = []
        for item in episodes:
            if not isinstance(item, TokenEpisode):
                raise DataError("a demonstrator of text scores episodes of tokens")
            wanted = self._completion(item.tokens[: item.prompt_length])
            written = item.tokens[item.action_mask]
            same = np.zeros(len(written), dtype=bool)
            n = min(len(wanted), len(written))
            same[:n] = np.cumprod(wanted[:n] == written[:n]).astype(bool)
            found.append(np.where(same, 0.0, -np.inf))
        return found
