"""A fit that is killed and goes on from its checkpoint ends in the same bits as one that is not."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from irlbench.algorithm import Run
from irlbench.baselines.algorithms.bc import BehaviouralCloning
from irlbench.baselines.algorithms.references import Base, Expert, Random, Survival
from irlbench.baselines.solvers import sac
from irlbench.baselines.solvers.ppo import PPO
from irlbench.data.demonstrations import Demonstrations, Episode, TokenEpisode
from irlbench.errors import DataError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.problem import Budget, Problem
from irlbench.rewards.linear import LinearReward
from irlbench.tabular.dynamics import TabularDynamics


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class Fragile(Run):
    """Keeps a checkpoint at every n-th chance, and dies in the middle of an update.

    Args:
        folder: Where the checkpoint is.
        every: At which chances a checkpoint is due; 0 for never.
        dies_at: Before which update of this attempt it dies; 0 for never.
        more: Arguments of `Run`.
    """

    def __init__(self, folder, every=1, dies_at=0, **more):
        super().__init__(folder=folder, **more)
        self.every, self.dies_at = every, dies_at
        self.chances = self.updates = self.checkpoints = 0
        self.logs_kept = self.saves_kept = 0

    @property
    def checkpoint_due(self):
        self.chances += 1
        return bool(self.every) and self.chances % self.every == 0

    def checkpoint(self, state):
        super().checkpoint(state)
        self.checkpoints += 1
        self.logs_kept, self.saves_kept = len(self.logged), len(self.saved)

    def spend(self, *, gradient_steps=0):
        super().spend(gradient_steps=gradient_steps)
        self.updates += 1
        if self.updates == self.dies_at:
            raise Killed


def problem_of(world, observations, actions, horizon, **suppliers):
    return Problem(
        task_id=f"{world}/toy-v0",
        world=world,
        observation_space=observations,
        action_space=actions,
        horizon=horizon,
        discount=0.99,
        track="demonstrations",
        seed=0,
        needs=frozenset(suppliers),
        suppliers=suppliers,
    )


def episodes(observe, act, count=3, steps=20):
    rng = np.random.default_rng(0)
    ends = np.arange(steps) == steps - 1
    made = [
        Episode(observe(rng, steps + 1), act(rng, steps), ends, ends & False) for _ in "x" * count
    ]
    return Demonstrations(tuple(made))


def gridworld():
    space, actions = spaces.Discrete(6), spaces.Discrete(3)
    given = episodes(lambda rng, n: rng.integers(6, size=n), lambda rng, n: rng.integers(3, size=n))
    return problem_of("gridworld", space, actions, 50, demonstrations=lambda: given)


def control(actions):
    def act(rng, n):
        if actions.shape:
            return rng.uniform(-1, 1, size=(n, *actions.shape)).astype(np.float32)
        return rng.integers(actions.n, size=n)

    given = episodes(lambda rng, n: rng.normal([10, -3, 0], size=(n, 3)), act)
    space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    return problem_of("control", space, actions, 50, demonstrations=lambda: given)


def language_model(dtype=torch.float32):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    return CausalLMPolicy(LlamaForCausalLM(config).to(dtype))


def text(dtype=torch.float32):
    rng = np.random.default_rng(0)
    given = []
    for length in rng.integers(3, 8, size=12):
        tokens = rng.integers(20, size=length).astype(np.int32)
        given.append(TokenEpisode(tokens, 2, np.arange(length) >= 2, "stop"))
    return problem_of(
        "text",
        spaces.Discrete(20),  # not looked at
        spaces.Discrete(20),
        8,
        demonstrations=lambda: Demonstrations(tuple(given)),
        reference_model=lambda: language_model(dtype),
    )


WORLDS = {
    "table": gridworld,
    "discrete": partial(control, spaces.Discrete(3)),
    "continuous": partial(control, spaces.Box(-1, 1, (2,))),
    "language model": text,
    "language model, bfloat16": partial(text, torch.bfloat16),
}
#: Batches are drawn at random, and the step size and Adam's moments move throughout.
CLONING = {"gradient_steps": 23, "batch_size": 8, "hidden": (8,), "saves": 4, "weight_decay": 0.1}


def cloning(world, **changes):
    """BC on a new problem, as every process makes its own: the problem, and what fits it."""
    problem = WORLDS[world]()
    algorithm = BehaviouralCloning.configure(problem.world, {**CLONING, **changes})
    return problem, lambda run: algorithm.fit(problem, Budget(), run).policy


def batch_of(environment, rows):
    make = partial(gymnasium.make, environment, disable_env_checker=True)
    return SyncVectorEnv([make for _ in range(rows)])


def interaction(environment, limit=None):
    env = gymnasium.make(environment)
    spaces_of = env.observation_space, env.action_space
    problem = problem_of("control", *spaces_of, 4, interaction=partial(batch_of, environment))
    problem.meter.limit = limit
    return problem


#: Horizon 4 and 4 rows: all begin anew every 160 steps, that is after rollouts 3, 5, 8 and 10.
SOLVING = {"num_envs": 4, "rollout": 16, "batch_size": 32, "epochs": 2, "hidden": (8,), "saves": 3}
STEPS = 11 * 64 + 20  # the last rollout is shorter than the others


def solving(environment, limit=None, **changes):
    """PPO likewise."""
    problem = interaction(environment, limit)
    solver = PPO.configure("control", {**SOLVING, "steps": STEPS, **changes})
    reward = LinearReward.constant(1.0)
    return problem, lambda run: solver.solve(problem, reward, Budget(), run)


#: All begin anew every 100 steps; the first 50 are random, and each of the rest is an update.
ACTING = {"steps": 450, "random_steps": 50, "batch_size": 16, "actor_critic_hidden": (8,)}


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    """SAC begins anew, and logs, more often than it does for users."""
    monkeypatch.setattr(sac, "STEPS_BETWEEN_RESTARTS", 100)
    monkeypatch.setattr(sac, "_LOG_EVERY", 20)


def acting(limit=None, **changes):
    """SAC, with few parameters, all of which change at every step."""
    problem = interaction("Pendulum-v1", limit)
    solver = sac.SAC.configure("control", {**ACTING, **changes})
    reward = LinearReward.constant(1.0)
    return problem, lambda run: solver.solve(problem, reward, Budget(), run)


#: What is fitted, and in how many updates.
FITS: dict[str, Any] = {
    **{f"bc, {world}": (partial(cloning, world), 23) for world in WORLDS},
    "ppo, CartPole": (partial(solving, "CartPole-v1"), 12),
    "ppo, Pendulum": (partial(solving, "Pendulum-v1"), 12),
    "ppo, unscaled": (partial(solving, "Pendulum-v1", normalise=False), 12),
    "sac": (acting, 400),
    "sac, bfloat16": (partial(acting, precision="bfloat16"), 400),
    "sac, rows and a small buffer": (partial(acting, num_envs=4, buffer=70, steps=1250), 300),
}


def fit(made, cls=Run, **options):
    """Fits in a run that bills the problem's steps; gives the policy and the run."""
    problem, call = made
    run = cls(meter=problem.meter, **options)
    return call(run), run


def same_policies(ours, wanted):
    ours, wanted = ours.arrays(), wanted.arrays()
    assert ours.keys() == wanted.keys()
    for name in wanted:
        assert ours[name].dtype == wanted[name].dtype
        assert ours[name].tobytes() == wanted[name].tobytes(), name


def same_curves(logged, saved, undisturbed):
    assert logged == undisturbed.logged
    assert [step for step, _ in saved] == [step for step, _ in undisturbed.saved]
    for (_, ours), (_, wanted) in zip(saved, undisturbed.saved, strict=True):
        same_policies(ours, wanted)


@pytest.mark.parametrize("name", FITS)
def test_killed_again_and_again_it_ends_as_if_never_killed(name, tmp_path):
    make, updates = FITS[name]
    problem, call = make()
    undisturbed = Run(meter=problem.meter)
    wanted = call(undisturbed)
    assert undisturbed.saved and undisturbed.logged
    rng = np.random.default_rng(list(name.encode()))
    logged, saved, attempts, resumed = [], [], 0, 0
    final = None
    while final is None:
        torch.manual_seed(attempts)  # a new process stands elsewhere in these streams
        np.random.seed(attempts)  # noqa: NPY002
        resumed += (tmp_path / "checkpoint.json").exists()
        dies_at = int(rng.integers(updates // 3, updates // 2 + 1)) if attempts < 6 else 0
        every = 1 if attempts < 2 else int(rng.integers(1, 4))
        again, call = make()
        run = Fragile(tmp_path, every, dies_at, meter=again.meter)
        try:
            final = call(run)
        except Killed:
            logged += run.logged[: run.logs_kept]
            saved += run.saved[: run.saves_kept]
        attempts += 1
    assert resumed >= 2
    same_policies(final, wanted)
    same_curves(logged + run.logged, saved + run.saved, undisturbed)
    assert run.gradient_steps == undisturbed.gradient_steps
    assert again.costs() == problem.costs()


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("every", [1, 2])
def test_checkpoints_at_any_cadence_leave_the_result_as_it_is(name, every, tmp_path):
    make, _ = FITS[name]
    wanted, undisturbed = fit(make())
    found, kept = fit(make(), Fragile, folder=tmp_path, every=every)
    assert kept.checkpoints >= 2
    same_policies(found, wanted)
    same_curves(kept.logged, kept.saved, undisturbed)


@pytest.mark.parametrize("name", [name for name in FITS if name.startswith("bc")])
def test_killed_between_its_end_and_its_record_it_has_nothing_left_to_learn(name, tmp_path):
    make, updates = FITS[name]
    wanted, _ = fit(make(), Fragile, folder=tmp_path)
    found, again = fit(make(), Fragile, folder=tmp_path, dies_at=1)
    same_policies(found, wanted)
    assert again.gradient_steps == updates


def test_by_the_clock_a_checkpoint_is_due_at_once_or_not_at_all(tmp_path):
    fit(cloning("table"), folder=tmp_path)
    assert not list(tmp_path.iterdir())
    fit(cloning("table"), folder=tmp_path, checkpoint_seconds=0)
    assert (tmp_path / "checkpoint.json").exists()
    _, again = fit(cloning("table"), folder=tmp_path)
    assert again.gradient_steps == 23 and not again.logged


@pytest.mark.parametrize("world", ["discrete", "continuous"])
@pytest.mark.parametrize("hidden", [(9,), (8, 8), ()])
def test_a_checkpoint_of_another_network_is_refused(world, hidden, tmp_path):
    fit(cloning(world), Fragile, folder=tmp_path)
    with pytest.raises(DataError, match="another configuration or version; delete it"):
        fit(cloning(world, hidden=hidden), folder=tmp_path)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        (partial(cloning, "discrete"), partial(cloning, "table")),
        (partial(cloning, "continuous"), partial(cloning, "discrete")),
        (partial(cloning, "language model"), partial(cloning, "language model, bfloat16")),
        (partial(cloning, "discrete"), partial(solving, "CartPole-v1")),
        (partial(solving, "CartPole-v1"), partial(cloning, "discrete")),
        (partial(solving, "CartPole-v1"), partial(solving, "CartPole-v1", hidden=(9,))),
        (partial(solving, "CartPole-v1"), partial(solving, "CartPole-v1", hidden=(8, 8))),
        (partial(solving, "CartPole-v1", normalise=False), partial(solving, "CartPole-v1")),
        (partial(solving, "Pendulum-v1"), acting),
        (acting, partial(acting, critics=1)),
        (acting, partial(acting, actor_critic_hidden=(9,))),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(kept, wanted, tmp_path):
    fit(kept(), Fragile, folder=tmp_path)
    with pytest.raises(DataError, match="another configuration or version; delete it"):
        fit(wanted(), folder=tmp_path)


def test_after_a_damaged_checkpoint_it_begins_anew(tmp_path):
    wanted, undisturbed = fit(cloning("discrete"))
    fit(cloning("discrete"), Fragile, folder=tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    found, anew = fit(cloning("discrete"), folder=tmp_path)
    same_policies(found, wanted)
    assert anew.logged == undisturbed.logged


def test_ppo_goes_on_to_the_steps_that_it_was_granted_at_first(tmp_path):
    """The meter holds what was used before the kill: what it has left is not the whole grant."""
    make = partial(solving, "CartPole-v1", limit=500, steps=10_000)
    wanted, _ = fit(make())
    with pytest.raises(Killed):
        fit(make(), Fragile, folder=tmp_path, dies_at=5)
    problem, call = make()
    same_policies(call(Run(folder=tmp_path, meter=problem.meter)), wanted)
    assert problem.meter.used == 500


def test_sac_goes_on_to_the_steps_that_it_was_granted_at_first(tmp_path):
    make = partial(acting, limit=330, steps=10_000)
    wanted, undisturbed = fit(make())
    with pytest.raises(Killed):
        fit(make(), Fragile, folder=tmp_path, dies_at=170)
    problem, call = make()
    run = Run(folder=tmp_path, meter=problem.meter)
    same_policies(call(run), wanted)
    assert problem.meter.used == 330
    assert [s for s, _ in undisturbed.saved] == [66, 132, 198, 264, 330]
    assert [s for s, _ in run.saved] == [264, 330], "from step 200 on"


def test_all_rows_begin_anew_every_ten_horizons_and_only_then(monkeypatch):
    resets = []
    original = SyncVectorEnv.reset

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            resets.append((problem.meter.used, seed))
        return original(self, seed=seed, options=options)

    monkeypatch.setattr(SyncVectorEnv, "reset", reset)
    problem, call = solving("CartPole-v1")
    call(Run())
    assert [used for used, _ in resets] == [0, 192, 320, 512, 640]
    assert len({seed for _, seed in resets}) == 5


def surviving():
    problem = interaction("CartPole-v1")
    survival = Survival.configure("control")
    return problem, lambda run: survival.fit(problem, Budget(), run).policy


def test_survival_goes_on_with_its_solver(monkeypatch, tmp_path):
    monkeypatch.setattr(PPO, "defaults", {"control": {**SOLVING, "steps": STEPS}})
    wanted, undisturbed = fit(surviving())
    with pytest.raises(Killed):
        fit(surviving(), Fragile, folder=tmp_path, dies_at=7)
    found, again = fit(surviving(), folder=tmp_path)
    same_policies(found, wanted)
    assert again.logged == undisturbed.logged[5:], "rollout 5 was the last before the kill"
    assert again.gradient_steps == undisturbed.gradient_steps


def test_survival_with_known_dynamics_keeps_nothing(tmp_path):
    dynamics = TabularDynamics(
        successors=np.array([[[0], [1]], [[1], [1]]], dtype=np.int32),
        probabilities=np.ones((2, 2, 1)),
        initial=np.array([1.0, 0.0]),
        terminal=np.zeros(2, dtype=bool),
        horizon=3,
        discount=0.5,
    )
    problem = problem_of(
        "gridworld", spaces.Discrete(2), spaces.Discrete(2), 3, dynamics=lambda: dynamics
    )
    survival = Survival.configure("gridworld")
    survival.fit(problem, Budget(), Run(folder=tmp_path, checkpoint_seconds=0))
    assert not list(tmp_path.iterdir())


def test_what_takes_time_says_that_it_can_go_on():
    assert BehaviouralCloning.resumable and Survival.resumable
    assert not (Random.resumable or Expert.resumable or Base.resumable)
