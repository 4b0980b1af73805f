"""Demonstrations in a finite world: checked against its dynamics, as an occupancy measure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError
from irlbench.tabular.dynamics import TabularDynamics


def demonstrated_occupancy(
    dynamics: TabularDynamics, demonstrations: Demonstrations[Any], *, finite_horizon: bool
) -> tuple[NDArray[np.float64], float]:
    """The discounted occupancy of the demonstrated steps, scaled like an exact one.

    What comes after the last step of a truncated episode is not in it: see `unexplained_flow`.

    Args:
        dynamics: S states, A actions; discount and horizon.
        demonstrations: Episodes whose observations are state indices.
        finite_horizon: Whether steps are told apart by time.

    Returns:
        The sum of gamma^t over the steps at each state and action, float64 `[states, actions]` or
        `[horizon, states, actions]`, divided by the most that so many episodes can have; and that
        number, 1 / (1 - gamma) or the sum of gamma^t over the horizon for each of them.

    Raises:
        DataError: If there is no episode, or one that the dynamics cannot produce: with episode,
            step, state, action and figure.
    """
    if not len(demonstrations):
        raise DataError("there are no demonstrations: give at least one", field="observations")
    steps = dynamics.horizon if finite_horizon else 1
    weights = np.zeros((steps, dynamics.states, dynamics.actions))
    for index, episode in enumerate(demonstrations):
        states, actions = possible_steps(dynamics, episode, index)
        times = np.arange(len(actions))
        if finite_horizon and len(actions) > dynamics.horizon:
            raise DataError(
                f"demonstration {index} has {len(actions)} steps, more than the horizon of "
                f"{dynamics.horizon}"
            )
        place = (times if finite_horizon else np.zeros_like(times), states[:-1], actions)
        np.add.at(weights, place, dynamics.discount**times)
    gamma = dynamics.discount
    longest = float((gamma ** np.arange(steps)).sum()) if finite_horizon else 1 / (1 - gamma)
    most = longest * len(demonstrations)
    return (weights if finite_horizon else weights[0]) / most, most


def unexplained_flow(
    dynamics: TabularDynamics, occupancy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much of being in a state does not come from earlier steps of the occupancy itself.

    rho(s) - gamma sum_{s', a'} P(s|s', a') rho(s', a'), or at each time rho_t less the flow from
    rho_{t-1}. Of an exact occupancy measure that is where episodes begin. Of demonstrations it is
    where they begin, less (gamma^T times) where truncated ones were left, plus what chance led to
    other states than the dynamics lead to in the mean; a policy's occupancy with this in place of
    the initial distribution is the one to compare with theirs.

    Args:
        dynamics: S states, A actions; the discount.
        occupancy: `[states, actions]`, or `[steps, states, actions]`.

    Returns:
        float64 `[states]` or `[steps, states]`; zero in terminal states.
    """
    flow = dynamics.expectation(np.float64).flow
    inside = dynamics.after(occupancy.sum(axis=-1))
    if occupancy.ndim == 2:
        return inside - dynamics.discount * dynamics.after(flow(occupancy.T))
    for step in range(1, len(occupancy)):
        inside[step] -= dynamics.discount * dynamics.after(flow(occupancy[step - 1].T))
    return inside


def possible_steps(
    dynamics: TabularDynamics, episode: Episode, index: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """States `[T + 1]` and actions `[T]` of an episode that the dynamics can produce.

    Args:
        dynamics: S states, A actions, K successors.
        episode: One that is looked at.
        index: Its number, for messages.

    Raises:
        DataError: If it holds no actions or no indices, or a state, action, transition, beginning
            or end that has no probability: with step, state, action and figure.
    """
    if episode.actions is None:
        raise DataError(f"demonstration {index} holds observations only", field="actions")
    states = _indices(episode.observations, dynamics.states, "observations", index)
    actions = _indices(episode.actions, dynamics.actions, "actions", index)
    if not dynamics.initial[states[0]] > 0:
        raise DataError(
            f"demonstration {index} begins in state {states[0]}, where the dynamics begin with "
            "probability 0"
        )
    leads = dynamics.successors[states[:-1], actions] == states[1:, None]
    chances = (dynamics.probabilities[states[:-1], actions] * leads).sum(axis=1)
    after_end = dynamics.terminal[states[:-1]]
    wrong = ~(chances > 0) | after_end | (dynamics.terminal[states[1:]] != episode.terminations)
    if not wrong.any():
        return states, actions
    step = int(np.argmax(wrong))
    place = f"demonstration {index}, step {step}: state {states[step]}, action {actions[step]}"
    if after_end[step]:
        raise DataError(f"{place}: the state is terminal, the episode ended before")
    if not chances[step] > 0:
        raise DataError(
            f"{place}: the dynamics lead to state {states[step + 1]} with probability 0"
        )
    found = "terminated" if episode.terminations[step] else "not terminated"
    kind = "terminal" if dynamics.terminal[states[step + 1]] else "not terminal"
    raise DataError(f"{place}: {found}, but state {states[step + 1]} is {kind}")


def _indices(values: NDArray[Any], count: int, field: str, index: int) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"demonstration {index}: known dynamics need one index per step, got {values.dtype} "
            f"{list(values.shape)}",
            field=field,
        )
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if wrong.size:
        raise DataError(
            f"demonstration {index}: {values[wrong[0]]} is not in 0 to {count - 1}",
            field=field,
            row=int(wrong[0]),
        )
    return values.astype(np.int64)
