"""With exact expectations IPL and a reward model with the same prior ask for the same thing."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bt_reward import BTReward
from irlbench.baselines.algorithms.ipl import IPL
from irlbench.problem import Budget
from irlbench.registry import registry
from irlbench.tabular.rewards import expected_reward, transition_rewards
from irlbench.task import ProblemRequest, TaskOptions

TRACK, NEEDS = "preferences+dynamics", frozenset({"preferences", "dynamics"})


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """Fits to 30 pairs of risky-path: the reward's expectations, the policy, and where it counts."""
    home = tmp_path_factory.mktemp("home")
    task = registry().task("gridworld/risky-path-v0")
    task.prepare(TaskOptions(), home)

    def fit(algorithm, **changes):
        problem = task.problem(ProblemRequest(0, NEEDS, TRACK, None, 30), home)
        made = algorithm.configure("gridworld", {"temperature": 0.1, **changes})
        solution = made.fit(problem, Budget(), Run(0))
        dynamics = problem.resource("dynamics")
        reward = expected_reward(dynamics, transition_rewards(solution.reward, dynamics))
        inside = ~dynamics.terminal
        return reward[inside], solution.policy.probabilities[inside]

    return fit


def test_ipl_on_known_dynamics_is_a_reward_model_and_soft_value_iteration(fit):
    """Q and r = Q - gamma E[V'] are one to one, and both have the prior on every r(s, a)."""
    implied, policy = fit(IPL, gradient_steps=2000)
    modelled, planned = fit(BTReward, state_only=False, gradient_steps=1000)
    assert implied == pytest.approx(modelled, abs=1e-3)
    assert policy == pytest.approx(planned, abs=1e-3)
    # A reward model of states is another thing.
    of_states, _ = fit(BTReward, gradient_steps=1000)
    assert np.abs(implied - of_states).max() > 0.05
