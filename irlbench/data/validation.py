"""Checks recorded episodes against the spaces of a task, and says what is wrong, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from irlbench.errors import DataError


@dataclass
class EpisodeChecker:
    """Checks the arrays of episodes, one after the other; `finish` ends it.

    Attributes:
        file: Name of the file that they come from.
        observation_space: `Box` or `Discrete`.
        action_space: `Box` or `Discrete`.
        horizon: Most steps of an episode.
        clip_actions: Clip actions to their bounds instead of refusing them.
        correct_time_limits: Take episodes that end as terminated in the last possible step for cut.
        at_time_limit: Episodes that did so, so far.
        clipped: Action components outside their bounds so far.
        components: Action components seen so far.
        worst: The value farthest outside the bounds so far, or None.
    """

    file: str
    observation_space: Space[Any]
    action_space: Space[Any]
    horizon: int
    clip_actions: bool = False
    correct_time_limits: bool = False
    at_time_limit: int = 0
    clipped: int = 0
    components: int = 0
    worst: float | None = None
    _first: tuple[str, int] | None = None
    _farthest: tuple[str, int] | None = None

    def steps(self, actions: NDArray[Any], field: str) -> int:
        """The number of steps, by the actions; at least 1 and at most the horizon."""
        if actions.ndim == 0 or len(actions) == 0:
            raise self._error("holds no steps", field)
        if len(actions) > self.horizon:
            # Actions of another shape are another task's, whose horizon may be longer.
            self._shaped(actions, field, len(actions), self.action_space, "that many steps")
            raise self._error(
                f"has {len(actions)} steps, but episodes of this task end after {self.horizon}: "
                "cut it into episodes",
                field,
                self.horizon,
            )
        return len(actions)

    def observations(self, values: NDArray[Any], field: str, steps: int) -> NDArray[Any]:
        """Observations `[steps + 1, ...]` in the space's type and within its bounds."""
        space = self.observation_space
        checked = self._shaped(values, field, steps + 1, space, f"{steps} steps and the last one")
        if isinstance(space, spaces.Discrete):
            return self._categories(checked, field, space)
        assert isinstance(space, spaces.Box)
        cast = self._cast(checked, space.dtype, field)
        # Bounds are of the space's type: a value that was rounded to it is compared as such.
        outside = (cast < space.low) | (cast > space.high)
        if outside.any():
            row = int(np.flatnonzero(outside.reshape(len(cast), -1).any(axis=1))[0])
            place = (row, *np.argwhere(outside[row])[0])
            raise self._error(
                f"{int(outside.sum())} of {cast.size} components lie outside the bounds of this "
                f"task's observations; the first is {cast[place]:.6g} in place "
                f"{list(map(int, place[1:]))}, where [{space.low[place[1:]]:.6g}, "
                f"{space.high[place[1:]]:.6g}] is possible: are they of this task?",
                field,
                row,
            )
        return cast

    def actions(self, values: NDArray[Any], field: str, steps: int) -> NDArray[Any]:
        """Actions `[steps, ...]` in the space's type and within its bounds."""
        space = self.action_space
        checked = self._shaped(values, field, steps, space, f"{steps} steps")
        if isinstance(space, spaces.Discrete):
            return self._categories(checked, field, space)
        self._finite(checked, field)
        assert isinstance(space, spaces.Box)
        outside = (checked < space.low) | (checked > space.high)
        self.components += checked.size
        if outside.any():
            self._note_outside(checked, outside, field, space)
        return np.clip(checked, space.low, space.high).astype(space.dtype, copy=False)

    def _note_outside(
        self, values: NDArray[Any], outside: NDArray[np.bool_], field: str, space: spaces.Box
    ) -> None:
        beyond = np.maximum(values - space.high, space.low - values)
        place = np.unravel_index(int(beyond.argmax()), values.shape)
        worst = float(values[place])
        self.clipped += int(outside.sum())
        if self._first is None:
            rows = outside.reshape(len(values), -1).any(axis=1)
            self._first = field, int(np.flatnonzero(rows)[0])
        if self.worst is None or abs(worst) > abs(self.worst):
            self.worst, self._farthest = worst, (field, int(place[0]))

    def finish(self) -> None:
        """Refuses actions out of bounds, unless they are to be clipped, once all have been seen."""
        if self.clip_actions or self._first is None or self._farthest is None:
            return
        space, (field, row) = self.action_space, self._farthest
        assert isinstance(space, spaces.Box)
        raise self._error(
            f"{self.clipped:,} of {self.components:,} action components lie outside "
            f"[{_bound(space.low)}, {_bound(space.high)}]; the farthest is {self.worst:.6g} in row "
            f"{row} of {field!r}: --clip-actions clips them",
            *self._first,
        )

    def rewards(self, values: NDArray[Any], field: str, steps: int) -> NDArray[np.float64]:
        """Rewards, float64 `[steps]`."""
        self._length(values, field, steps, (), f"{steps} steps")
        return self._cast(values, np.float64, field)

    def flags(self, values: NDArray[Any], field: str, steps: int) -> NDArray[np.bool_]:
        """Terminations or truncations, bool `[steps]`, set in the last step only if at all."""
        self._length(values, field, steps, (), f"{steps} steps")
        wrong = np.flatnonzero((values != 0) & (values != 1))
        if len(wrong):
            raise self._error(f"{values[wrong[0]]} is neither true nor false", field, int(wrong[0]))
        early = np.flatnonzero(values[:-1])
        if len(early):
            raise self._error(
                f"the episode ends here, but has {steps} steps: one episode per field",
                field,
                int(early[0]),
            )
        return values.astype(bool)

    def ends(
        self, terminations: NDArray[np.bool_], truncations: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Flags of one episode, `[steps]` each; counts and corrects those at the time limit.

        Recorders often take the time limit for a terminal state. Whoever learns values from that
        believes that nothing comes after.
        """
        if len(terminations) < self.horizon or not terminations[-1]:
            return terminations, truncations
        self.at_time_limit += 1
        if not self.correct_time_limits:
            return terminations, truncations
        return np.zeros_like(terminations), terminations

    def _rest(self, space: Space[Any], field: str) -> tuple[int, ...]:
        """Shape of one value."""
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise self._error(f"spaces of type {type(space).__name__} cannot be imported", field)
        return tuple(space.shape or ())

    def _shaped(
        self, values: NDArray[Any], field: str, length: int, space: Space[Any], why: str
    ) -> NDArray[Any]:
        self._length(values, field, length, self._rest(space, field), why)
        return values

    def _cast(self, values: NDArray[Any], dtype: Any, field: str) -> NDArray[Any]:
        """The same numbers in another type, all of them finite there too."""
        self._finite(values, field)
        with np.errstate(over="ignore"):
            cast = values.astype(dtype, copy=False)
        if cast.dtype != values.dtype:
            self._finite(cast, field)
        return cast

    def _length(
        self, values: NDArray[Any], field: str, length: int, rest: tuple[int, ...], why: str
    ) -> None:
        if values.shape == (length, *rest):
            return
        row = None
        if values.ndim and values.shape[1:] == rest:
            row = min(len(values), length)
        raise self._error(
            f"has shape {values.shape}, expected {(length, *rest)} (for {why})", field, row
        )

    def _finite(self, values: NDArray[Any], field: str) -> None:
        bad = ~np.isfinite(values.reshape(len(values), -1))
        if bad.any():
            row = int(np.flatnonzero(bad.any(axis=1))[0])
            value = values.reshape(len(values), -1)[row][bad[row]][0]
            raise self._error(f"holds {value} ({int(bad.sum())} in all)", field, row)

    def _categories(
        self, values: NDArray[Any], field: str, space: spaces.Discrete
    ) -> NDArray[np.int64]:
        if values.dtype.kind not in "iu":
            raise self._error(f"holds {values.dtype}: discrete values are integers", field)
        first, last = int(space.start), int(space.start + space.n - 1)
        wrong = np.flatnonzero((values < first) | (values > last))
        if len(wrong):
            far = np.abs(values[wrong].astype(np.float64) - (first + last) / 2)
            raise self._error(
                f"{len(wrong)} of {len(values)} values lie outside {first} to {last}; the "
                f"farthest is {values[wrong[int(far.argmax())]]}",
                field,
                int(wrong[0]),
            )
        return values.astype(np.int64)

    def _error(self, message: str, field: str, row: int | None = None) -> DataError:
        return DataError(message, file=self.file, field=field, row=row)


def _bound(values: NDArray[Any]) -> str:
    distinct = np.unique(values)
    return f"{distinct[0]:g}" if len(distinct) == 1 else str(values.tolist())
