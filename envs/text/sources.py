"""Where a text task's prompts and solutions come from: generated sums, or files of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from irlbench.envs.text import arithmetic, gsm8k
from irlbench.envs.text.demonstrator import Solved
from irlbench.envs.text.environments import arithmetic_mdp, gsm8k_mdp
from irlbench.envs.text.token_mdp import Tokenizer, TokenMDP
from irlbench.serialisation import sha256_file

#: Sums that demonstrations are drawn from, and that interaction begins with.
POOL = 1024


class Source(ABC):
    """Prompts with their solutions, apart by split.

    Attributes:
        solve: The demonstrator as a rule, or None where solutions were written by people.
    """

    solve: Callable[[str], str] | None = None

    @abstractmethod
    def items(self, split: str) -> Sequence[Solved]:
        """Prompts with solutions of "train", "validation", "test" or "longer" (may be none)."""

    @abstractmethod
    def mdp(self, items: Sequence[Any], tokenizer: Tokenizer) -> TokenMDP:
        """The token-level MDP over some of the items."""

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file of the user's that was read."""
        return {}


class ArithmeticSource(Source):
    """Sums of two- and three-digit numbers; the longer ones have four digits.

    Args:
        protocol: Holds `test_prompts`, `validation_prompts` and `longer_prompts`.
    """

    solve = staticmethod(arithmetic.demonstrate)

    def __init__(self, protocol: Mapping[str, Any]) -> None:
        self._protocol = protocol

    def items(self, split: str) -> Sequence[arithmetic.Sum]:
        """See `Source.items`."""
        if split == "longer":
            return arithmetic.draw_longer(self._protocol["longer_prompts"], seed=0)
        count = POOL if split == "train" else self._protocol[f"{split}_prompts"]
        return arithmetic.draw_sums(split, count, seed=1)

    def mdp(self, items: Sequence[Any], tokenizer: Tokenizer) -> TokenMDP:
        """See `Source.mdp`."""
        return arithmetic_mdp(list(items), tokenizer)


class GSM8KSource(Source):
    """Word problems from the user's files; validation is the end of the training file.

    Args:
        data: The folder that `--data` named.
        protocol: Holds `test_prompts` and `validation_prompts`.

    Raises:
        UsageError: If there is no such folder.
        DataError: If a file is missing.
    """

    def __init__(self, data: str | None, protocol: Mapping[str, Any]) -> None:
        self._folder = gsm8k.data_folder(data)
        self._protocol = protocol

    @cached_property
    def _train(self) -> list[gsm8k.WordProblem]:
        return gsm8k.read_problems(self._folder / gsm8k.FILES[0])

    @cached_property
    def _test(self) -> list[gsm8k.WordProblem]:
        return gsm8k.read_problems(self._folder / gsm8k.FILES[1])

    def items(self, split: str) -> Sequence[gsm8k.WordProblem]:
        """See `Source.items`. Of a small training file, at most a half is for validation."""
        if split == "longer":
            return []
        if split == "test":
            return self._test[: self._protocol["test_prompts"]]
        held = max(min(self._protocol["validation_prompts"], len(self._train) // 2), 1)
        return self._train[-held:] if split == "validation" else self._train[:-held]

    def mdp(self, items: Sequence[Any], tokenizer: Tokenizer) -> TokenMDP:
        """See `Source.mdp`."""
        return gsm8k_mdp(list(items), tokenizer)

    def hashes(self) -> dict[str, str]:
        """See `Source.hashes`."""
        return {name: sha256_file(Path(self._folder) / name) for name in gsm8k.FILES}
