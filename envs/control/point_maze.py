"""A point mass in a box with a barrier, after Fu, Luo and Levine (2018), figure 3.

The point starts below the barrier, the goal lies above it, and the way leads through an opening at
one end. In the transfer variant the opening is at the other end: a copied policy runs into the
barrier, and a reward that was recovered as one of states leads around it.

Deviations from the paper's environment: motion is that of a damped point without rolling or
friction; there is no control cost (a thousandth of the squared force there), so that the true reward
is one of states alone; velocities are observed, since without them the state is hidden; the start is
drawn from a small rectangle, so that demonstrations are not all the same; the box is symmetric, so
that the variants are mirror images.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from irlbench.envs.control.native import System, SystemEnv, SystemVectorEnv

Side = Literal["right", "left"]

# In metres, as in the paper's code, with half a metre from start to goal.
LEFT, RIGHT, BOTTOM, TOP = -0.1, 0.7, -0.1, 0.6
BARRIER, OPENING = 0.3, 0.2
START, START_HALF = np.array([0.3, 0.0]), np.array([0.1, 0.05])
GOAL = np.array([0.3, 0.5])
#: Seconds per step, what is left of the velocity after one, and what a force of 1 adds to it: the
#: highest speed is `PUSH / (1 - KEPT)`, 0.6 metres per second.
SECONDS, KEPT, PUSH = 0.05, 0.8, 0.12
#: How far from the barrier a point that ran into it stays.
_GAP = 1e-3
_PIXELS = 500


class PointMazeSystem(System):
    """A point mass. States: position x and y, velocity x and y; the observation is the state.

    A step pays minus the distance from the goal, at the position that it leads to.

    Args:
        opening: At which end of the barrier the opening is.
    """

    numbers: ClassVar[int] = 2

    def __init__(self, opening: Side = "right") -> None:
        if opening not in ("right", "left"):
            raise ValueError(f"opening must be 'right' or 'left', got {opening!r}")
        self._opening = (RIGHT - OPENING, RIGHT) if opening == "right" else (LEFT, LEFT + OPENING)
        self.observation_space = spaces.Box(
            np.array([LEFT, BOTTOM, -1.0, -1.0], dtype=np.float32),
            np.array([RIGHT, TOP, 1.0, 1.0], dtype=np.float32),
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def start(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `System.start`: at rest, near `START`."""
        places = START[:, None] + START_HALF[:, None] * (2 * uniform - 1)
        return np.concatenate([places, np.zeros_like(places)])

    def advance(
        self, states: NDArray[np.float64], actions: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `System.advance`. Walls stop the part of the motion that leads into them."""
        force = np.clip(np.ascontiguousarray(actions.T, dtype=np.float64), -1.0, 1.0)
        x, y = states[:2]
        right, up = KEPT * states[2:] + PUSH * force
        to_x, to_y = x + SECONDS * right, y + SECONDS * up
        above, to_above = y >= BARRIER, to_y >= BARRIER
        # Where the path meets the line of the barrier; the steps that do not cross it do not count.
        rise = np.where(above == to_above, 1.0, to_y - y)
        meets = x + (BARRIER - y) / rise * (to_x - x)
        stopped = (above != to_above) & ~((meets >= self._opening[0]) & (meets <= self._opening[1]))
        to_y = np.where(stopped, np.where(above, BARRIER + _GAP, BARRIER - _GAP), to_y)
        up = np.where(stopped | (to_y < BOTTOM) | (to_y > TOP), 0.0, up)
        right = np.where((to_x < LEFT) | (to_x > RIGHT), 0.0, right)
        to_x, to_y = np.clip(to_x, LEFT, RIGHT), np.clip(to_y, BOTTOM, TOP)
        far = np.sqrt(np.square(to_x - GOAL[0]) + np.square(to_y - GOAL[1]))
        return np.stack([to_x, to_y, right, up]), -far

    def observe(self, states: NDArray[np.float64]) -> NDArray[np.float32]:
        """See `System.observe`: the state."""
        shown = states.T.astype(np.float32)
        # Rounding to float32 must not lead out of the box.
        space = self.observation_space
        return np.clip(shown, space.low, space.high)

    def draw(self, state: NDArray[np.float64]) -> NDArray[np.uint8]:
        """See `System.draw`."""
        from PIL import Image, ImageDraw

        scale = _PIXELS / (RIGHT - LEFT)

        def at(x: float, y: float) -> tuple[float, float]:
            return (x - LEFT) * scale, (TOP - y) * scale

        image = Image.new("RGB", (_PIXELS, round((TOP - BOTTOM) * scale)), "white")
        draw = ImageDraw.Draw(image)
        closed = (
            (LEFT, self._opening[0]) if self._opening[1] == RIGHT else (self._opening[1], RIGHT)
        )
        draw.line([at(closed[0], BARRIER), at(closed[1], BARRIER)], fill="black", width=6)
        for place, colour in ((GOAL, (40, 150, 60)), (state[:2], (40, 80, 200))):
            x, y = at(float(place[0]), float(place[1]))
            draw.ellipse([x - 10, y - 10, x + 10, y + 10], fill=colour)
        return np.asarray(image)


class PointMazeEnv(SystemEnv):
    """One maze; see `PointMazeSystem`.

    Args:
        opening: "right" or "left".
        render_mode: "rgb_array" or None.
    """

    def __init__(self, opening: Side = "right", render_mode: str | None = None) -> None:
        super().__init__(PointMazeSystem(opening), render_mode)


class PointMazeVectorEnv(SystemVectorEnv):
    """A batch of mazes; see `PointMazeSystem` and `SystemVectorEnv`.

    Args:
        num_envs: Rows.
        opening: "right" or "left".
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self,
        num_envs: int,
        opening: Side = "right",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(num_envs, PointMazeSystem(opening), max_episode_steps, render_mode)
