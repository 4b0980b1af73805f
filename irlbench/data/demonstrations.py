"""Demonstrations: frozen episodes without rewards.

Two kinds of episode exist: `Episode` for environments with fixed-size observations and
`TokenEpisode` for the token-level MDP, where an episode is one array of ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from irlbench.errors import DataError


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False, repr=False)
class Episode:
    """One demonstrated episode of T steps.

    Attributes:
        observations: `[T + 1, ...]`; the last one is what the last action led to.
        actions: `[T, ...]`, or None where only observations were recorded.
        terminations: bool `[T]`: the environment ended the episode.
        truncations: bool `[T]`: something outside the environment did (a time limit).
        following: What each action led to, `[T, ...]`, where steps between were left out; else
            None. Read `next_observations`, which is there always.
    """

    observations: NDArray[Any]
    actions: NDArray[Any] | None
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    following: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        steps = len(self.terminations)
        if len(self.observations) != steps + 1:
            raise DataError(
                f"an episode of {steps} steps needs {steps + 1} observations, "
                f"got {len(self.observations)}",
                field="observations",
            )
        if self.actions is not None and len(self.actions) != steps:
            raise DataError(
                f"an episode of {steps} steps needs {steps} actions, got {len(self.actions)}",
                field="actions",
            )
        if len(self.truncations) != steps:
            raise DataError(
                f"{steps} terminations, but {len(self.truncations)} truncations",
                field="truncations",
            )
        if self.following is not None and len(self.following) != steps:
            raise DataError(
                f"{steps} steps, but {len(self.following)} led anywhere", field="following"
            )
        for name in ("observations", "actions", "terminations", "truncations", "following"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _frozen(np.asarray(value)))

    def __len__(self) -> int:
        return len(self.terminations)

    @property
    def next_observations(self) -> NDArray[Any]:
        """What each action truly led to, `[T, ...]`."""
        return self.observations[1:] if self.following is None else self.following

    def subsampled(self, every: int) -> Episode:
        """Every k-th of its steps, from the first on, each with what it truly led to.

        Args:
            every: k, from 1 on; 1 is the episode itself.
        """
        if every == 1:
            return self
        kept, led = slice(0, len(self), every), self.next_observations[::every]
        return Episode(
            np.concatenate([self.observations[:-1][kept], led[-1:]]),
            None if self.actions is None else self.actions[kept],
            self.terminations[kept],
            self.truncations[kept],
            led,
        )

    def segment(self, first: int, beyond: int) -> Episode:
        """Some steps of it, with the observation that the last of them led to.

        Args:
            first: The first step.
            beyond: The one after the last.
        """
        return Episode(
            self.observations[first : beyond + 1],
            None if self.actions is None else self.actions[first:beyond],
            self.terminations[first:beyond],
            self.truncations[first:beyond],
            None if self.following is None else self.following[first:beyond],
        )

    def __repr__(self) -> str:
        actions = None if self.actions is None else self.actions.shape
        return (
            f"Episode(steps={len(self)}, observations={self.observations.shape}, "
            f"actions={actions}, terminated={bool(self.terminations[-1:].any())})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class TokenEpisode:
    """One demonstrated episode of the token-level MDP: a prompt and its completion.

    Attributes:
        tokens: Prompt and completion, int32 `[length]`.
        prompt_length: How many leading tokens are the prompt.
        action_mask: bool `[length]`: which tokens were the policy's.
        finish_reason: "stop" (end of sequence was chosen) or "length" (the horizon).
    """

    tokens: NDArray[np.int32]
    prompt_length: int
    action_mask: NDArray[np.bool_]
    finish_reason: str

    def __post_init__(self) -> None:
        if not 0 < self.prompt_length < len(self.tokens):
            raise DataError(
                f"a token episode needs a prompt and a completion, got {len(self.tokens)} tokens "
                f"of which {self.prompt_length} are the prompt",
                field="prompt_length",
            )
        if len(self.action_mask) != len(self.tokens):
            raise DataError(
                f"{len(self.tokens)} tokens, but a mask of {len(self.action_mask)}",
                field="action_mask",
            )
        object.__setattr__(self, "tokens", _frozen(np.asarray(self.tokens, dtype=np.int32)))
        object.__setattr__(self, "action_mask", _frozen(np.asarray(self.action_mask, dtype=bool)))

    def __len__(self) -> int:
        return int(self.action_mask.sum())

    def __repr__(self) -> str:
        return (
            f"TokenEpisode(prompt={self.prompt_length}, actions={len(self)}, "
            f"finish_reason={self.finish_reason!r})"
        )


@dataclass(frozen=True, eq=False)
class Transitions:
    """Steps of several episodes, one after the other.

    Attributes:
        observations: `[steps, ...]`.
        actions: `[steps, ...]`.
        next_observations: `[steps, ...]`, what the action truly led to.
        terminations: bool `[steps]`.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    next_observations: NDArray[Any]
    terminations: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.terminations)


AnyEpisode = TypeVar("AnyEpisode", Episode, TokenEpisode)


@dataclass(frozen=True, eq=False, repr=False)
class Demonstrations(Generic[AnyEpisode]):
    """A frozen list of episodes of one kind.

    Attributes:
        episodes: The episodes.
        provenance: Where they come from: name, recipe and hashes, JSON values only.
    """

    episodes: tuple[AnyEpisode, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.episodes)

    def __iter__(self) -> Iterator[AnyEpisode]:
        return iter(self.episodes)

    def __getitem__(self, index: int) -> AnyEpisode:
        return self.episodes[index]

    def __repr__(self) -> str:
        return f"Demonstrations(episodes={len(self)}, steps={self.steps})"

    @property
    def steps(self) -> int:
        """Transitions over all episodes (on text: the policy's tokens)."""
        return sum(len(episode) for episode in self.episodes)

    def draw(self, count: int | None, seed: int) -> Demonstrations[AnyEpisode]:
        """Draws episodes without replacement; equal seeds draw equal episodes.

        Smaller draws at a seed are prefixes of larger ones.

        Args:
            count: How many, or None for all of them in their order.
            seed: The trial's seed.

        Raises:
            DataError: If there are fewer than `count` episodes.
        """
        if count is None:
            return self
        if not 0 < count <= len(self):
            raise DataError(f"{count} demonstrations asked for, {len(self)} there are")
        order = np.random.default_rng([seed, 0xDE305]).permutation(len(self))[:count]
        return Demonstrations(tuple(self.episodes[i] for i in order), self.provenance)

    def transitions(self, subsample: int = 1) -> Transitions:
        """Flattens episodes into steps.

        Args:
            subsample: Keep every k-th step of each episode, from the first on. The next
                observation stays the true one, one environment step later.

        Returns:
            The kept steps of all episodes, in order.

        Raises:
            DataError: If the episodes are tokens, or hold no actions.
        """
        if subsample < 1:
            raise DataError(f"subsample must be at least 1, got {subsample}")
        kept: list[Episode] = []
        for episode in self.episodes:
            if not isinstance(episode, Episode):
                raise DataError("token episodes have no fixed-size transitions; read `tokens`")
            if episode.actions is None:
                raise DataError("these demonstrations hold observations only", field="actions")
            kept.append(episode)
        parts = [slice(0, len(episode), subsample) for episode in kept]
        return Transitions(
            observations=_join(e.observations[:-1][p] for e, p in zip(kept, parts, strict=True)),
            actions=_join(
                e.actions[p] for e, p in zip(kept, parts, strict=True) if e.actions is not None
            ),
            next_observations=_join(
                e.next_observations[p] for e, p in zip(kept, parts, strict=True)
            ),
            terminations=_join(e.terminations[p] for e, p in zip(kept, parts, strict=True)),
        )


def _join(arrays: Iterator[NDArray[Any]] | Sequence[NDArray[Any]]) -> NDArray[Any]:
    joined = np.concatenate(list(arrays))
    joined.flags.writeable = False
    return joined
