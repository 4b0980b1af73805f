"""The token-level MDP as plain Gymnasium environments, one episode or a batch of them.

State: the tokens so far. Action: the next token. Transition: append. The reward is zero until
the episode ends, then the task's. The horizon belongs to this MDP (the observation shows it), so
an episode terminates at the end-of-sequence token and at the horizon alike; nothing truncates.
Ids go in and come out: text is decoded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from irlbench.envs.text.tokenizer import pad_right
from irlbench.errors import DataError
from irlbench.randomness import row_keys, uniforms

Observation = dict[str, Any]

#: Why an episode ended: end-of-sequence was chosen, or the horizon was reached.
STOP, LENGTH = "stop", "length"
#: Most tokens of all prompts, padded to the longest; 1 GiB. GSM8K's take four million bytes.
_MOST_TOKENS = 2**28


class Tokenizer(Protocol):
    """What the environments need of a tokenizer."""

    vocabulary: int
    eos_id: int
    pad_id: int

    def encode(self, text: str) -> NDArray[np.int32]:
        """Ids of a text, without special ids, `[length]`."""

    def encode_prompt(self, text: str) -> NDArray[np.int32]:
        """Ids of a prompt, with what the model expects in front, `[length]`."""

    def decode_prompt(self, ids: NDArray[np.int32]) -> str:
        """What `encode_prompt` was given."""

    def decode(self, ids: NDArray[np.int32]) -> str:
        """Text of ids; special ids appear by name."""


@dataclass(frozen=True, eq=False)
class TokenMDP:
    """What an environment of this kind is made of; shared by all rows, never copied.

    Attributes:
        prompts: Ids of every prompt, padded on the right, int32 `[prompts, longest]`.
        prompt_lengths: int64 `[prompts]`.
        horizon: Most tokens of a completion.
        reward: Of a prompt's index and a completion that ended by itself.
        cut_reward: Of a completion that the horizon cut.
        tokenizer: Reads and writes the ids.
    """

    prompts: NDArray[np.int32]
    prompt_lengths: NDArray[np.int64]
    horizon: int
    reward: Callable[[int, str], float]
    cut_reward: float
    tokenizer: Tokenizer

    @classmethod
    def over(
        cls,
        prompts: Sequence[str],
        *,
        horizon: int,
        reward: Callable[[int, str], float],
        tokenizer: Tokenizer,
        cut_reward: float = 0.0,
    ) -> TokenMDP:
        """Builds one from prompts as text.

        Args:
            prompts: At least one.
            horizon: Most tokens of a completion.
            reward: Of a prompt's index and a completion that ended by itself.
            tokenizer: Reads and writes the ids.
            cut_reward: Of a completion that the horizon cut.

        Raises:
            ValueError: If there is no prompt, or the horizon is not positive.
            DataError: If one is empty, or, padded to the longest, they would take too much memory.
        """
        if not prompts or horizon < 1:
            raise ValueError(f"{len(prompts)} prompts and horizon {horizon}: both at least 1")
        ids = [tokenizer.encode_prompt(prompt) for prompt in prompts]
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        if not lengths.all():
            raise DataError("a prompt of no tokens", row=int(lengths.argmin()))
        if len(ids) * int(lengths.max()) > _MOST_TOKENS:
            raise DataError(
                f"the longest of {len(ids):,} prompts has {int(lengths.max()):,} tokens; padded to "
                f"it they would have more than {_MOST_TOKENS:,}: take it out",
                row=int(lengths.argmax()),
            )
        padded = pad_right(ids, tokenizer.pad_id)
        for array in (padded, lengths):
            array.flags.writeable = False
        return cls(padded, lengths, horizon, reward, cut_reward, tokenizer)

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def width(self) -> int:
        """Tokens of the longest episode: longest prompt and horizon."""
        return self.prompts.shape[1] + self.horizon

    @property
    def observation_space(self) -> spaces.Dict:
        """Padded ids, how many are set, how many are the prompt, and which were actions."""
        vocabulary, width = self.tokenizer.vocabulary, self.width
        return spaces.Dict(
            {
                "tokens": spaces.Box(0, vocabulary - 1, (width,), np.int32),
                "length": spaces.Discrete(width + 1),
                "prompt_length": spaces.Discrete(width + 1),
                "action_mask": spaces.MultiBinary(width),
            }
        )

    @property
    def action_space(self) -> spaces.Discrete:
        """The vocabulary."""
        return spaces.Discrete(self.tokenizer.vocabulary)

    def completion(self, tokens: NDArray[np.int32]) -> str:
        """Text of a completion's ids, a closing end-of-sequence left out.

        Args:
            tokens: The ids after the prompt, `[length]`.
        """
        ended = len(tokens) > 0 and tokens[-1] == self.tokenizer.eos_id
        return self.tokenizer.decode(tokens[:-1] if ended else tokens)


class TokenVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """A batch of episodes in one preallocated array.

    Row i of a batch reset with seed s is the single environment reset with s + i. Which prompt
    an episode begins with is a function of the row's seed and the episode's number.

    Args:
        num_envs: Rows.
        mdp: Prompts, horizon and reward.
        autoreset_mode: `NEXT_STEP`, or `DISABLED`: then ended rows stay as they are, whatever is
            done to them, until `reset(options={"reset_mask": ...})`.
        copy: Observations are copies; False hands out the arrays that the next step changes.
    """

    def __init__(
        self,
        num_envs: int,
        mdp: TokenMDP,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.SAME_STEP:
            raise ValueError("same-step autoreset is not supported; use next-step or disabled")
        self.num_envs, self.mdp, self._copy, self._mode = num_envs, mdp, copy, mode
        self.metadata = {"autoreset_mode": mode, "render_modes": ["ansi"]}
        self.render_mode = None
        self.single_observation_space = mdp.observation_space
        self.single_action_space = mdp.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._tokens = np.full((num_envs, mdp.width), mdp.tokenizer.pad_id, dtype=np.int32)
        self._mask = np.zeros((num_envs, mdp.width), dtype=np.int8)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._prompt_lengths = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.ones(num_envs, dtype=bool)
        self._keys: NDArray[np.uint64] | None = None
        self._episodes = np.zeros(num_envs, dtype=np.int64)
        #: Index of the prompt of each row, int64 `[num_envs]`.
        self.prompt_index = np.zeros(num_envs, dtype=np.int64)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: Row i gets seed + i, or entry i of a list; None goes on with the rows' streams.
            options: `reset_mask`, bool `[num_envs]`: which rows; `prompt_index`, integers
                `[num_envs]`: which prompts, instead of drawing them.

        Raises:
            ValueError: If a seed is negative or an index is out of range.
        """
        options = options or {}
        rows = np.asarray(options.get("reset_mask", np.ones(self.num_envs, dtype=bool)), dtype=bool)
        self._seed_rows(seed)
        chosen = options.get("prompt_index")
        if chosen is not None:
            chosen = np.broadcast_to(np.asarray(chosen, dtype=np.int64), (self.num_envs,))
            if ((chosen < 0) | (chosen >= len(self.mdp))).any():
                raise ValueError(f"prompt_index must lie in [0, {len(self.mdp)}), got {chosen}")
        self._begin(rows, chosen)
        return self._observe(), {}

    def _seed_rows(self, seed: int | Sequence[int | None] | None) -> None:
        if seed is None:
            if self._keys is not None:
                return
            seed = int(self.np_random.integers(2**30))
        if isinstance(seed, int | np.integer):
            seeds: list[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs or any(s is not None and s < 0 for s in seeds):
            raise ValueError(f"{self.num_envs} seeds from 0 on are needed, got {seed}")
        if self._keys is None:
            self._keys = row_keys(self.np_random.integers(2**30, size=self.num_envs))
        given = np.array([s is not None for s in seeds])
        self._keys[given] = row_keys(np.array([s for s in seeds if s is not None], dtype=np.int64))
        self._episodes[given] = 0

    def _begin(self, rows: NDArray[np.bool_], chosen: NDArray[np.int64] | None = None) -> None:
        assert self._keys is not None
        if chosen is None:
            drawn = uniforms(self._keys[rows], self._episodes[rows]) * len(self.mdp)
            self.prompt_index[rows] = drawn.astype(np.int64)
        else:
            self.prompt_index[rows] = chosen[rows]
        self._episodes[rows] += 1
        index = self.prompt_index[rows]
        longest = self.mdp.prompts.shape[1]
        self._tokens[rows, :longest] = self.mdp.prompts[index]
        self._tokens[rows, longest:] = self.mdp.tokenizer.pad_id
        self._mask[rows] = 0
        self._prompt_lengths[rows] = self._lengths[rows] = self.mdp.prompt_lengths[index]
        self._ended[rows] = False

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Appends one token to every row that is under way.

        Args:
            actions: Token ids, `[num_envs]`; those of rows that only reset are not read.

        Returns:
            Observations, rewards float64, terminations, truncations (all false), and `info` with
            `finish_reason` ("stop", "length", or "") where an episode ended.

        Raises:
            ValueError: If an id is out of range, or there are not `num_envs` of them.
        """
        if self._keys is None:
            raise gymnasium.error.ResetNeeded("call reset before the first step")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"{self.num_envs} actions are needed, got shape {actions.shape}")
        live = ~self._ended
        if self._mode is AutoresetMode.NEXT_STEP and not live.all():
            self._begin(self._ended.copy())
        rows = np.flatnonzero(live)
        taken = actions[rows].astype(np.int64)
        if ((taken < 0) | (taken >= self.mdp.tokenizer.vocabulary)).any():
            raise ValueError(
                f"token ids lie in [0, {self.mdp.tokenizer.vocabulary}), got {actions}"
            )
        at = self._lengths[rows]
        self._tokens[rows, at] = taken
        self._mask[rows, at] = 1
        self._lengths[rows] = at + 1
        stopped = taken == self.mdp.tokenizer.eos_id
        cut = ~stopped & (at + 1 - self._prompt_lengths[rows] >= self.mdp.horizon)
        rewards, info = self._finish(rows[stopped], rows[cut])
        terminations = np.zeros(self.num_envs, dtype=bool)
        terminations[rows] = stopped | cut
        self._ended |= terminations
        return self._observe(), rewards, terminations, np.zeros_like(terminations), info

    def _finish(
        self, stopped: NDArray[np.int64], cut: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        if not len(stopped) and not len(cut):
            return rewards, {}
        for row in stopped:
            text = self.mdp.completion(self.completion_ids(int(row)))
            rewards[row] = self.mdp.reward(int(self.prompt_index[row]), text)
        rewards[cut] = self.mdp.cut_reward
        reasons = np.full(self.num_envs, "", dtype=object)
        reasons[stopped], reasons[cut] = STOP, LENGTH
        return rewards, {"finish_reason": reasons, "_finish_reason": reasons != ""}

    def alter_reward(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Changes the reward that is paid. For audits: a learner must not notice.

        Args:
            change: From true rewards to others, elementwise.
        """
        true = self.mdp

        def reward(index: int, completion: str) -> float:
            return float(change(np.array([true.reward(index, completion)]))[0])

        cut = float(change(np.array([true.cut_reward]))[0])
        self.mdp = replace(true, reward=reward, cut_reward=cut)

    def completion_ids(self, row: int) -> NDArray[np.int32]:
        """Ids that a row has written so far, `[length - prompt_length]`."""
        return self._tokens[row, self._prompt_lengths[row] : self._lengths[row]].copy()

    def prompt_ids(self, row: int) -> NDArray[np.int32]:
        """Ids of a row's prompt, `[prompt_length]`."""
        return self._tokens[row, : self._prompt_lengths[row]].copy()

    def _observe(self) -> Observation:
        # In the order of the space, which a Dict space sorts by name.
        shown: dict[str, NDArray[Any]] = {
            "action_mask": self._mask,
            "length": self._lengths,
            "prompt_length": self._prompt_lengths,
            "tokens": self._tokens,
        }
        return {k: v.copy() for k, v in shown.items()} if self._copy else shown


class TokenEnv(gymnasium.Env[Observation, np.int64]):
    """One episode at a time; row 0 of a batch of one.

    Args:
        mdp: Prompts, horizon and reward.
        render_mode: None, or "ansi": `render` gives prompt, completion and reward as text.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, mdp: TokenMDP, *, render_mode: str | None = None) -> None:
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode {render_mode!r}; there are None and 'ansi'")
        self.mdp, self.render_mode = mdp, render_mode
        self._batch = TokenVectorEnv(1, mdp, autoreset_mode=AutoresetMode.DISABLED)
        self.observation_space = mdp.observation_space
        self.action_space = mdp.action_space
        self._seeded, self._ended, self._reward = False, True, 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Restarts the stream that prompts are drawn from.
            options: `prompt_index`: which prompt, instead of drawing one.
        """
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**30))
        self._seeded, self._ended, self._reward = True, False, 0.0
        observations, _ = self._batch.reset(seed=seed, options=options)
        return self._row(observations), {}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends a token.

        Args:
            action: Its id.

        Returns:
            Observation, reward, terminated, False, and `info` with `finish_reason` at the end.
        """
        if self._ended:
            raise gymnasium.error.ResetNeeded("the episode has ended: call reset")
        observations, rewards, terminations, _, info = self._batch.step(np.array([action]))
        self._reward, self._ended = float(rewards[0]), bool(terminations[0])
        reason = {"finish_reason": info["finish_reason"][0]} if self._ended else {}
        return self._row(observations), self._reward, self._ended, False, reason

    def _row(self, observations: Observation) -> Observation:
        return {k: v[0] for k, v in observations.items()}

    def render(self) -> str | None:
        """Prompt, completion and reward as text, where `render_mode` is "ansi"."""
        if self.render_mode is None:
            return None
        prompt = self.mdp.tokenizer.decode_prompt(self._batch.prompt_ids(0))
        text = self.mdp.tokenizer.decode(self._batch.completion_ids(0))
        return f"{prompt}{text}\n[reward {self._reward:g}]"
