"""Acting in environments: what is kept of it, what it costs, and how actions are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import TableFunction
from irlbench.baselines.learners.interaction import Interaction, softmax_actor
from irlbench.errors import BudgetExceeded
from irlbench.problem import Problem, StepMeter

#: A row's episodes have so many steps; those of even rows terminate, of odd ones are truncated.
LENGTHS = (3, 2, 4)


class Clock(VectorEnv[Any, Any, Any]):
    """Says which row, episode and step it is: 1000 row + 10 episode + step."""

    def __init__(self, num_envs: int, *, vectors: bool = False) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs, self._vectors = num_envs, vectors
        self.single_observation_space: spaces.Space[Any] = spaces.Discrete(10_000)
        if vectors:
            self.single_observation_space = spaces.Box(0, 1e4, (1, 3), np.float32)
        self.single_action_space = spaces.Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.lengths = np.array([LENGTHS[row % 3] for row in range(num_envs)])
        self.closed_once = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episode = np.zeros(self.num_envs, dtype=np.int64)
        self.time = np.zeros(self.num_envs, dtype=np.int64)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        return self._seen(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.episode += self.ended
        self.time = np.where(self.ended, 0, self.time + 1)
        self.ended = self.time == self.lengths
        even = np.arange(self.num_envs) % 2 == 0
        nothing = np.zeros(self.num_envs)
        return self._seen(), nothing, self.ended & even, self.ended & ~even, {}

    def close_extras(self, **kwargs: Any) -> None:
        self.closed_once = True

    def _seen(self) -> Any:
        rows = np.arange(self.num_envs)
        if self._vectors:
            stacked = np.stack([rows, self.episode, self.time], axis=1)[:, None]
            return stacked.astype(np.float32)
        return 1000 * rows + 10 * self.episode + self.time


def clocks(*, vectors=False, limit=None, made=None):
    inner = Clock(1, vectors=vectors)

    def make(rows):
        clock = Clock(rows, vectors=vectors)
        if made is not None:
            made.append(clock)
        return clock

    return Problem(
        task_id="gridworld/clock-v0",
        world="gridworld",
        observation_space=inner.single_observation_space,
        action_space=inner.single_action_space,
        horizon=4,
        discount=0.9,
        track="demonstrations+interaction",
        seed=0,
        needs=frozenset({"interaction"}),
        suppliers={"interaction": make},
        meter=StepMeter(limit),
    )


UNIFORM = TableFunction(10_000, 3)


def acting(problem, rows=3, capacity=1000, steps=0, seed=0, Q=UNIFORM):
    interaction = Interaction(problem, rows, capacity, Run(seed))
    act = softmax_actor(Q, 1.0, "cpu")
    counts = [interaction.step(act) for _ in range(steps)]
    return interaction, counts


def kept(interaction, size=4000, **options):
    """Every transition of the buffer: (s, s', terminated), drawn often enough to see all."""
    steps = interaction.sample(size, **options)
    columns = (steps.observations, steps.next_observations, steps.terminated)
    return set(zip(*(c.tolist() for c in columns), strict=True))


def transitions_of(row, steps):
    """What so many steps of a row give, in their order, reset steps left out."""
    found, time, episode = [], 0, 0
    for _ in range(steps):
        here = 1000 * row + 10 * episode
        if time == LENGTHS[row]:
            time, episode = 0, episode + 1
            continue
        time += 1
        found.append((here + time - 1, here + time, time == LENGTHS[row] and row % 2 == 0))
    return found


def test_steps_that_only_reset_are_neither_kept_nor_counted_nor_billed():
    problem = clocks()
    interaction, counts = acting(problem, steps=11)
    wanted = [transition for row in range(3) for transition in transitions_of(row, 11)]
    assert kept(interaction) == set(wanted)
    assert len(interaction) == sum(counts) == len(wanted) == problem.meter.used
    # Row 1 resets in steps 3, 6 and 9, row 0 in 4 and 8, row 2 in 5 and 10.
    assert counts == [3, 3, 2, 2, 2, 2, 3, 2, 2, 2, 3]


def test_only_terminations_are_ends():
    interaction, _ = acting(clocks(), steps=11)
    ends = {s for s, _, terminated in kept(interaction) if terminated}
    assert ends == {2, 12, 22, 2003, 2013}, "the truncated row 1 is bootstrapped from"


@pytest.mark.parametrize("capacity", [5, 7, 12])
def test_the_oldest_are_overwritten(capacity):
    interaction, _ = acting(clocks(), rows=1, capacity=capacity, steps=40)
    assert len(interaction) == capacity
    assert kept(interaction) == set(transitions_of(0, 40)[-capacity:])
    assert kept_observations(interaction).shape == (capacity,)
    latest = kept(interaction, newest=3)
    assert latest == set(transitions_of(0, 40)[-3:])


def test_the_newest_are_no_more_than_there_are():
    interaction, _ = acting(clocks(), rows=1, capacity=50, steps=5)
    assert kept(interaction, newest=30) == set(transitions_of(0, 5))
    assert sorted(kept_observations(interaction).tolist()) == [
        s for s, _, _ in transitions_of(0, 5)
    ]


def test_the_buffer_holds_one_step_of_every_row_at_least():
    interaction, _ = acting(clocks(), rows=3, capacity=1, steps=1)
    assert len(interaction) == 3
    assert {s for s, _, _ in kept(interaction)} == {0, 1000, 2000}


def test_samples_weigh_one_each_and_are_uniform():
    interaction, _ = acting(clocks(), rows=1, steps=3)
    steps = interaction.sample(30_000)
    assert (len(steps), steps.weight.sum().item()) == (30_000, 30_000.0)
    counts = np.bincount(steps.observations.numpy())
    assert counts == pytest.approx(10_000, abs=400)  # five standard deviations


def actions_of(world, Q, temperature=1.0, **options):
    """The shares of the actions that 3,000 rows take in 4 steps."""
    problem = world.problem("demonstrations+interaction", {"interaction"})
    interaction = Interaction(problem, 3000, 50_000, Run())
    for _ in range(4):
        interaction.step(softmax_actor(Q, temperature, "cpu"), **options)
    return np.bincount(interaction.sample(30_000).actions.numpy(), minlength=4) / 30_000


def test_actions_are_drawn_from_the_softmax(small_world):
    Q = TableFunction(16, 4)
    with torch.no_grad():
        Q.values.copy_(torch.tensor([0.2, 0.0, 0.1, -0.3]))
    for temperature in (1.0, 0.1):
        wanted = torch.softmax(Q.values[0].detach() / temperature, dim=0).numpy()
        assert actions_of(small_world, Q, temperature) == pytest.approx(wanted, abs=0.03)


def test_a_share_of_the_actions_is_random(small_world):
    certain = TableFunction(16, 4)
    with torch.no_grad():
        certain.values[:, 2] = 100.0
    for share in (0.0, 0.3, 1.0):
        found = actions_of(small_world, certain, random_share=share)
        wanted = [share / 4, share / 4, 1 - 3 * share / 4, share / 4]
        assert found == pytest.approx(wanted, abs=0.03 if share else 0.0)


def test_the_budget_is_all_rows_or_none():
    problem = clocks(limit=7)
    interaction, _ = acting(problem, rows=3, steps=2)
    assert problem.meter.left == 1
    assert interaction.exhausted
    with pytest.raises(BudgetExceeded):
        interaction.step(softmax_actor(UNIFORM, 1.0, "cpu"))
    roomy = Interaction(clocks(limit=3), 3, 10, Run())
    before = roomy.exhausted
    roomy.step(softmax_actor(UNIFORM, 1.0, "cpu"))
    assert (before, roomy.exhausted) == (False, True)
    assert not Interaction(clocks(), 3, 10, Run()).exhausted


def test_a_seed_decides_the_transitions(small_world):
    def seen(seed):
        problem = small_world.problem("demonstrations+interaction", {"interaction"}, seed=seed)
        interaction, _ = acting(problem, rows=4, steps=60, seed=seed, Q=TableFunction(16, 4))
        steps = interaction.sample(200)
        return [t.tolist() for t in (steps.observations, steps.actions, steps.next_observations)]

    assert seen(0) == seen(0) != seen(1)


def test_experience_is_of_the_dynamics(small_world):
    problem = small_world.problem("demonstrations+interaction", {"interaction"})
    interaction, _ = acting(problem, rows=20, capacity=10_000, steps=300, Q=TableFunction(16, 4))
    steps = interaction.sample(50_000)
    joint = np.zeros((16, 4, 16))
    np.add.at(joint, tuple(t.numpy() for t in (steps.observations, steps.actions)), 0)
    np.add.at(
        joint,
        tuple(t.numpy() for t in (steps.observations, steps.actions, steps.next_observations)),
        1,
    )
    rows = np.eye(16)[small_world.dynamics.successors]
    wanted = np.einsum("sak,sakt->sat", small_world.dynamics.probabilities, rows)
    found = joint / joint.sum(axis=2, keepdims=True)
    assert np.abs(found - wanted).max() < 0.15
    assert np.abs(found - wanted).mean() < 0.01
    assert not found[wanted == 0].any()


def test_vectors_are_kept_whole():
    class Zero(TableFunction):
        def forward(self, observations):
            assert observations.shape[1:] == (1, 3)
            return torch.zeros(len(observations), 3, dtype=torch.float64)

    interaction, _ = acting(clocks(vectors=True), steps=5, Q=Zero(1, 3))
    steps = interaction.sample(100)
    assert steps.observations.dtype == torch.float32
    assert steps.observations.shape == steps.next_observations.shape == (100, 1, 3)
    ahead = (steps.next_observations - steps.observations)[:, 0]
    assert torch.equal(ahead, torch.tensor([0.0, 0.0, 1.0]).expand(100, 3))
    assert kept_observations(interaction).shape == (len(interaction), 1, 3)


def test_closing_closes_the_environments():
    made: list[Clock] = []
    interaction = Interaction(clocks(made=made), 2, 10, Run())
    interaction.close()
    assert [clock.closed_once for clock in made] == [True]


def kept_observations(interaction):
    """The observations in the buffer that transitions begin with."""
    return interaction._observations[: len(interaction)]
