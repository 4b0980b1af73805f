"""Where a text task's prompts and solutions come from: generated sums, or files of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from irlbench.envs.text import arithmetic, gsm8k
from irlbench.envs.text.demonstrator import Solved
from irlbench.envs.text.environments import arithmetic_mdp, gsm8k_mdp
from irlbench.envs.text.token_mdp import Tokenizer, TokenMDP
from irlbench.errors import DataError
from irlbench.serialisation import sha256_file
from irlbench.task import TaskInfo


class Source(ABC):
    """Prompts with their solutions, apart by split.

    Args:
        info: What the task declares: its horizon, protocol and recipe are read here.

    Attributes:
        solve: The demonstrator as a rule, or None where solutions were written by people.
    """

    solve: Callable[[str], str] | None = None

    def __init__(self, info: TaskInfo) -> None:
        self._horizon, self._protocol = info.horizon, info.protocol
        self._recipe = info.recipe["demonstrations"]

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
    """Sums, as many and of as many digits as protocol and recipe say.

    Interaction begins with the sums that demonstrations are drawn from.
    """

    solve = staticmethod(arithmetic.demonstrate)

    def items(self, split: str) -> Sequence[arithmetic.Sum]:
        """See `Source.items`."""
        asked = self._protocol
        if split == "longer":
            return arithmetic.draw_longer(
                asked["longer_prompts"],
                asked["longer_prompts_seed"],
                digits=_digits(asked["longer_digits"]),
            )
        if split == "train":
            pool = self._recipe
            return arithmetic.draw_sums(
                split, pool["pool"], pool["seed"], digits=_digits(pool["digits"])
            )
        return arithmetic.draw_sums(
            split, asked[f"{split}_prompts"], asked["prompts_seed"], digits=_digits(asked["digits"])
        )

    def mdp(self, items: Sequence[Any], tokenizer: Tokenizer) -> TokenMDP:
        """See `Source.mdp`."""
        return arithmetic_mdp(list(items), tokenizer, self._horizon, self._protocol["cut_reward"])


def _digits(declared: Sequence[int]) -> tuple[int, int]:
    fewest, most = declared
    return fewest, most


class GSM8KSource(Source):
    """Word problems from the user's files; validation is the end of the training file.

    Args:
        data: The folder that `--data` named.
        info: See `Source`.

    Raises:
        UsageError: If there is no such folder.
        DataError: If a file is missing.
    """

    def __init__(self, data: str | None, info: TaskInfo) -> None:
        super().__init__(info)
        self._folder = gsm8k.data_folder(data)

    @cached_property
    def _train(self) -> list[gsm8k.WordProblem]:
        found = gsm8k.read_problems(self._folder / gsm8k.FILES[0])
        if len(found) < 2:
            raise DataError(
                "holds a single problem; at least two are needed, as validation takes one",
                file=gsm8k.FILES[0],
            )
        return found

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
        return gsm8k_mdp(list(items), tokenizer, self._horizon, self._protocol["cut_reward"])

    def hashes(self) -> dict[str, str]:
        """See `Source.hashes`."""
        return {name: sha256_file(Path(self._folder) / name) for name in gsm8k.FILES}
