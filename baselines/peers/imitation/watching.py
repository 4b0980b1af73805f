"""What watches the package learn. Imported where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback  # noqa: TID253 - imported late itself
from stable_baselines3.common.logger import KVWriter  # noqa: TID253

from irlbench.algorithm import Run
from irlbench.baselines.peers.imitation.peer import logged
from irlbench.policy import Policy


class LastWritten(KVWriter):
    """Keeps what a logger wrote last.

    Attributes:
        values: By the logger's names; emptied by who reads them.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: Mapping[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """See `KVWriter.write`."""
        self.values = dict(key_values)

    def close(self) -> None:
        """See `KVWriter.close`."""


class OffPolicyWatch(BaseCallback):
    """Bills the updates of an off-policy learner, logs and saves, and ends it at the budget.

    Args:
        run: Billed; takes the curve.
        updates: Gradient steps after each rollout.
        saves: Steps at which a policy is handed in.
        logs: Steps at which losses are logged.
        names: The learner's names of what is logged to ours.
        convert: Gives the policy as it is.
    """

    def __init__(
        self,
        run: Run,
        updates: int,
        saves: Iterable[int],
        logs: Iterable[int],
        names: Mapping[str, str],
        convert: Callable[[], Policy],
    ) -> None:
        super().__init__()
        self._run, self._updates, self._names, self._convert = run, updates, names, convert
        self._saves, self._logs = sorted(saves), sorted(logs)

    def _on_rollout_start(self) -> None:
        """The updates on the last rollout are made: it is time to tell of them."""
        values = self.logger.name_to_value
        if _passed(self._logs, self.num_timesteps) and (told := logged(values, self._names)):
            self._run.log(self.num_timesteps, **told)
        if _passed(self._saves, self.num_timesteps):
            self._run.save(self.num_timesteps, self._convert())

    def _on_step(self) -> bool:
        limit = self._run.budget.gradient_steps
        fits = limit is None or self._run.gradient_steps + self._updates <= limit
        return fits and not self._run.exhausted

    def _on_rollout_end(self) -> None:
        learner: Any = self.model
        if self.num_timesteps > learner.learning_starts:
            self._run.spend(gradient_steps=self._updates)

    def _on_training_end(self) -> None:
        self._on_rollout_start()


def _passed(points: list[int], now: int) -> bool:
    """Whether a point was come to since the last look; those are taken off."""
    passed = bool(points) and points[0] <= now
    while points and points[0] <= now:
        points.pop(0)
    return passed
