"""MCE IRL: known answers on exact occupancies, and what it does with few demonstrations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.mce_irl import MCEIRL, OccupancyMatching
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError, UnsupportedPairError, UsageError
from irlbench.metrics.reward_distances import starc_distance
from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
from irlbench.problem import Budget
from irlbench.registry import registry, require_pair
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.evaluation import regret
from irlbench.tabular.occupancy import infinite_horizon_occupancy, occupancy_over_time
from irlbench.tabular.planning import finite_horizon_value_iteration, value_iteration
from irlbench.task import ProblemRequest, TaskOptions


def never(step, loss, found):
    return False


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def fitted(home: Path):
    """Fits an algorithm to some demonstrations of a task at a seed."""

    def fit(algorithm, name, demonstrations, seed, budget=None, **changes):
        task, budget = registry().task(name), budget or Budget()
        request = ProblemRequest(
            seed=seed,
            needs=algorithm.needs_for("gridworld", algorithm.tracks[0]),
            track=algorithm.tracks[0],
            demonstrations=demonstrations,
        )
        run = Run(seed, budget=budget)
        made = algorithm.configure("gridworld", changes)
        return made.fit(task.problem(request, home), budget, run), run

    return fit


def judged(name, policy, home):
    return registry().task(name).evaluator(TaskOptions(), home).evaluate(policy, "test").scores


def test_exact_occupancies_give_the_reward_and_the_occupancy_back(small_grid, grid):
    expert_policy = np.exp(small_grid.log_policy(small_grid.soft_q(small_grid.rewards)))
    expert = infinite_horizon_occupancy(grid, expert_policy)
    found = OccupancyMatching(grid, expert).solve(2000, 1e-9, never)
    assert found.gradient_norm < 1e-8
    assert np.abs(found.occupancy - expert).sum() / 2 < 1e-6
    assert starc_distance(grid, small_grid.rewards, found.reward) < 1e-5
    # In units of the temperature: the same numbers, but for a constant.
    scaled = small_grid.temperature * found.reward - small_grid.rewards[:, 0]
    assert np.ptp(scaled) < 1e-4


def test_exact_occupancies_over_a_finite_horizon(small_grid, grid):
    temperature = small_grid.temperature
    plan = finite_horizon_value_iteration(grid, small_grid.rewards[:, 0], temperature)
    discounts = grid.discount ** np.arange(grid.horizon)
    expert = occupancy_over_time(grid, plan.policy) * (discounts / discounts.sum())[:, None, None]
    found = OccupancyMatching(grid, expert).solve(2000, 1e-8, never)
    assert found.logits.shape == (30, 49, 4)
    assert np.abs(found.occupancy - expert.sum(axis=0)).sum() / 2 < 1e-5
    assert np.abs(softmax(found.logits) - plan.policy).max() < 1e-3
    assert starc_distance(grid, small_grid.rewards, found.reward) < 1e-3


def test_a_reward_that_is_linear_in_features_is_recovered_by_its_weights(small_grid, grid):
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(49, 3)), np.array([1.0, -0.5, 0.2])
    expert = infinite_horizon_occupancy(grid, value_iteration(grid, features @ weights, 1.0).policy)
    matching = OccupancyMatching(grid, expert, "features", features=features)
    assert matching.parameters == 3
    found = matching.solve(200, 1e-9, never)
    recovered = np.linalg.lstsq(features, found.reward, rcond=None)[0]
    assert recovered == pytest.approx(weights, abs=1e-6)
    assert features @ recovered == pytest.approx(found.reward)


@pytest.mark.parametrize("form", ["state", "state-action", "features"])
@pytest.mark.parametrize("finite", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_the_gradient_by_finite_differences(grid, form, finite, ends):
    """Also where the expert's occupancy is no policy's, as that of few demonstrations."""
    terminal = np.zeros(49, dtype=bool)
    terminal[[3, 20]] = ends
    dynamics = TabularDynamics(
        grid.successors, grid.probabilities, grid.initial, terminal, grid.horizon, grid.discount
    )
    rng = np.random.default_rng(0)
    expert = rng.random((30, 49, 4) if finite else (49, 4)) * ~terminal[:, None]
    expert /= expert.sum()
    features = rng.normal(size=(49, 6))
    matching = OccupancyMatching(dynamics, expert, form, features=features, l2=0.01)
    point = rng.normal(size=matching.parameters)
    _, gradient = matching(point)
    for _ in range(3):
        direction = rng.normal(size=len(point))
        ahead, behind = (matching(point + sign * 1e-5 * direction)[0] for sign in (1, -1))
        assert (ahead - behind) / 2e-5 == pytest.approx(gradient @ direction, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("finite", [False, True])
def test_the_loss_is_the_negative_log_likelihood_of_the_experts_actions(grid, finite):
    rng = np.random.default_rng(1)
    expert = rng.random((30, 49, 4) if finite else (49, 4))
    expert /= expert.sum()
    reward = rng.normal(size=49)
    if finite:
        policy = finite_horizon_value_iteration(grid, reward, 1.0).policy
    else:
        policy = value_iteration(grid, reward, 1.0, tolerance=1e-13).policy
    loss, _ = OccupancyMatching(grid, expert)(reward)
    assert loss == pytest.approx(-(expert * np.log(policy)).sum(), rel=1e-9)


def test_few_demonstrations_go_further_than_with_behavioural_cloning(fitted, home):
    """Four rooms, one and three demonstrations, seeds 0 to 2; the expert's return is 84.8."""
    for demonstrations in (1, 3):
        for seed in range(3):
            ours, _ = fitted(MCEIRL, "gridworld/four-rooms-v0", demonstrations, seed)
            cloned, _ = fitted(
                BehaviouralCloning,
                "gridworld/four-rooms-v0",
                demonstrations,
                seed,
                gradient_steps=200,
            )
            found, peer = (
                judged("gridworld/four-rooms-v0", solution.policy, home)
                for solution in (ours, cloned)
            )
            assert found["return"] > peer["return"] + 5
            assert found["return"] > 82
            assert found["kl_to_expert"] < 0.05


def test_the_reward_transfers(fitted):
    """Acting on it by hard planning in the changed rooms costs next to nothing."""
    transfer = registry().task("gridworld/four-rooms-transfer-v0")
    request = ProblemRequest(0, frozenset({"dynamics"}), "reference", None)
    changed = transfer.problem(request, Path()).resource("dynamics")
    true = transfer.true_reward().arrays()["values"]
    uniform = np.full((changed.states, changed.actions), 1 / changed.actions)
    lost = regret(changed, true, uniform, finite_horizon=True)
    for seed in range(3):
        solution, _ = fitted(MCEIRL, "gridworld/four-rooms-v0", 20, seed)
        policy = value_iteration(changed, solution.reward.values, 0.0).policy
        assert regret(changed, true, policy, finite_horizon=True) < 0.01 * lost


@pytest.mark.parametrize(
    ("changes", "kind", "shape"),
    [
        ({}, TablePolicy, (104,)),
        ({"reward": "state-action"}, TablePolicy, (104, 4)),
        ({"reward": "features"}, TablePolicy, (104,)),
        ({"finite_horizon": True}, TimeDependentTablePolicy, (104,)),
    ],
)
def test_each_form_gives_policy_and_reward_and_the_same_bits_again(
    fitted, home, changes, kind, shape
):
    name = "gridworld/four-rooms-v0"
    first, run = fitted(MCEIRL, name, 10, 0, **changes)
    again, _ = fitted(MCEIRL, name, 10, 0, **changes)
    assert type(first.policy) is kind
    assert first.reward.values.shape == shape
    assert first.reward.discount == 0.99
    assert first.reward.temperature == 1.0
    assert run.logged[-1][1]["gradient_norm"] <= 1e-6
    assert run.gradient_steps == run.logged[-1][0]
    assert judged(name, first.policy, home)["return"] > 80
    assert first.reward.values.tobytes() == again.reward.values.tobytes()
    mine, same = (s.policy.log_probabilities.tobytes() for s in (first, again))
    assert mine == same


def test_the_temperature_scales_the_reward_and_leaves_the_policy(fitted):
    name = "gridworld/windy-cliff-v0"
    one, _ = fitted(MCEIRL, name, 5, 0)
    other, _ = fitted(MCEIRL, name, 5, 0, temperature=0.25)
    assert np.array_equal(other.reward.values, 0.25 * one.reward.values)
    assert np.array_equal(other.policy.probabilities, one.policy.probabilities)


def test_a_stronger_prior_makes_a_smaller_reward(fitted):
    sizes = [
        np.linalg.norm(fitted(MCEIRL, "gridworld/windy-cliff-v0", 5, 0, l2=l2)[0].reward.values)
        for l2 in (0.01, 0.1, 1.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_the_budget_ends_it(fitted):
    name = "gridworld/windy-cliff-v0"
    _, run = fitted(MCEIRL, name, 5, 0, Budget(gradient_steps=3))
    assert run.gradient_steps == 3
    _, timed = fitted(MCEIRL, name, 5, 0, Budget(seconds=0.0))
    assert timed.gradient_steps == 1
    solution, none = fitted(MCEIRL, name, 5, 0, Budget(gradient_steps=0))
    assert none.gradient_steps == 0
    assert not solution.reward.values.any()


def given(problem_parts):
    """A problem of some demonstrations in some dynamics."""
    dynamics, episodes = problem_parts
    parts = {"dynamics": dynamics, "features": np.eye(dynamics.states)}
    return SimpleNamespace(
        resource=parts.__getitem__, demonstrations=Demonstrations(tuple(episodes))
    )


def test_a_demonstration_that_the_dynamics_cannot_produce_is_refused(grid):
    states = np.array([0, 1, 40])
    episode = Episode(states, np.array([1, 1]), np.zeros(2, bool), np.array([False, True]))
    with pytest.raises(
        DataError,
        match="demonstration 0, step 1: state 1, action 1: the dynamics lead to state 40 with "
        "probability 0",
    ):
        MCEIRL.configure("gridworld").fit(given((grid, [episode])), Budget(), Run())


def test_it_is_refused_where_the_dynamics_are_not_supplied():
    with pytest.raises(UnsupportedPairError, match="mce-irl needs dynamics, features, which "):
        require_pair(MCEIRL, registry().task("gridworld/combination-lock-v0"))
    with pytest.raises(UnsupportedPairError, match="mce-irl runs in gridworld, not in control"):
        require_pair(MCEIRL, registry().task("control/cartpole-v0"))
    require_pair(MCEIRL, registry().task("gridworld/four-rooms-v0"))
    assert registry().algorithm("mce-irl") is MCEIRL


def test_what_does_not_fit_is_refused(grid):
    with pytest.raises(UsageError, match=r"reward is one of state, state-action, features"):
        MCEIRL.configure("gridworld", {"reward": "linear"})
    for name, value in (
        ("temperature", 0.0),
        ("l2", -1.0),
        ("gradient_steps", 0),
        ("tolerance", 0.0),
    ):
        with pytest.raises(UsageError, match=f"{name} must .*{value}"):
            MCEIRL.configure("gridworld", {name: value})
    with pytest.raises(UsageError, match=r"occupancy here has shape \(49, 4\)"):
        OccupancyMatching(grid, np.zeros(49))
    expert = np.full((49, 4), 1 / 196)
    with pytest.raises(UsageError, match=r"give `features`"):
        OccupancyMatching(grid, expert, "features")
    with pytest.raises(UsageError, match=r"shape \(49, features\), got \(48, 2\)"):
        OccupancyMatching(grid, expert, "features", features=np.zeros((48, 2)))
    forever = TabularDynamics(
        grid.successors, grid.probabilities, grid.initial, grid.terminal, 30, discount=1.0
    )
    with pytest.raises(UsageError, match="set finite_horizon"):
        MCEIRL.configure("gridworld").fit(given((forever, [])), Budget(), Run())


@pytest.mark.skipif(
    importlib.util.find_spec("imitation") is None,
    reason="imitation is not installed (make setup installs it)",
)
def test_it_agrees_with_imitation():
    """Both are given the exact occupancy of one expert; the peer's counts the last state, too."""
    import torch
    from gymnasium.spaces import Discrete
    from imitation.algorithms.mce_irl import MCEIRL as Peer
    from imitation.algorithms.mce_irl import mce_occupancy_measures
    from imitation.rewards.reward_nets import BasicRewardNet

    rng = np.random.default_rng(0)
    states, actions, horizon = 8, 3, 12
    transition = rng.dirichlet(np.ones(states), size=(states, actions))
    dynamics = TabularDynamics(
        successors=np.broadcast_to(np.arange(states, dtype=np.int32), transition.shape),
        probabilities=transition,
        initial=np.full(states, 1 / states),
        terminal=np.zeros(states, dtype=bool),
        horizon=horizon,
        discount=1.0,
    )
    reward = rng.normal(size=states)
    env = SimpleNamespace(
        horizon=horizon,
        state_dim=states,
        action_dim=actions,
        transition_matrix=transition,
        initial_state_dist=dynamics.initial,
        observation_matrix=np.eye(states, dtype=np.float32),
        state_space=Discrete(states),
        action_space=Discrete(actions),
    )
    _, visited = mce_occupancy_measures(env, reward=reward)
    torch.manual_seed(0)
    net = BasicRewardNet(
        Discrete(states),
        Discrete(actions),
        hid_sizes=[],
        use_action=False,
        use_next_state=False,
        use_done=False,
        use_state=True,
    )
    net.mlp = torch.nn.Linear(states, 1, bias=False)
    net.forward = lambda state, *_: net.mlp(state).squeeze(1)
    peer = Peer(
        visited,
        env,
        net,
        rng,
        optimizer_kwargs={"lr": 0.05},
        linf_eps=1e-4,
        grad_l2_eps=1e-4,
        log_interval=None,
    )
    peer.train(max_iter=3000)
    plan = finite_horizon_value_iteration(dynamics, reward, 1.0)
    expert = occupancy_over_time(dynamics, plan.policy) / horizon
    found = OccupancyMatching(dynamics, expert).solve(500, 1e-8, never)
    ours = softmax(found.logits)
    assert np.abs(ours - plan.policy).max() < 1e-5
    assert np.abs(ours - peer.policy.pi).max() < 1e-2
