"""Films of a policy acting in its task's environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from irlbench.errors import IrlbenchError, UsageError
from irlbench.policy import Policy
from irlbench.randomness import EVALUATION_SEEDS, RowGenerator
from irlbench.task import Task

#: A film shows at most so many pictures per second; of the steps between them none is seen.
MOST_PER_SECOND = 25
SUFFIXES = (".gif", ".mp4")


def check_suffix(out: Path) -> None:
    """Refuses a film of a kind that cannot be written.

    Raises:
        UsageError: If the name ends in neither .gif nor .mp4.
        IrlbenchError: If it ends in .mp4, and what writes that is not installed.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(f"a film ends in {' or '.join(SUFFIXES)}, got {out.name!r}")
    if out.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise IrlbenchError(
            "an mp4 needs imageio-ffmpeg: pip install imageio-ffmpeg, or name a .gif (--out)"
        )


def film(
    task: Task,
    policy: Policy,
    out: Path,
    *,
    episodes: int = 1,
    advance: Callable[[int], None] = lambda step: None,
) -> list[float]:
    """Writes a film of a policy on evaluation seeds, from the first one on.

    Args:
        task: The task. Where its protocol says so, the policy acts in deterministic mode.
        policy: Acts.
        out: Ends in .gif or .mp4.
        episodes: How many, one after the other.
        advance: Called with the number of steps made so far.

    Returns:
        The undiscounted true return of each episode.

    Raises:
        UsageError: If the task has no pictures.
        IrlbenchError: If what draws or writes them is not installed.
    """
    check_suffix(out)
    env = task.drawn_environment()
    try:
        rate = int(env.metadata.get("render_fps") or MOST_PER_SECOND)
        every = max(1, round(rate / MOST_PER_SECOND))
        returns = [0.0] * episodes
        _write(out, _pictures(env, policy, task, returns, every, advance), rate / every)
    finally:
        env.close()
    return returns


def _pictures(
    env: gymnasium.Env[Any, Any],
    policy: Policy,
    task: Task,
    returns: list[float],
    every: int,
    advance: Callable[[int], None],
) -> Iterator[NDArray[np.uint8]]:
    """A picture of every so many steps, and of the last one; adds up the rewards on the way."""
    protocol = task.info.protocol
    first = protocol.get("seeds", {}).get("test", EVALUATION_SEEDS)
    made = 0
    for episode in range(len(returns)):
        seed = int(first) + episode
        observation, _ = env.reset(seed=seed)
        generator, state = RowGenerator(np.array([seed]), stream=1), None
        yield _picture(env)
        for step in range(1, task.info.horizon + 1):
            actions, state = policy.act(
                np.asarray(observation)[None],
                state,
                reset_mask=np.array([step == 1]),
                deterministic=bool(protocol.get("deterministic", False)),
                generator=generator,
            )
            observation, reward, terminated, truncated, _ = env.step(actions[0])
            returns[episode] += float(reward)
            made += 1
            advance(made)
            ended = terminated or truncated or step == task.info.horizon
            if ended or step % every == 0:
                yield _picture(env)
            if ended:
                break


def _picture(env: gymnasium.Env[Any, Any]) -> NDArray[np.uint8]:
    return np.asarray(env.render(), dtype=np.uint8)


def _write(out: Path, pictures: Iterator[NDArray[np.uint8]], rate: float) -> None:
    if out.suffix == ".mp4":
        import imageio

        writer: Any = imageio.get_writer(out, fps=rate)
        with writer:
            for picture in pictures:
                writer.append_data(picture)
        return
    from PIL import Image

    # Dithering would change every pixel from picture to picture: nothing could be left out.
    frames = (
        Image.fromarray(picture).quantize(colors=128, dither=Image.Dither.NONE)
        for picture in pictures
    )
    first = next(frames)
    first.save(out, save_all=True, append_images=frames, duration=round(1000 / rate), loop=0)
