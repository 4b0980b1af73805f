"""The package `imitation` as rows of ours: budgets, bits, policies and rewards that are its own."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from irlbench.algorithm import Run
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DataError, UsageError
from irlbench.policies.mlp import CategoricalMLPPolicy, SquashedGaussianMLPPolicy
from irlbench.policy import load_policy, save_policy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.randomness import RowGenerator
from irlbench.registry import registry
from irlbench.reward import load_reward, save_reward

if importlib.util.find_spec("imitation") is None:
    pytest.skip("imitation is not installed (make setup installs it)", allow_module_level=True)

from imitation.data.buffer import ReplayBuffer
from imitation.policies.base import FeedForward32Policy
from imitation.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet
from imitation.util.networks import RunningNorm, training
from stable_baselines3 import DQN, SAC

from irlbench.baselines.peers.imitation import adversarial, peer, sqil
from irlbench.baselines.peers.imitation.rewards import reward_of_pairs
from irlbench.baselines.solvers import ppo

CARTPOLE, PENDULUM = "CartPole-v1", "Pendulum-v1"
EPISODE = 40
SMALL_PPO: dict[str, Any] = {
    "num_envs": 4,
    "rollout": 64,
    "epochs": 2,
    "batch_size": 32,
    "saves": 2,
}
SMALL: dict[str, Any] = {
    "imitation/bc": {"gradient_steps": 30, "saves": 2},
    "imitation/gail": {**SMALL_PPO, "demo_batch_size": 16},
    "imitation/airl": {**SMALL_PPO, "demo_batch_size": 16},
    "imitation/sqil": {"saves": 2, "hidden": (8,), "batch_size": 8},
    "imitation/density": SMALL_PPO,
}
#: What the first three seconds of a trial's budget of steps come to.
STEPS = 203


def demonstrations(environment, count=2):
    """Episodes of a rule, cut after 40 steps unless the pole has fallen before."""
    env, episodes = gymnasium.make(environment), []
    for seed in range(count):
        observations, actions, ends = [env.reset(seed=seed)[0]], [], []
        while len(ends) < EPISODE and not any(ends):
            last = observations[-1]
            side = last[2] + last[3] > 0 if environment == CARTPOLE else [1.5 * last[1]]
            actions.append(np.asarray(side, dtype=env.action_space.dtype))
            observation, _, terminated, _, _ = env.step(actions[-1])
            observations.append(observation)
            ends.append(terminated)
        cut = np.zeros(len(ends), dtype=bool)
        cut[-1] = not ends[-1]
        episodes.append(Episode(np.array(observations), np.array(actions), np.array(ends), cut))
    env.close()
    return Demonstrations(tuple(episodes))


def problem_of(algorithm, environment, limit=None, shown=None, seed=0):
    env = gymnasium.make(environment)
    make = partial(gymnasium.make, environment, disable_env_checker=True)
    shown = shown or demonstrations(environment)
    return Problem(
        task_id="control/toy-v0",
        world="control",
        observation_space=env.observation_space,
        action_space=env.action_space,
        horizon=EPISODE,
        discount=0.97,
        track=algorithm.tracks[0],
        seed=seed,
        needs=algorithm.needs,
        suppliers={
            "demonstrations": lambda: shown,
            "interaction": lambda rows: SyncVectorEnv([make for _ in range(rows)]),
        },
        meter=StepMeter(limit),
    )


def fit(name, environment=CARTPOLE, steps=STEPS, gradient_steps=None, seconds=None, **changes):
    """The solution, the problem and the run of a small fit."""
    algorithm = registry().algorithm(name)
    budget = Budget(steps, gradient_steps, seconds)
    problem = problem_of(algorithm, environment, steps)
    run = Run(0, budget=budget, meter=problem.meter)
    made = algorithm.configure("control", {**SMALL[name], **changes})
    return made.fit(problem, budget, run), problem, run


def same(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM])
@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_learns_the_same_bits(name, environment):
    (first, problem, run), (second, again, other) = (fit(name, environment) for _ in range(2))
    assert same(first.policy.arrays(), second.policy.arrays())
    assert run.logged == other.logged and run.logged
    assert problem.costs() == again.costs()
    assert run.gradient_steps == other.gradient_steps > 0
    assert [step for step, _ in run.saved] == [step for step, _ in other.saved]
    for (_, one), (_, two) in zip(run.saved, other.saved, strict=True):
        assert same(one.arrays(), two.arrays())
    assert same(run.saved[-1][1].arrays(), first.policy.arrays())
    assert not same(run.saved[0][1].arrays(), first.policy.arrays()), "it goes on learning"
    if first.reward is not None:
        assert same(first.reward.arrays(), second.reward.arrays())


@pytest.mark.parametrize("name", SMALL)
def test_another_seed_learns_others(name):
    algorithm = registry().algorithm(name)
    found = []
    for seed in range(2):
        problem = problem_of(algorithm, CARTPOLE, STEPS, seed=seed)
        made = algorithm.configure("control", SMALL[name])
        found.append(made.fit(problem, Budget(STEPS), Run(seed)).policy.arrays())
    assert not same(*found)


# --- Budgets


@pytest.mark.parametrize(
    ("name", "steps", "used", "saved"),
    [
        ("imitation/bc", 0, 0, [15, 30]),
        ("imitation/gail", 203, 192, [128, 192]),
        ("imitation/airl", 64, 64, [64]),
        ("imitation/density", 200, 192, [128, 192]),
        ("imitation/sqil", 203, 200, [100, 200]),
        ("imitation/sqil", 204, 204, [104, 204]),
    ],
)
def test_the_last_rollout_ends_within_the_budget(name, steps, used, saved):
    _, problem, run = fit(name, steps=steps)
    assert problem.meter.used == used
    assert [step for step, _ in run.saved] == saved


@pytest.mark.parametrize("name", ["imitation/gail", "imitation/airl", "imitation/density"])
def test_a_budget_below_one_round_is_refused(name):
    with pytest.raises(UsageError, match="a round takes 64 environment steps, and 63 are granted"):
        fit(name, steps=63)


def test_a_budget_below_one_rollout_of_sqil_is_refused():
    with pytest.raises(UsageError, match="update every 4 steps"):
        fit("imitation/sqil", steps=3)


@pytest.mark.parametrize(
    ("name", "limit", "spent"),
    [
        ("imitation/bc", 7, 7),
        ("imitation/gail", 17, 16),  # two rounds of 2 * 64 / 32 and 4 of the discriminator
        ("imitation/airl", 7, 0),
        ("imitation/density", 11, 8),
        ("imitation/sqil", 5, 5),
    ],
)
def test_gradient_steps_end_it(name, limit, spent):
    _, _, run = fit(name, gradient_steps=limit)
    assert run.gradient_steps == spent


@pytest.mark.parametrize("name", SMALL)
def test_the_clock_ends_it(name):
    _, problem, run = fit(name, seconds=0.0)
    assert run.gradient_steps <= 8, "a round at most"
    assert problem.meter.used <= 64


@pytest.mark.parametrize("name", ["imitation/bc", "imitation/gail", "imitation/density"])
def test_every_update_is_billed(name, monkeypatch):
    policies = []
    convert = ppo.policy_from_actor_critic

    def keep(policy, **scaling):
        policies.append(policy)
        return convert(policy, **scaling)

    monkeypatch.setattr(ppo, "policy_from_actor_critic", keep)
    taken = []
    monkeypatch.setattr(torch.optim.Adam, "step", counted(torch.optim.Adam.step, taken))
    _, _, run = fit(name)
    assert run.gradient_steps == len(taken) > 0
    assert policies, "what is handed back comes from the package's policy"


def counted(step, taken):
    def stepped(self, *arguments, **named):
        taken.append(self)
        return step(self, *arguments, **named)

    return stepped


def test_every_update_of_sqil_is_billed(monkeypatch):
    learners = []
    convert = sqil.greedy_policy

    def keep(learner):
        learners.append(learner)
        return convert(learner)

    monkeypatch.setattr(sqil, "greedy_policy", keep)
    _, _, run = fit("imitation/sqil")
    assert run.gradient_steps == learners[-1]._n_updates == (200 - 100) // 4


# --- Data


def test_an_episode_that_was_cut_is_done():
    algorithm = registry().algorithm("imitation/gail")
    shown = demonstrations(PENDULUM)
    found = peer.transitions_of(problem_of(algorithm, PENDULUM, shown=shown))
    assert len(found) == 2 * EPISODE
    assert list(np.flatnonzero(found.dones)) == [EPISODE - 1, 2 * EPISODE - 1]
    np.testing.assert_array_equal(
        found.next_obs[:-1][~found.dones[:-1]], found.obs[1:][~found.dones[:-1]]
    )


@pytest.mark.parametrize("name", SMALL)
def test_demonstrations_without_actions_are_refused(name):
    algorithm = registry().algorithm(name)
    (first, _) = demonstrations(CARTPOLE)
    blind = Episode(first.observations, None, first.terminations, first.truncations)
    problem = problem_of(algorithm, CARTPOLE, 256, Demonstrations((blind,)))
    with pytest.raises(DataError, match="observations only"):
        algorithm.configure("control", SMALL[name]).fit(problem, Budget(256), Run(0))


def test_sqil_learns_from_both_halves_on_the_scale_of_its_learner(monkeypatch):
    samples = []

    def keep(buffer):
        def sample(size, env=None):
            samples.append(drawn(size, env))
            return samples[-1]

        drawn = tolerant(buffer)
        return sample

    tolerant = sqil._tolerant
    monkeypatch.setattr(sqil, "_tolerant", keep)
    fit("imitation/sqil", PENDULUM, steps=120)
    for batch in samples:
        assert batch.rewards[:4].tolist() == [[0.0]] * 4
        assert batch.rewards[4:].tolist() == [[1.0]] * 4
        assert batch.discounts is None
    experts = torch.cat([batch.actions[4:] for batch in samples])
    seen = torch.cat([batch.observations[4:] for batch in samples])
    # The rule's torque is 1.5 sin(theta), the bounds are 2.
    np.testing.assert_allclose(experts[:, 0], 0.75 * seen[:, 1], atol=1e-6)


# --- Policies and rewards


def observations(space, rows=64):
    return np.random.default_rng(1).normal(size=(rows, *space.shape)).astype(np.float32) * 3


def acts_as(policy, model, space, tmp_path, atol=0.0):
    """Our policy, once saved and loaded, chooses what the package's does."""
    save_policy(policy, tmp_path)
    seen = observations(space)
    expected, _ = model.predict(seen, deterministic=True)
    generator = RowGenerator(np.arange(len(seen)), stream=1)
    found, _ = load_policy(tmp_path).act(seen, deterministic=True, generator=generator)
    np.testing.assert_allclose(found, expected, atol=atol)
    assert len(np.unique(np.round(expected, 3))) > 1


@pytest.mark.parametrize("environment", [CARTPOLE, PENDULUM])
def test_the_packages_policy_acts_the_same_as_ours(environment, tmp_path):
    env = gymnasium.make(environment)
    torch.manual_seed(0)
    theirs = FeedForward32Policy(env.observation_space, env.action_space, lambda _: 1e-3)
    torch.nn.init.normal_(theirs.action_net.weight)
    acts_as(
        ppo.policy_from_actor_critic(theirs), theirs, env.observation_space, tmp_path, atol=1e-5
    )


def test_a_learner_that_scales_acts_the_same_as_ours(tmp_path, monkeypatch):
    models: list[Any] = []
    convert = peer.policy_of

    def keep(model):
        models.append(model)
        return convert(model)

    monkeypatch.setattr(adversarial, "policy_of", keep)
    solution, _, _ = fit("imitation/gail", PENDULUM, normalise_observations=True)
    assert models[-1].policy.features_extractor.normalize.count > 0
    assert "observation_mean" in solution.policy.arrays()
    torch.nn.init.normal_(models[-1].policy.action_net.weight)
    space = models[-1].observation_space
    acts_as(convert(models[-1]), models[-1], space, tmp_path, atol=1e-5)


def test_the_discriminator_draws_from_the_newest(monkeypatch):
    drawn = []
    sample = ReplayBuffer.sample

    def keep(self, size):
        drawn.append(self.size())
        return sample(self, size)

    monkeypatch.setattr(ReplayBuffer, "sample", keep)
    fit("imitation/gail", newest=96)
    assert drawn == [64] * 4 + [96] * 8
    drawn.clear()
    fit("imitation/gail")
    assert drawn == [64] * 12


def test_dqn_acts_the_same_as_ours(tmp_path):
    model = DQN("MlpPolicy", CARTPOLE, seed=0, buffer_size=10)
    q_net: Any = model.policy.q_net
    torch.nn.init.normal_(q_net.q_net[-1].weight)
    policy = sqil.greedy_policy(model)
    assert isinstance(policy, CategoricalMLPPolicy)
    acts_as(policy, model, model.observation_space, tmp_path)


def test_sac_acts_the_same_as_ours(tmp_path):
    model = SAC("MlpPolicy", PENDULUM, seed=0, buffer_size=10)
    actor: Any = model.policy.actor
    torch.nn.init.normal_(actor.mu.weight, std=0.1)
    policy = sqil.squashed_policy(model)
    assert isinstance(policy, SquashedGaussianMLPPolicy)
    acts_as(policy, model, model.observation_space, tmp_path, atol=1e-5)
    # Sampling draws from the same distribution, too.
    seen = observations(model.observation_space)
    with torch.no_grad():
        mean, log_std, _ = actor.get_action_dist_params(torch.as_tensor(seen))
    ours = policy._distribution(seen)
    np.testing.assert_allclose(ours[0], mean, atol=1e-5)
    np.testing.assert_allclose(ours[1], log_std, atol=1e-5)


def transitions(environment, rows=64):
    env, rng = gymnasium.make(environment), np.random.default_rng(2)
    seen, following = (
        observations(env.observation_space, rows),
        observations(env.observation_space, rows),
    )
    if environment == CARTPOLE:
        actions = rng.integers(2, size=rows)
    else:
        actions = rng.uniform(-2, 2, size=(rows, 1)).astype(np.float32)
    return seen, actions, following[::-1].copy(), rng.random(rows) < 0.3


ACTIONS = [CARTPOLE, PENDULUM]


@pytest.mark.parametrize("environment", ACTIONS)
@pytest.mark.parametrize("hidden", [(), (5,), (8, 7)])
@pytest.mark.parametrize("normalise", [RunningNorm, None])
def test_a_reward_network_pays_the_same_as_ours(environment, hidden, normalise, tmp_path):
    env = gymnasium.make(environment)
    torch.manual_seed(0)
    net = BasicRewardNet(
        env.observation_space, env.action_space, hid_sizes=hidden, normalize_input_layer=normalise
    )
    batch = transitions(environment)
    with training(net):  # the running moments follow what is seen
        net(*net.preprocess(*batch))
    save_reward(reward_of_pairs(net, 0.97), tmp_path)
    np.testing.assert_allclose(load_reward(tmp_path)(*batch), net.predict(*batch), atol=2e-5)


@pytest.mark.parametrize("environment", ACTIONS)
def test_a_shaped_network_pays_the_same_as_ours(environment, tmp_path):
    env = gymnasium.make(environment)
    algorithm: Any = registry().algorithm("imitation/airl").configure("control")
    torch.manual_seed(0)
    net = BasicShapedRewardNet(
        env.observation_space,
        env.action_space,
        discount_factor=0.9,
        normalize_input_layer=RunningNorm,
    )
    batch = transitions(environment)
    with training(net):
        net(*net.preprocess(*batch))
    save_reward(algorithm._recovered(net, 0.9), tmp_path)
    found = load_reward(tmp_path)
    np.testing.assert_allclose(found(*batch), net.predict(*batch), atol=2e-5)
    np.testing.assert_allclose(found.unshaped()(*batch), net.base.predict(*batch), atol=2e-5)


@pytest.mark.parametrize("environment", ACTIONS)
@pytest.mark.parametrize("name", ["imitation/gail", "imitation/airl"])
def test_the_reward_handed_back_is_the_trained_networks(name, environment, monkeypatch):
    networks = []
    cls: Any = registry().algorithm(name)
    recovered = cls._recovered

    def keep(self, network, discount):
        networks.append(network)
        return recovered(self, network, discount)

    monkeypatch.setattr(cls, "_recovered", keep)
    solution, _, _ = fit(name, environment)
    batch = transitions(environment)
    np.testing.assert_allclose(solution.reward(*batch), networks[0].predict(*batch), atol=2e-5)


# --- Hyperparameters


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("imitation/gail", {"rollout": 65}, "multiple of num_envs 8"),
        ("imitation/airl", {"demo_batch_size": 0}, "demo_batch_size must be positive"),
        ("imitation/gail", {"newest": "0"}, "newest must be a positive int or none"),
        ("imitation/density", {"kernel": "gausian"}, "did you mean 'gaussian'"),
        ("imitation/density", {"density": "pairs"}, "unknown density 'pairs'"),
        ("imitation/density", {"bandwidth": -1.0}, "bandwidth must be positive"),
        ("imitation/sqil", {"learning_rate": "fast"}, "must be a positive float or none"),
        ("imitation/sqil", {"batch_size": "1"}, "at least 2"),
        ("imitation/sqil", {"hidden": "(0,)"}, "widths from 1 on"),
        ("imitation/sqil", {"exploration_final": 1.5}, "must lie in"),
        ("imitation/bc", {"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, changes, told):
    with pytest.raises(UsageError, match=told):
        registry().algorithm(name).configure("control", changes)
