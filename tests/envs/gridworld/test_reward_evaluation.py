"""Recovered rewards are judged exactly: known answers, invariances, and what is refused."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irlbench.envs.gridworld.emission import observations_of
from irlbench.envs.gridworld.reward_evaluation import Planner, RewardJudge, World, best_policy
from irlbench.envs.gridworld.tasks import COMBINATION_LOCK, EARLY_TERMINATION, FOUR_ROOMS, GARNET
from irlbench.envs.gridworld.worlds.risky_path import risky_path
from irlbench.errors import DataError, UsageError
from irlbench.registry import registry
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.table import TableReward
from irlbench.tabular.evaluation import expected_return
from irlbench.tabular.rewards import expected_reward
from irlbench.task import TaskOptions

SEEDS = np.arange(20)
SEEN = [
    task
    for name in registry().names("tasks")
    if name.startswith("gridworld/")
    and (task := registry().task(name)).info.transfer is not None
    and "dynamics" in task.info.supplies
]


def world(task: Any) -> World:
    return World(task._model(), task._dynamics())


def judge(task: Any) -> RewardJudge:
    return RewardJudge(world(task), task._transfer_world(), SEEDS)


def scores(task: Any, values: Any) -> dict[str, float]:
    return judge(task).scores(TableReward(np.asarray(values, dtype=np.float64)))


def shaping(task: Any, scale: float = 3.0) -> Any:
    """gamma E[Phi(s')] - Phi(s), `[states, actions]`; the potential is zero where episodes end."""
    dynamics = task._dynamics()
    potential = scale * np.random.default_rng(5).normal(size=dynamics.states)
    potential[dynamics.terminal] = 0.0
    return dynamics.discount * dynamics.expect(potential) - potential[:, None]


class ByTransition(RewardFunction):
    """r(s, a) + gamma Phi(s') - Phi(s), as AIRL learns it; its shaping can be taken off or not."""

    def __init__(self, task: Any, scale: float, *, known: bool = False) -> None:
        self._base = TableReward(task._model().rewards)
        rng = np.random.default_rng(7)
        self._potential = scale * rng.normal(size=task._model().states)
        self.discount, self._known = task.info.discount, known

    def __call__(
        self, observation: Any, action: Any, next_observation: Any, terminated: Any
    ) -> Any:
        following = np.where(terminated, 0.0, self._potential[next_observation])
        paid = self._base(observation, action, next_observation, terminated)
        return paid + self.discount * following - self._potential[observation]

    def unshaped(self) -> RewardFunction:
        return self._base if self._known else self


# --- known answers


@pytest.mark.parametrize("task", SEEN, ids=lambda task: task.id)
def test_the_true_reward_is_perfect_and_its_negation_worst(task):
    true = task._model().rewards
    perfect = scores(task, true)
    assert perfect.keys() <= {score.name for score in task.info.reward_scores}
    assert all(value == pytest.approx(0.0, abs=1e-12) for value in perfect.values())
    negated, rng = scores(task, -true), np.random.default_rng(0)
    for name in perfect.keys() - {"reoptimised_regret", "transfer_regret"}:
        assert negated[name] == pytest.approx(1.0)
    for _ in range(5):
        other = scores(task, rng.normal(size=true.shape))
        for name, value in other.items():
            assert -1e-12 <= value <= negated[name] + 1e-9


@pytest.mark.parametrize("task", SEEN, ids=lambda task: task.id)
def test_a_constant_reward_plans_uniform_moves(task):
    """Not what argmax would take first: ties are broken evenly."""
    found = scores(task, np.zeros(task._model().states))
    expected = dict.fromkeys(found, 0.5) | {"reoptimised_regret": 1.0, "transfer_regret": 1.0}
    assert found == pytest.approx(expected)
    if not task._model().terminal.any():
        assert scores(task, np.full(task._model().states, 0.3)) == pytest.approx(expected)


def test_where_the_true_reward_is_constant_some_distances_say_nothing():
    declared = {score.name for score in EARLY_TERMINATION.info.reward_scores}
    found = scores(EARLY_TERMINATION, [1.0, 1.0, 1.0])
    assert declared - found.keys() == {"epic", "dard"}
    # Paid for staying alive where every step costs: the very opposite.
    assert found["starc"] == pytest.approx(1.0)
    assert found["reoptimised_regret"] > 6


@pytest.mark.parametrize("task", SEEN, ids=lambda task: task.id)
def test_shaping_and_scale_change_no_regret_and_no_starc(task):
    """Even where nobody can take the shaping off: that is why the horizon has no say here."""
    true = np.broadcast_to(
        expected_reward(task._dynamics(), task._model().rewards), shaping(task).shape
    )
    found = scores(task, 40.0 * (true + shaping(task)))
    assert found["reoptimised_regret"] == pytest.approx(0.0, abs=1e-9)
    assert found["starc"] == pytest.approx(0.0, abs=1e-6)


def test_the_logarithm_of_the_experts_policy_is_its_reward_at_home_only():
    """The expert is soft-optimal, so log pi is its reward up to scale and shaping there."""
    log_pi = FOUR_ROOMS._expert().log_probabilities
    found = scores(FOUR_ROOMS, log_pi)
    assert found["starc"] < 1e-6
    assert found["reoptimised_regret"] == pytest.approx(0.0, abs=1e-6)
    assert found["transfer_regret"] > 0.9


def test_shaping_by_transition_is_harmless_elsewhere_and_by_action_is_not():
    by_transition = judge(GARNET).scores(ByTransition(GARNET, 3.0))
    assert by_transition["transfer_regret"] == pytest.approx(0.0, abs=1e-9)
    assert by_transition["epic"] == pytest.approx(0.0, abs=1e-6)
    assert by_transition["dard"] == pytest.approx(0.0, abs=1e-6)
    true = np.broadcast_to(GARNET._model().rewards[:, None], shaping(GARNET).shape)
    by_action = scores(GARNET, true + shaping(GARNET))
    assert by_action["transfer_regret"] > 0.1


def test_what_can_be_taken_off_is_taken_off():
    assert judge(GARNET).scores(ByTransition(GARNET, 3.0, known=True)) == scores(
        GARNET, GARNET._model().rewards
    )


# --- against enumeration


def test_the_best_policy_is_the_best_of_all(random_dynamics):
    rng = np.random.default_rng(1)
    for seed in range(5):
        dynamics = random_dynamics(seed, states=3, actions=2, width=2, ends=seed % 2)
        reward = rng.normal(size=(3, 2))
        worth = [
            expected_return(dynamics, reward, np.eye(2)[list(plan)], finite_horizon=False)
            for plan in itertools.product(range(2), repeat=3)
        ]
        found = expected_return(
            dynamics, reward, best_policy(dynamics, reward), finite_horizon=False
        )
        assert found == pytest.approx(max(worth), abs=1e-10)


def test_regret_of_the_risky_path_by_hand():
    """A reward that likes the shortcut: half the time lava for ever, half the time the goal."""
    model, gamma = risky_path(), 0.9
    planner = Planner(World(model, model.dynamics(5, gamma)))
    for_ever = gamma / (1 - gamma)
    detour = gamma * for_ever
    shortcut = (1.0 - 100.0) / 2 * for_ever
    # Uniform moves: V(detour) = gamma (V(detour) + V(goal)) / 2.
    at_goal = 1 / (1 - gamma)
    waiting = gamma * at_goal / 2 / (1 - gamma / 2)
    uniform = (gamma * waiting + shortcut) / 2
    found = planner.regret(np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    assert found == pytest.approx((detour - shortcut) / (detour - uniform), rel=1e-9)


# --- hidden states


def test_a_reward_of_observations_is_averaged_over_those_of_a_state():
    model = COMBINATION_LOCK._model()
    assert model.emission is not None
    weights = np.random.default_rng(3).normal(size=model.emission.dimension)
    found = judge(COMBINATION_LOCK).scores(LinearReward(weights, 0.5))
    seen = observations_of(model.emission, SEEDS).astype(np.float64)
    means = (seen @ weights + 0.5).mean(axis=0)
    place = world(COMBINATION_LOCK)
    assert found["reoptimised_regret"] == pytest.approx(Planner(place).regret(means), rel=1e-9)
    assert set(found) == {"epic", "dard", "starc", "reoptimised_regret", "transfer_regret"}
    again = COMBINATION_LOCK.evaluator(TaskOptions(), Path()).evaluate_reward(
        LinearReward(weights, 0.5)
    )
    assert again.keys() == found.keys()


def test_a_reward_of_transitions_is_averaged_too():
    class Difference(RewardFunction):
        """What the next observation has more of than this one, for every action the same."""

        def __call__(
            self, observation: Any, action: Any, next_observation: Any, terminated: Any
        ) -> Any:
            assert observation.shape == next_observation.shape and observation.dtype == np.float32
            return (next_observation - observation).sum(axis=1).astype(np.float64)

    found = judge(COMBINATION_LOCK).scores(Difference())
    assert all(np.isfinite(value) for value in found.values())


# --- refused


@pytest.mark.parametrize("shape", [(103,), (105,), (104, 3), (104, 5), (4, 104)])
def test_a_reward_of_other_states_is_refused(shape):
    with pytest.raises(DataError, match=rf"104 states and 4 actions.*{shape[0]}"):
        scores(FOUR_ROOMS, np.zeros(shape))


def test_a_reward_that_fails_on_some_transition_says_where():
    class Odd(ByTransition):
        def __call__(self, *given: Any) -> Any:
            return np.where(given[2] == 7, np.nan, super().__call__(*given))

    with pytest.raises(UsageError, match=r"next state 7 is nan"):
        judge(FOUR_ROOMS).scores(Odd(FOUR_ROOMS, 1.0))

    class Blind(ByTransition):
        def __call__(self, *given: Any) -> Any:
            return np.zeros(3)[given[0]]

    with pytest.raises(DataError, match=r"cannot be asked about 104 states.*IndexError"):
        judge(FOUR_ROOMS).scores(Blind(FOUR_ROOMS, 1.0))


def test_a_reward_of_trajectories_has_no_score_here():
    reward = TableReward(np.zeros(104))
    reward.kind = "trajectory"
    assert judge(FOUR_ROOMS).scores(reward) == {}


def test_a_transfer_task_of_other_states_is_refused():
    task = copy.copy(FOUR_ROOMS)
    task.info = replace(FOUR_ROOMS.info, transfer="gridworld/garnet-transfer-v0")
    with pytest.raises(UsageError, match="garnet-transfer-v0 has 100 states and 5 actions"):
        task.evaluator(TaskOptions(), Path())
