"""True rewards of control environments as functions of what is observed, where there are any.

A distance such as EPIC asks what transitions pay that never happened. No simulator can be asked
that, and Gymnasium's robots are paid for the way that they make, whose beginning and end are not
observed. Their velocity is: the way of a step is its mean velocity times the time that it takes.
Between two observations the velocity is taken to change evenly; what is paid for health, actions
and contacts follows from the observations exactly. The rewards of the pendulum, the point-maze and
the cart that never ends are exact.

How far this is from what the environments paid is measured, in docs/metrics.md and by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from irlbench.reward import RewardFunction

Observed = NDArray[np.float64]


class RunningReward(RewardFunction):
    """What Gymnasium's robots are paid: for the way forward, for health, less what costs.

    Args:
        velocity: Forward velocity, `[batch, observation dimensions]` to `[batch]`.
        forward: Weight of the velocity.
        control: Weight of the squared actions.
        healthy: What a step is paid after which the robot is healthy.
        bounds: Place of an observed number to the open interval where it is healthy.
        contacts: What contacts cost, of what is observed after a step; None where nothing.
        later: The share of the second velocity in the mean of the two. 1/2, but (k + 1) / 2k where
            k steps of Euler's method go by, each of which moves by the velocity at its end.
    """

    kind = "transition"

    def __init__(
        self,
        velocity: Callable[[Observed], Observed],
        *,
        forward: float = 1.0,
        control: float,
        healthy: float = 0.0,
        bounds: Mapping[int, tuple[float, float]] | None = None,
        contacts: Callable[[Observed], Observed] | None = None,
        later: float = 0.5,
    ) -> None:
        self._velocity, self._forward, self._control = velocity, forward, control
        self._healthy, self._bounds = healthy, dict(bounds or {})
        self._contacts, self._later = contacts, later

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        s, a, following = (
            np.asarray(x, dtype=np.float64) for x in (observation, action, next_observation)
        )
        velocity = (1 - self._later) * self._velocity(s) + self._later * self._velocity(following)
        healthy = np.ones(len(s), dtype=bool)
        for place, (low, high) in self._bounds.items():
            healthy &= (low < following[:, place]) & (following[:, place] < high)
        paid = self._forward * velocity + self._healthy * healthy
        paid -= self._control * (a**2).sum(axis=1)
        return paid if self._contacts is None else paid - self._contacts(following)


class PendulumReward(RewardFunction):
    """-(angle^2 + 0.1 velocity^2 + 0.001 torque^2), of the state before the step."""

    kind = "state-action"

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        cosine, sine, velocity = np.asarray(observation, dtype=np.float64).T
        torque = np.clip(np.asarray(action, dtype=np.float64)[:, 0], -2, 2)
        return -(np.arctan2(sine, cosine) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2)


class PointMazeReward(RewardFunction):
    """Minus the distance from the goal, of the state after the step."""

    kind = "transition"

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        from irlbench.envs.control.point_maze import GOAL

        places = np.asarray(next_observation, dtype=np.float64)[:, :2]
        return -np.sqrt(((places - GOAL) ** 2).sum(axis=1))


class StandingReward(RewardFunction):
    """1 while a cart that goes on in any case is on its track with the pole up, after the step."""

    kind = "transition"

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        from irlbench.envs.control.cartpole_fixed import FARTHEST, STEEPEST

        position, _, angle, _ = np.abs(np.asarray(next_observation, dtype=np.float64)).T
        return ((position <= FARTHEST) & (angle <= STEEPEST)).astype(np.float64)


def _at(place: int) -> Callable[[Observed], Observed]:
    """The velocity that is observed at a place."""
    return lambda observed: observed[:, place]


def _mass_velocity(observed: Observed) -> Observed:
    """Forward velocity of the humanoid's centre of mass, from its 13 bodies' masses and motions.

    After 22 positions and 23 velocities stand for each body 10 numbers of inertia about the centre
    of mass, with mass times place at 6 to 8 and mass at 9, and then 3 angular and 3 linear
    velocities.
    """
    inertia = observed[:, 45:175].reshape(-1, 13, 10)
    motion = observed[:, 175:253].reshape(-1, 13, 6)
    mass, place, turning = inertia[..., 9], inertia[..., 6:9], motion[..., :3]
    carried = turning[..., 1] * place[..., 2] - turning[..., 2] * place[..., 1]
    total = np.maximum(mass.sum(axis=1), 1e-9)
    return np.asarray((mass * motion[..., 3] + carried).sum(axis=1) / total)


def _ant_contacts(observed: Observed) -> Observed:
    return 5e-4 * np.asarray((observed[:, 27:] ** 2).sum(axis=1))


def _ant() -> RewardFunction:
    return RunningReward(
        _at(13), control=0.5, healthy=1.0, bounds={0: (0.2, 1.0)}, contacts=_ant_contacts
    )


def _humanoid_contacts(observed: Observed) -> Observed:
    return np.minimum(5e-7 * (observed[:, 270:] ** 2).sum(axis=1), 10)


_EVERYTHING = dict.fromkeys(range(1, 11), (-100.0, 100.0))
#: By the name of an environment's class: variants that end otherwise pay alike.
_KNOWN: Mapping[str, Callable[[], RewardFunction]] = {
    "PendulumEnv": PendulumReward,
    "PointMazeEnv": PointMazeReward,
    "CartPoleFixedEnv": StandingReward,
    "HopperEnv": lambda: RunningReward(
        _at(5),
        control=1e-3,
        healthy=1.0,
        bounds={**_EVERYTHING, 0: (0.7, np.inf), 1: (-0.2, 0.2)},
    ),
    "HalfCheetahEnv": lambda: RunningReward(_at(8), control=0.1, later=0.6),
    "Walker2dEnv": lambda: RunningReward(
        _at(8), control=1e-3, healthy=1.0, bounds={0: (0.8, 2.0), 1: (-1.0, 1.0)}
    ),
    "AntEnv": _ant,
    "AntTransferEnv": _ant,
    "HumanoidEnv": lambda: RunningReward(
        _mass_velocity,
        forward=1.25,
        control=0.1,
        healthy=5.0,
        bounds={0: (1.0, 2.0)},
        contacts=_humanoid_contacts,
    ),
}
_CONSTANT = ("CartPoleEnv", "AcrobotEnv")


def observed_reward(environment: str) -> RewardFunction | None:
    """The true reward as a function of what is observed, or None where none is known.

    Args:
        environment: Gymnasium id.
    """
    known = _KNOWN.get(_class_name(environment))
    return None if known is None else known()


def is_constant(environment: str) -> bool:
    """Whether every step pays the same until the episode ends.

    Args:
        environment: Gymnasium id.
    """
    return _class_name(environment) in _CONSTANT


def _class_name(environment: str) -> str:
    return str(gymnasium.spec(environment).entry_point).rsplit(":", 1)[-1]
