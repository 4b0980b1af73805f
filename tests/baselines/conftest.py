"""Worlds small enough to be solved exactly: known answers are found on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from irlbench.algorithm import Algorithm, Run, Solution
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.data.preferences import Preference, Preferences
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import regret
from irlbench.tabular.planning import Plan, value_iteration

Array = NDArray[np.float64]


class SmallGrid:
    """7 x 7 cells without an end: clamped moves that slip, +1 in the last corner, -1 in the centre.

    With probability 0.9 the chosen move is made, else one of the four at random. The reward is
    that of the current cell; episodes start anywhere, gamma is 0.95, the temperature 0.3.

    Attributes:
        transitions: P(s'|s, a), `[49, 4, 49]`.
        rewards: r(s) for every action, `[49, 4]`.
        initial: `[49]`.
    """

    side, discount, temperature = 7, 0.95, 0.3

    def __init__(self) -> None:
        states = self.side**2
        moved = np.zeros((states, 4, states))
        for state in range(states):
            row, column = divmod(state, self.side)
            for action, (down, right) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
                to_row = min(max(row + down, 0), self.side - 1)
                to_column = min(max(column + right, 0), self.side - 1)
                moved[state, action, to_row * self.side + to_column] = 1.0
        self.transitions = 0.9 * moved + 0.1 * moved.mean(axis=1, keepdims=True)
        cells = np.zeros(states)
        cells[-1], cells[states // 2] = 1.0, -1.0
        self.rewards = np.repeat(cells[:, None], 4, axis=1)
        self.initial = np.full(states, 1 / states)

    def soft_q(self, rewards: Array) -> Array:
        """The fixed point of Q = r + gamma P V with V = tau log sum exp(Q / tau), `[49, 4]`."""
        Q = np.zeros_like(rewards)
        for _ in range(700):  # 0.95^700 is below rounding
            Q = rewards + self.discount * self.transitions @ self.soft_value(Q)
        return Q

    def soft_value(self, Q: Array) -> Array:
        """V(s), `[49]`."""
        return self.temperature * np.logaddexp.reduce(Q / self.temperature, axis=1)

    def log_policy(self, Q: Array) -> Array:
        """log pi(a|s), `[49, 4]`."""
        return (Q - self.soft_value(Q)[:, None]) / self.temperature

    def occupancy(self, log_pi: Array) -> Array:
        """The normalised discounted occupancy measure, `[49, 4]`: it sums to 1."""
        pi = np.exp(log_pi)
        moves = np.einsum("sa,sat->st", pi, self.transitions)
        visits = np.linalg.solve(
            np.eye(len(moves)) - self.discount * moves.T, (1 - self.discount) * self.initial
        )
        return visits[:, None] * pi

    def starc(self, first: Array, second: Array) -> float:
        """The STARC distance of two rewards, in [0, 1] (Skalse et al., 2024).

        Value canonicalisation under the uniform policy, then the unweighted L2 distance of the
        normalised tables over state-action pairs, halved.
        """
        canonical = [self._value_canonical(rewards) for rewards in (first, second)]
        units = [rewards / np.linalg.norm(rewards) for rewards in canonical]
        return float(np.linalg.norm(units[0] - units[1])) / 2

    def _value_canonical(self, rewards: Array) -> Array:
        """r + gamma P v - v, with v the value of the uniform policy."""
        moves = self.transitions.mean(axis=1)
        value = np.linalg.solve(np.eye(len(moves)) - self.discount * moves, rewards.mean(axis=1))
        return rewards + self.discount * self.transitions @ value - value[:, None]


@pytest.fixture(scope="session")
def small_grid() -> SmallGrid:
    """The grid, its solver and its measures."""
    return SmallGrid()


@pytest.fixture(scope="session")
def grid(small_grid: SmallGrid) -> TabularDynamics:
    """The small grid as dynamics of five successors; 30 steps where the horizon is finite."""
    following = np.argsort(-small_grid.transitions, axis=2, kind="stable")[:, :, :5]
    return TabularDynamics(
        successors=following.astype(np.int32),
        probabilities=np.take_along_axis(small_grid.transitions, following, axis=2),
        initial=small_grid.initial,
        terminal=np.zeros(49, dtype=bool),
        horizon=30,
        discount=small_grid.discount,
    )


@pytest.fixture(scope="session")
def expert_occupancy(small_grid: SmallGrid) -> Array:
    """Of the maximum-causal-entropy expert on the small grid, exact, `[49, 4]`."""
    return small_grid.occupancy(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))


class TableEnv(VectorEnv[Any, Any, Any]):
    """Rows that move by known dynamics; next-step autoreset. It pays 1 a step, for none to see.

    Args:
        dynamics: Where rows move; its horizon truncates.
        num_envs: Rows.
        codes: What is seen of each state, float32 `[states, dimensions]`; None: its index.
    """

    def __init__(
        self, dynamics: TabularDynamics, num_envs: int, codes: NDArray[np.float32] | None = None
    ) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs, self._dynamics, self._codes = num_envs, dynamics, codes
        self.single_observation_space = seen_space(dynamics, codes)
        self.single_action_space = spaces.Discrete(dynamics.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended = np.zeros(num_envs, dtype=bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins every row."""
        self._rng = np.random.default_rng(seed)
        self._states = self._begin(self.num_envs)
        self._times = np.zeros(self.num_envs, dtype=np.int64)
        return self._seen(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Moves every row; one that had ended only begins again."""
        places = self._dynamics.probabilities[self._states, actions].cumsum(axis=1)
        drawn = (self._rng.random((self.num_envs, 1)) >= places).sum(axis=1)
        drawn = np.minimum(drawn, places.shape[1] - 1)
        moved = self._dynamics.successors[self._states, actions, drawn]
        self._states = np.where(self._ended, self._begin(self.num_envs), moved)
        self._times = np.where(self._ended, 0, self._times + 1)
        terminated = self._dynamics.terminal[self._states] & ~self._ended
        truncated = ~terminated & (self._times == self._dynamics.horizon)
        self._ended = terminated | truncated
        return self._seen(), np.ones(self.num_envs), terminated, truncated, {}

    def _begin(self, rows: int) -> NDArray[np.int64]:
        return self._rng.choice(self._dynamics.states, size=rows, p=self._dynamics.initial)

    def _seen(self) -> Any:
        return self._states.astype(np.int64) if self._codes is None else self._codes[self._states]


def seen_space(dynamics: TabularDynamics, codes: NDArray[np.float32] | None) -> spaces.Space[Any]:
    """Of an index, or of a vector."""
    if codes is None:
        return spaces.Discrete(dynamics.states)
    return spaces.Box(-10.0, 10.0, codes.shape[1:], np.float32)


class SmallWorld:
    """4 x 4 cells with slip, +1 a step in the last corner; gamma 0.9, 25 steps; starts anywhere.

    The expert is soft-optimal at temperature 0.1. With `ends` the last corner ends the episode, and
    entering it is what pays: 3, as going on for ever is worth 1.4 in entropy alone.

    Attributes:
        dynamics: 16 states, 4 actions.
        rewards: `[16]`, or `[16, 4]` where episodes end.
        temperature: Of the expert.
        codes: What is seen of a state where vectors are: its row, its column and a constant.
    """

    side, temperature, horizon = 4, 0.1, 25

    def __init__(self, *, slip: float = 0.1, ends: bool = False) -> None:
        states = self.side**2
        cells = np.pad(np.arange(states).reshape(self.side, self.side), 1, mode="edge")
        moves = np.stack(
            [cells[:-2, 1:-1], cells[1:-1, 2:], cells[2:, 1:-1], cells[1:-1, :-2]], axis=-1
        ).reshape(states, 4)
        chances = [1 - slip] + [slip / 4] * 4
        successors = np.concatenate([moves[:, :, None], moves[:, None].repeat(4, axis=1)], axis=2)
        if slip == 0:
            successors, chances = successors[:, :, :1], [1.0]
        terminal = (np.arange(states) == states - 1) & ends
        self.dynamics = TabularDynamics(
            successors.astype(np.int32),
            np.broadcast_to(chances, successors.shape),
            ~terminal / (~terminal).sum(),
            terminal,
            horizon=self.horizon,
            discount=0.9,
        )
        entered = (successors == states - 1) * self.dynamics.probabilities
        self.rewards = (
            3.0 * entered.sum(axis=2) if ends else (np.arange(states) == states - 1) * 1.0
        )
        where = np.stack(np.divmod(np.arange(states), self.side), axis=1)
        self.codes = np.concatenate([where, np.ones((states, 1))], axis=1).astype(np.float32)

    @cached_property
    def plan(self) -> Plan:
        """The expert's values and policy."""
        return value_iteration(self.dynamics, self.rewards, self.temperature, 1e-13)

    def lost(self, policy: NDArray[np.float64]) -> float:
        """A policy's regret, as a share of the uniform policy's."""
        uniform = np.full_like(policy, 1 / policy.shape[1])
        most, found = (
            regret(self.dynamics, self.rewards, p, finite_horizon=True) for p in (uniform, policy)
        )
        return found / most

    def episodes(
        self, policy: NDArray[np.float64], count: int, seed: int, steps: int | None = None
    ) -> list[Episode]:
        """Episodes of a policy `[states, actions]`, of at most so many steps."""
        rng, dynamics = np.random.default_rng([seed, 5]), self.dynamics
        found = []
        for _ in range(count):
            states, actions = [int(rng.choice(dynamics.states, p=dynamics.initial))], []
            while len(actions) < (steps or self.horizon) and not dynamics.terminal[states[-1]]:
                actions.append(int(rng.choice(dynamics.actions, p=policy[states[-1]])))
                place = rng.choice(
                    dynamics.probabilities.shape[2],
                    p=dynamics.probabilities[states[-1], actions[-1]],
                )
                states.append(int(dynamics.successors[states[-1], actions[-1], place]))
            last = np.arange(len(actions)) == len(actions) - 1
            ended = bool(dynamics.terminal[states[-1]])
            cut = last & (not ended) & (len(actions) == self.horizon)
            found.append(Episode(np.array(states), np.array(actions), last & ended, cut))
        return found

    def demonstrations(self, count: int, seed: int = 0) -> Demonstrations[Episode]:
        """Episodes of the expert."""
        return Demonstrations(tuple(self.episodes(self.plan.policy, count, seed)))

    def returns(self, items: Iterable[Episode]) -> list[float]:
        """The undiscounted sums of the true reward over segments."""
        table = np.broadcast_to(self.rewards.reshape(16, -1), (16, 4))
        return [float(table[item.observations[:-1], item.actions].sum()) for item in items]

    def preferences(
        self, count: int, seed: int = 0, *, steps: int = 6, temperature: float = 0.0
    ) -> Preferences:
        """Pairs of segments of the uniform policy, judged by their sums of the true reward.

        At temperature 0 the greater sum is preferred and equal ones tie.
        """
        rng, uniform = np.random.default_rng([seed, 6]), np.full((16, 4), 0.25)
        items = self.episodes(uniform, 2 * count, seed, steps)
        earned = np.array(self.returns(items)).reshape(count, 2)
        if temperature > 0:
            earned += rng.gumbel(scale=temperature, size=earned.shape)
        ranks = [tuple(int(other > own) for own, other in (e, e[::-1])) for e in earned]
        return Preferences(
            tuple(
                Preference((items[2 * i], items[2 * i + 1]), rank, "exact")
                for i, rank in enumerate(ranks)
            )
        )

    def problem(
        self,
        track: str,
        needs: Iterable[str],
        *,
        vectors: bool = False,
        seed: int = 0,
        steps: int | None = None,
        demonstrations: Demonstrations[Any] | None = None,
        preferences: Preferences | None = None,
    ) -> Problem:
        """What an algorithm is given; features are one number per state, 1 there and 0 elsewhere."""
        codes = self.codes if vectors else None
        suppliers: dict[str, Callable[..., Any]] = {
            "demonstrations": lambda: self._seen(demonstrations, vectors),
            "preferences": lambda: self._seen_pairs(preferences, vectors),
            "interaction": lambda rows: TableEnv(self.dynamics, rows, codes),
            "dynamics": lambda: self.dynamics,
            "features": lambda: np.eye(self.dynamics.states, dtype=np.float32),
        }
        return Problem(
            task_id="gridworld/small-v0",
            world="gridworld",
            observation_space=seen_space(self.dynamics, codes),
            action_space=spaces.Discrete(self.dynamics.actions),
            horizon=self.horizon,
            discount=self.dynamics.discount,
            track=track,
            seed=seed,
            needs=frozenset(needs),
            suppliers=suppliers,
            meter=StepMeter(steps),
        )

    def fit(
        self,
        algorithm: type[Algorithm],
        track: str,
        *,
        seed: int = 0,
        budget: Budget | None = None,
        also: Iterable[str] = (),
        vectors: bool = False,
        demonstrations: Demonstrations[Any] | None = None,
        preferences: Preferences | None = None,
        **changes: Any,
    ) -> tuple[Solution, Run, Problem]:
        """Fits an algorithm; `also` names resources beside those that the track is named after."""
        budget = budget or Budget()
        problem = self.problem(
            track,
            {*algorithm.needs_for("gridworld", track), *also},
            vectors=vectors,
            seed=seed,
            steps=budget.steps,
            demonstrations=demonstrations,
            preferences=preferences,
        )
        run = Run(seed, budget=budget, meter=problem.meter)
        made = algorithm.configure("gridworld", changes)
        return made.fit(problem, budget, run), run, problem

    def _seen(self, demonstrations: Demonstrations[Any] | None, vectors: bool) -> Any:
        assert demonstrations is not None
        if not vectors:
            return demonstrations
        return Demonstrations(tuple(self._as_seen(episode) for episode in demonstrations))

    def _seen_pairs(self, preferences: Preferences | None, vectors: bool) -> Any:
        assert preferences is not None
        if not vectors:
            return preferences
        return Preferences(
            tuple(
                Preference(tuple(map(self._as_seen, c.items)), c.ranks, c.annotator, c.weight)
                for c in preferences
            )
        )

    def _as_seen(self, item: Any) -> Episode:
        return Episode(
            self.codes[item.observations], item.actions, item.terminations, item.truncations
        )


@pytest.fixture(scope="session")
def small_world() -> SmallWorld:
    """The world that slips and never ends."""
    return SmallWorld()


@pytest.fixture(scope="session")
def worlds() -> type[SmallWorld]:
    """Makes others: `slip`, `ends`."""
    return SmallWorld
