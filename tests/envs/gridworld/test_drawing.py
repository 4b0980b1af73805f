"""Figures of gridworld tasks: valid pictures, and numbers that are what they say."""

from __future__ import annotations

import base64
import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from irlbench.envs.gridworld import tasks
from irlbench.envs.gridworld.drawing.shown import Judged, on_arrival
from irlbench.envs.gridworld.emission import rotate
from irlbench.envs.gridworld.model import gridworld_model
from irlbench.envs.gridworld.reward_evaluation import World
from irlbench.envs.gridworld.task import GridworldTask
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.reward import RewardFunction
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.table import TableReward
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.occupancy import finite_horizon_occupancy
from irlbench.tabular.rewards import transition_rewards
from irlbench.task import ShownSolution

ALL = [task for task in vars(tasks).values() if isinstance(task, GridworldTask)]
SEEDS = np.arange(3)


def judged(task):
    model = task._model()
    dynamics = model.dynamics(task.info.horizon, task.info.discount)
    return Judged(World(model, dynamics), SEEDS), dynamics


def words(svg):
    root = ElementTree.fromstring(svg)
    return [node.text for node in root.iter() if node.tag.endswith("}text")]


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.id.split("/")[1])
def test_every_task_draws_itself(task):
    model = task._model()
    shape = (model.states, model.actions)
    log_policy = np.random.default_rng(0).normal(size=shape)
    # where states are hidden, no table over them can be asked about observations
    learnt = TableReward(log_policy) if model.emission is None else LinearReward(np.ones(16), 0.0)
    solutions = [
        ShownSolution("clone", TablePolicy(log_policy), learnt, 0.5),
        ShownSolution("uniform", TablePolicy(np.zeros(shape)), note="knows nothing"),
        ShownSolution("constant", TablePolicy(np.zeros(shape)), LinearReward.constant(2.0)),
        ShownSolution("stranger", TablePolicy(np.zeros((2, 2)))),
        ShownSolution("stranger", TablePolicy(np.zeros(shape)), TableReward(np.zeros(2))),
    ]
    figure = task.figure(solutions)
    assert set(figure.left_out) == {3, 4}
    assert all("(2, 2)" in why or "(2,)" in why for why in figure.left_out.values())
    found = words(figure.svg)
    assert {"true reward", "expert", "clone", "uniform", "knows nothing"} <= set(found)
    assert "stranger" not in found and "no reward learnt" in found
    # a constant reward says nothing, but where the length of an episode is the agent's to choose
    lengths = task in (tasks.EARLY_TERMINATION, tasks.EARLY_TERMINATION_TRANSFER)
    assert found.count("constant") == (1 if lengths else 2)
    # nothing is fetched, and every image is whole
    images = re.findall(r'xlink:href="([^"]*)"', figure.svg)
    pictures = [image for image in images if not image.startswith("#")]
    assert len(pictures) == 2 + 1 + 2 + 2 + 1 + 2
    for picture in pictures:
        kind, _, content = picture.partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(content, validate=False)
    assert len(figure.svg) < 150_000
    assert task.figure(solutions) == figure


@pytest.mark.parametrize("task", [tasks.FOUR_ROOMS, tasks.OBJECT_WORLD, tasks.GARNET])
def test_fourteen_solutions_make_a_file_of_modest_size(task):
    model = task._model()
    logits = np.random.default_rng(1).normal(size=(14, model.states, model.actions))
    solutions = [
        ShownSolution(f"number {i}", TablePolicy(x), TableReward(x)) for i, x in enumerate(logits)
    ]
    assert len(task.figure(solutions).svg) < 300_000


@pytest.mark.filterwarnings("error")
def test_labels_are_text_whatever_they_hold():
    policy = TablePolicy(np.zeros((3, 2)))
    nasty = ["<script>&\"'", "$\\frac{1$", "\u65e5\u672c", "x" * 300]
    svg = tasks.EARLY_TERMINATION.figure([ShownSolution(x, policy, note=x) for x in nasty]).svg
    found = words(svg)
    assert all(found.count(word) == 2 for word in nasty[:3])
    assert all(len(word or "") < 60 for word in found) and "<script" not in svg


@pytest.mark.parametrize("task", [tasks.FOUR_ROOMS, tasks.GARNET, tasks.RISKY_PATH])
def test_shaping_and_scale_change_no_colour(task):
    judge, dynamics = judged(task)
    policy = TablePolicy(np.zeros((dynamics.states, dynamics.actions)))
    true = task.true_reward()
    values = transition_rewards(true, dynamics)[:, :, 0]
    potential = np.random.default_rng(2).normal(size=dynamics.states)
    shaped = values + dynamics.discount * dynamics.expect(potential) - potential[:, None]
    plain = judge.shown(policy, true)
    same = judge.shown(policy, TableReward(3 * shaped))
    opposite = judge.shown(policy, TableReward(-2 * shaped))
    assert plain.reward is not None and opposite.reward is not None
    np.testing.assert_allclose(same.reward, plain.reward, atol=1e-9)
    np.testing.assert_allclose(opposite.reward, -plain.reward, atol=1e-9)
    assert [plain.distance, same.distance] == pytest.approx([0, 0], abs=1e-9)
    assert opposite.distance == pytest.approx(1)


def test_a_reward_of_states_lights_up_where_it_is():
    judge, _ = judged(tasks.FOUR_ROOMS)
    shown = judge.shown(TablePolicy(np.zeros((104, 4))), tasks.FOUR_ROOMS.true_reward())
    assert shown.reward is not None and shown.reward.shape == (104,)
    assert shown.reward.argmax() == np.asarray(tasks.FOUR_ROOMS._model().rewards).argmax()


def test_arrivals_by_hand():
    """Action 0 stays in 0; action 1 leads from 0 to 1 or 2 alike; 1 leads to 2, where all ends."""
    dynamics = TabularDynamics(
        successors=np.array(
            [[[0, 0], [1, 2]], [[2, 2], [2, 2]], [[3, 3], [3, 3]], [[0, 0], [0, 0]]]
        ),
        probabilities=np.full((4, 2, 2), 0.5),
        initial=np.array([1.0, 0, 0, 0]),
        terminal=np.array([False, False, True, False]),
        horizon=5,
        discount=0.9,
    )
    values = np.array([[1.0, 2.0], [3.0, 5.0], [100.0, 100.0], [7.0, 9.0]])
    found = on_arrival(dynamics, values)
    np.testing.assert_allclose(
        found, [(1 + 7 + 9) / 3, 2, (0.5 * 2 + 3 + 5) / 2.5, np.nan], equal_nan=True
    )


def test_occupancy_and_policy_of_one_that_changes_over_time():
    model = gridworld_model("S.G")
    dynamics = model.dynamics(horizon=2, discount=0.5)
    left, right = np.eye(4)[3], np.eye(4)[1]
    table = np.array([[right, right, right], [left, left, left]])
    judge = Judged(World(model, dynamics), SEEDS)
    shown = judge.shown(TimeDependentTablePolicy(np.log(table + 1e-300)), None)
    # right from the first cell with weight 1, left from the second with weight 0.5
    np.testing.assert_allclose(shown.occupancy.sum(axis=1), [2 / 3, 1 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(shown.policy[:2], [right, left], atol=1e-12)
    # where it never is, what it would do over time
    np.testing.assert_allclose(shown.policy[2], (left + right) / 2, atol=1e-12)
    exact = finite_horizon_occupancy(dynamics, table)
    np.testing.assert_allclose(shown.occupancy, exact / exact.sum(), atol=1e-12)
    assert shown.reward is None and shown.distance is None


class Decoded(RewardFunction):
    """The true reward of a lock, from what is seen of its states."""

    kind = "state-action"

    def __init__(self, emission, values):
        self.emission, self.values = emission, values

    def __call__(self, observation, action, next_observation, terminated):
        codes = rotate(np.asarray(observation, dtype=np.float64))
        away = ((codes[:, None] - self.emission.codes) ** 2).sum(axis=2)
        return self.values[away.argmin(axis=1), action]


def test_a_reward_of_observations_is_one_of_hidden_states():
    task = tasks.COMBINATION_LOCK
    model = task._model()
    judge, _ = judged(task)
    policy = TablePolicy(np.zeros((model.states, model.actions)))
    shown = judge.shown(policy, Decoded(model.emission, model.rewards))
    assert shown.distance == pytest.approx(0, abs=1e-12)
    assert shown.reward is not None and np.isnan(shown.reward[model.terminal]).all()


@pytest.mark.parametrize("size", [1e200, 1e308], ids=str)
def test_a_reward_too_large_to_compare_is_left_out(size):
    values = np.array([size, -size, 0.0])
    policy = TablePolicy(np.zeros((3, 2)))
    solutions = [ShownSolution("huge", policy, TableReward(values)), ShownSolution("plain", policy)]
    figure = tasks.EARLY_TERMINATION.figure(solutions)
    assert set(figure.left_out) == {0} and "plain" in words(figure.svg)


def test_at_discount_one_there_is_no_canonical_reward_to_draw(monkeypatch):
    info = dataclasses.replace(tasks.EARLY_TERMINATION.info, discount=1.0)
    monkeypatch.setattr(tasks.EARLY_TERMINATION, "info", info)
    assert tasks.EARLY_TERMINATION.figure([]) is None
