"""Runs policies in control environments: for scores, and to record demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Episode
from irlbench.data.minari_store import Recording
from irlbench.envs.control.environments import make_one
from irlbench.policy import Policy
from irlbench.randomness import RowGenerator


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Episodes that a policy ran, one per seed.

    Attributes:
        returns: Undiscounted true return of each, `[episodes]`.
        lengths: Steps of each, int64 `[episodes]`.
        recording: The episodes themselves, where they were asked for.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    recording: Recording | None = None


class _Tape:
    """Collects the steps of one episode."""

    def __init__(self, first: Any) -> None:
        self.observations = [first]
        self.actions: list[Any] = []
        self.rewards: list[float] = []
        self.ends: list[tuple[bool, bool]] = []

    def episode(self, actions_dtype: Any) -> Episode:
        ends = np.array(self.ends, dtype=bool)
        return Episode(
            np.stack(self.observations),
            np.asarray(self.actions, dtype=actions_dtype),
            ends[:, 0],
            ends[:, 1],
        )


def run_episodes(
    environment: str,
    policy: Policy,
    seeds: Sequence[int],
    *,
    deterministic: bool,
    horizon: int,
    record: bool = False,
) -> Rollouts:
    """Runs one episode per seed, all as rows of one batch, each row until its own end.

    Row i is a single environment reset with `seeds[i]`, so an episode depends on its seed alone.
    The policy always acts on the whole batch: matrix products round alike whichever rows ended.

    Args:
        environment: Gymnasium id.
        policy: Acts; draws from stream 1 of the seeds.
        seeds: One per episode.
        deterministic: Whether the policy takes the mode of its distribution.
        horizon: Steps after which an episode is cut (and marked as truncated).
        record: Whether to keep the episodes.

    Returns:
        Returns and lengths, and the recording if asked for.
    """
    with rows_of(environment, len(seeds)) as envs:
        return run_rows(
            envs, policy, seeds, deterministic=deterministic, horizon=horizon, record=record
        )


@contextmanager
def rows_of(environment: str, rows: int) -> Iterator[list[gymnasium.Env[Any, Any]]]:
    """Environments for `run_rows`; making one of MuJoCo's takes as long as a hundred steps.

    Args:
        environment: Gymnasium id.
        rows: How many.
    """
    envs = [make_one(environment) for _ in range(rows)]
    try:
        yield envs
    finally:
        for env in envs:
            env.close()


def run_rows(
    envs: Sequence[gymnasium.Env[Any, Any]],
    policy: Policy,
    seeds: Sequence[int],
    *,
    deterministic: bool,
    horizon: int,
    record: bool = False,
) -> Rollouts:
    """What `run_episodes` does, in environments that may have run others before.

    Args:
        envs: One per seed.
        policy: See `run_episodes`, as for all that follows.
        seeds: One per episode.
        deterministic: Whether the policy takes the mode of its distribution.
        horizon: Steps after which an episode is cut.
        record: Whether to keep the episodes.

    Returns:
        Returns and lengths, and the recording if asked for.
    """
    rows = len(seeds)
    observations = np.stack([e.reset(seed=s)[0] for e, s in zip(envs, seeds, strict=True)])
    tapes = [_Tape(observations[i].copy()) for i in range(rows)] if record else []
    generator = RowGenerator(np.asarray(seeds, dtype=np.int64), stream=1)
    returns, lengths = np.zeros(rows), np.zeros(rows, dtype=np.int64)
    running, state = np.ones(rows, dtype=bool), None
    begins = np.ones(rows, dtype=bool)
    for step in range(1, horizon + 1):
        actions, state = policy.act(
            observations,
            state,
            reset_mask=begins,
            deterministic=deterministic,
            generator=generator,
        )
        begins[:] = False
        for i in np.flatnonzero(running).tolist():
            observation, reward, terminated, truncated, _ = envs[i].step(actions[i])
            truncated = truncated or (step == horizon and not terminated)
            observations[i] = observation
            returns[i] += float(reward)
            lengths[i] += 1
            running[i] = not (terminated or truncated)
            if record:
                tape = tapes[i]
                tape.observations.append(observations[i].copy())
                tape.actions.append(actions[i])
                tape.rewards.append(float(reward))
                tape.ends.append((terminated, truncated))
        if not running.any():
            break
    return Rollouts(returns, lengths, _recording(envs[0], tapes) if record else None)


def _recording(env: Any, tapes: list[_Tape]) -> Recording:
    dtype = env.action_space.dtype
    return Recording(
        [tape.episode(dtype) for tape in tapes],
        [np.array(tape.rewards, dtype=np.float64) for tape in tapes],
        env.observation_space,
        env.action_space,
    )
