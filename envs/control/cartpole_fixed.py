"""CartPole in which no episode ends early: the pole may fall and swing, and be caught again.

After the variant in seals (Gleave et al., 2020): a step pays 1 while cart and pole are where
Gymnasium's CartPole lets an episode go on, else 0, and the simulation goes on in either case. So the
length of an episode tells nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from irlbench.envs.control.native import System, SystemEnv, SystemVectorEnv

# Barto, Sutton and Anderson (1983), as in Gymnasium's CartPole-v1: SI units.
GRAVITY, FORCE, SECONDS = 9.8, 10.0, 0.02
POLE_MASS, TOTAL_MASS, HALF_LENGTH = 0.1, 1.1, 0.5
FARTHEST, STEEPEST = 2.4, 12 * 2 * np.pi / 360
_START = 0.05


class CartPoleSystem(System):
    """A pole on a cart. States: position, its velocity, angle in [-pi, pi), its velocity."""

    numbers: ClassVar[int] = 4

    def __init__(self) -> None:
        # Nothing stops the cart: a policy that pushes one way all the time goes far.
        most = float(np.finfo(np.float32).max)
        high = np.array([most, most, np.pi, most], dtype=np.float32)
        self.observation_space = spaces.Box(-high, high)
        self.action_space = spaces.Discrete(2)

    def start(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `System.start`: nearly upright and at rest, as in Gymnasium's."""
        return np.asarray(_START * (2 * uniform - 1))

    def advance(
        self, states: NDArray[np.float64], actions: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `System.advance`: a step of Euler's, as in Gymnasium's."""
        x, speed, angle, turning = states
        force = np.where(actions == 1, FORCE, -FORCE)
        cos, sin = np.cos(angle), np.sin(angle)
        moment = POLE_MASS * HALF_LENGTH
        push = (force + moment * np.square(turning) * sin) / TOTAL_MASS
        angular = (GRAVITY * sin - cos * push) / (
            HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * np.square(cos) / TOTAL_MASS)
        )
        linear = push - moment * angular * cos / TOTAL_MASS
        turned = angle + SECONDS * turning
        inside = np.abs(turned) < np.pi  # exact where nothing has to be wrapped
        wrapped = np.where(inside, turned, (turned + np.pi) % (2 * np.pi) - np.pi)
        after = np.stack(
            [x + SECONDS * speed, speed + SECONDS * linear, wrapped, turning + SECONDS * angular]
        )
        stands = (np.abs(after[0]) <= FARTHEST) & (np.abs(wrapped) <= STEEPEST)
        return after, stands.astype(np.float64)

    def observe(self, states: NDArray[np.float64]) -> NDArray[np.float32]:
        """See `System.observe`: the state."""
        return np.ascontiguousarray(states.T, dtype=np.float32)

    def draw(self, state: NDArray[np.float64]) -> NDArray[np.uint8]:
        """See `System.draw`. The view goes with a cart that has left the track."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (600, 400), "white")
        draw = ImageDraw.Draw(image)
        scale = 600 / (2 * FARTHEST)
        lap = round(state[0] / (2 * FARTHEST))
        x, y = 300 + scale * (state[0] - lap * 2 * FARTHEST), 300
        draw.line([(0, y), (600, y)], fill="black")
        draw.rectangle([x - 25, y - 15, x + 25, y + 15], fill="black")
        tip = (
            x + scale * 2 * HALF_LENGTH * np.sin(state[2]),
            y - scale * 2 * HALF_LENGTH * np.cos(state[2]),
        )
        draw.line([(x, y), tip], fill=(202, 152, 101), width=10)
        return np.asarray(image)


class CartPoleFixedEnv(SystemEnv):
    """One cart; see `CartPoleSystem`.

    Args:
        render_mode: "rgb_array" or None.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(CartPoleSystem(), render_mode)


class CartPoleFixedVectorEnv(SystemVectorEnv):
    """A batch of carts; see `CartPoleSystem` and `SystemVectorEnv`.

    Args:
        num_envs: Rows.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self, num_envs: int, max_episode_steps: int | None = None, render_mode: str | None = None
    ) -> None:
        super().__init__(num_envs, CartPoleSystem(), max_episode_steps, render_mode)
