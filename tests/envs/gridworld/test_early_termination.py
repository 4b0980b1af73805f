"""Early termination: ending at once is best where steps cost, never ending where they pay."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.envs.gridworld.evaluation import GridworldEvaluator
from irlbench.envs.gridworld.rollouts import roll_out
from irlbench.envs.gridworld.worlds.early_termination import early_termination
from irlbench.policies.table import TablePolicy
from irlbench.policies.uniform import UniformPolicy
from irlbench.policy import Policy
from irlbench.tabular.planning import value_iteration

GO_ON, END = (
    TablePolicy(np.array([[0.0, -1000.0], row, row])) for row in ([0.0, -1000.0], [-1000.0, 0.0])
)


def judge(model, horizon=10, seeds=None):
    seeds = np.arange(0) if seeds is None else seeds
    return GridworldEvaluator(model, model.dynamics(horizon, 0.9), None, {"test": seeds})


@pytest.mark.parametrize("end", [0, 1])
def test_transitions_by_hand(end):
    model = early_termination(end=end)
    assert model.successors[0, :, 0].tolist() == [1, 1]
    assert model.successors[1, end, 0] == 2 and model.successors[1, 1 - end, 0] == 0
    assert model.terminal.tolist() == [False, False, True]
    assert (model.probabilities == 1.0).all() and model.starts.tolist() == [0]


@pytest.mark.parametrize(("reward", "best"), [(-1.0, END), (1.0, GO_ON)])
def test_the_sign_of_the_reward_says_whether_to_end(reward, best):
    model = early_termination(reward=reward)
    plan = value_iteration(model.dynamics(10, 0.9), model.rewards, 0.0)
    assert np.array_equal(plan.policy[1], best.probabilities[1])


def test_returns_by_hand():
    scores = judge(early_termination()).evaluate(END, "test").scores
    assert (scores["return"], scores["length"]) == pytest.approx((-2.0, 2.0))
    assert scores["regret"] == pytest.approx(0.0)
    scores = judge(early_termination()).evaluate(GO_ON, "test").scores
    assert (scores["return"], scores["length"]) == pytest.approx((-10.0, 10.0))


def test_the_length_of_random_episodes_by_hand():
    """Every second step ends with a half: 2 (1 + 1/2 + 1/4 + 1/8 + 1/16) steps of at most 10."""
    scores = judge(early_termination()).evaluate(UniformPolicy(2), "test").scores
    assert scores["length"] == pytest.approx(3.875)
    assert scores["return"] == pytest.approx(-3.875)


def test_roll_outs_end_where_episodes_do():
    uniform = UniformPolicy(2)

    class Opaque(Policy):
        def act(self, observations, state=None, **more):
            return uniform.act(observations, state, **more)

    model, seeds = early_termination(), np.arange(4000)
    rollout = roll_out(model, Opaque(), seeds, 10)
    assert set(rollout.lengths) <= {2, 4, 6, 8, 10}
    assert np.array_equal(rollout.rewards.sum(axis=1), -rollout.lengths.astype(float))
    assert (rollout.terminated[rollout.lengths < 10]).all() and not rollout.terminated.all()
    for episode, length, ended in zip(
        rollout.episodes(), rollout.lengths, rollout.terminated, strict=True
    ):
        assert len(episode) == length and len(episode.observations) == length + 1
        assert episode.observations.tolist()[:-1] == ([0, 1] * 5)[:length]
        assert episode.observations[-1] == (2 if ended else 0)
        assert episode.terminations.tolist() == [False] * (length - 1) + [ended]
        assert episode.truncations.tolist() == [False] * (length - 1) + [not ended]
    sampled = judge(model, seeds=seeds).evaluate(Opaque(), "test")
    lengths = np.array(sampled.episodes["length"])
    assert np.array_equal(lengths, rollout.lengths)
    error = lengths.std(ddof=1) / np.sqrt(len(lengths))
    assert abs(sampled.scores["length"] - 3.875) < 4 * error
    assert sampled.scores["return"] == -sampled.scores["length"]
