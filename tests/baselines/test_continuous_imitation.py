"""GAIL, AIRL, IQ-Learn and SQIL on continuous actions: a line whose expert is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from irlbench.algorithm import Run
from irlbench.baselines.algorithms import adversarial
from irlbench.baselines.algorithms.airl import AIRL
from irlbench.baselines.algorithms.gail import GAIL, GAILDiscriminator
from irlbench.baselines.algorithms.iq_learn import IQLearn
from irlbench.baselines.algorithms.sqil import SQIL
from irlbench.baselines.learners.functions import Functions
from irlbench.baselines.learners.interaction import Interaction
from irlbench.baselines.learners.soft_actor_critic import SoftActorCritic
from irlbench.baselines.learners.steps import Steps
from irlbench.baselines.settings import FunctionConfig
from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import DivergenceError, UsageError
from irlbench.policies.mlp import SquashedGaussianMLPPolicy
from irlbench.problem import Budget, Problem, StepMeter
from irlbench.randomness import RowGenerator
from irlbench.reward import load_reward, save_reward

ALGORITHMS = (GAIL, AIRL, IQLearn, SQIL)
every = pytest.mark.parametrize("algorithm", ALGORITHMS)
TRACK = "demonstrations+interaction"
STATES = spaces.Box(-5, 5, (1,), np.float32)
ACTIONS = spaces.Box(np.array([-1.0], np.float32), np.array([3.0], np.float32))
LENGTH = 10
#: Small enough to be quick.
SMALL = {"actor_critic_hidden": (8,), "discriminator_hidden": (8,), "hidden": (8,)}


class Line(VectorEnv[Any, Any, Any]):
    """s' = s / 2 + (a - 1) / 2, from anywhere in [-1, 1]; ten steps, then a time limit."""

    def __init__(self, num_envs: int) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = STATES, ACTIONS
        self.observation_space = batch_space(STATES, num_envs)
        self.action_space = batch_space(ACTIONS, num_envs)
        self._ended = np.zeros(num_envs, dtype=bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        self._states, self._times = self._begin(), np.zeros(self.num_envs, dtype=int)
        return self._states, {}

    def _begin(self) -> Any:
        return self._rng.uniform(-1, 1, (self.num_envs, 1)).astype(np.float32)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert (actions >= ACTIONS.low).all() and (actions <= ACTIONS.high).all()
        moved = (self._states / 2 + (actions - 1) / 2).astype(np.float32)
        self._states = np.where(self._ended[:, None], self._begin(), moved)
        self._times = np.where(self._ended, 0, self._times + 1)
        self._ended = self._times == LENGTH
        nothing = np.zeros(self.num_envs)
        return self._states, nothing, np.zeros(self.num_envs, dtype=bool), self._ended, {}


def wanted_action(states):
    """The expert's mean."""
    return 1 + 0.8 * np.sin(2 * states)


def demonstrations(count=20):
    rng, found = np.random.default_rng(3), []
    for _ in range(count):
        states, actions = [rng.uniform(-1, 1, 1)], []
        for _ in range(LENGTH):
            actions.append(np.clip(wanted_action(states[-1]) + 0.1 * rng.normal(size=1), -1, 3))
            states.append(states[-1] / 2 + (actions[-1] - 1) / 2)
        last = np.arange(LENGTH) == LENGTH - 1
        seen, taken = (np.array(x, dtype=np.float32) for x in (states, actions))
        found.append(Episode(seen, taken, last & False, last))
    return Demonstrations(tuple(found))


def fit(algorithm, *, seed=0, limit=60, track=TRACK, **changes):
    given = demonstrations()
    problem = Problem(
        task_id="control/line-v0",
        world="control",
        observation_space=STATES,
        action_space=ACTIONS,
        horizon=LENGTH,
        discount=0.9,
        track=track,
        seed=seed,
        needs=frozenset(track.split("+")),
        suppliers={"demonstrations": lambda: given, "interaction": Line},
        meter=StepMeter(limit),
    )
    run = Run(seed, meter=problem.meter)
    known = set(vars(algorithm.Config()))
    settings = {"random_steps": 10, "batch_size": 16, "saves": 3, **SMALL, **changes}
    made = algorithm.configure("control", {k: v for k, v in settings.items() if k in known})
    solution = made.fit(problem, Budget(steps=limit), run)
    return SimpleNamespace(solution=solution, run=run, problem=problem, config=made.config)


def arrays_of(found):
    policy, reward = (part.arrays() for part in (found.solution.policy, found.solution.reward))
    return [array.tobytes() for part in (policy, reward) for array in part.values()]


@every
def test_a_seed_gives_the_same_bits_and_another_others(algorithm, tmp_path):
    first, again, other = (fit(algorithm, seed=seed) for seed in (0, 0, 1))
    assert arrays_of(first) == arrays_of(again) != arrays_of(other)
    assert isinstance(first.solution.policy, SquashedGaussianMLPPolicy)
    assert first.problem.meter.used == 60
    assert [step for step, _ in first.run.saved][-1] == 60
    save_reward(first.solution.reward, tmp_path)
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, 20, 1)).astype(np.float32)
    actions = rng.uniform(-1, 3, (20, 1)).astype(np.float32)
    asked = (states[0], actions, states[1], np.zeros(20, dtype=bool))
    paid = first.solution.reward(*asked)
    assert load_reward(tmp_path)(*asked) == pytest.approx(paid, abs=0)
    assert np.ptp(paid) > 0


@every
@pytest.mark.parametrize("random_steps", [0, 25])
def test_random_steps_come_before_the_first_update_and_cost_steps(
    algorithm, random_steps, monkeypatch
):
    asked, original = [], Interaction.step

    def watched(self, act, *, random_share=0.0):
        asked.append(random_share)
        return original(self, act, random_share=random_share)

    monkeypatch.setattr(Interaction, "step", watched)
    found = fit(algorithm, random_steps=random_steps, num_envs=1)
    at_random = asked.count(1.0)
    assert asked == [1.0] * at_random + [0.0] * (len(asked) - at_random)
    # Ten steps of an episode, and one that only begins the next: no transition, no update's worth.
    assert (
        at_random == random_steps + (random_steps - 1) // LENGTH if random_steps else not at_random
    )
    assert found.run.gradient_steps == len(asked) - at_random
    assert found.problem.meter.used == 60


@every
def test_updates_per_step(algorithm):
    one, three = (fit(algorithm, updates_per_step=n) for n in (1, 3))
    assert one.problem.meter.used == three.problem.meter.used == 60
    assert three.run.gradient_steps == 3 * one.run.gradient_steps
    assert arrays_of(one) != arrays_of(three)


@every
def test_subsample_keeps_every_kth_step_with_where_it_led(algorithm, monkeypatch):
    given, original = [], Demonstrations.transitions

    def watched(self, subsample=1):
        given.append(original(self, subsample))
        return given[-1]

    monkeypatch.setattr(Demonstrations, "transitions", watched)
    fit(algorithm, subsample=3)
    (steps,) = given
    assert len(steps) == 20 * 4
    moved = np.asarray(steps.observations) / 2 + (np.asarray(steps.actions) - 1) / 2
    np.testing.assert_allclose(steps.next_observations, moved, atol=1e-5)


@every
def test_what_diverges_says_where(algorithm):
    settings = {
        "critic_learning_rate": 1e18,
        "actor_learning_rate": 1e18,
        "network_discriminator_learning_rate": 1e18,
    }
    told = r"learning diverged: \w+( action)? is (nan|-?inf|-?\d\S*) at step \d+; smaller step"
    with pytest.raises(DivergenceError, match=told):
        fit(algorithm, limit=150, **settings)


@every
def test_no_environment_is_given_an_action_that_is_not_a_number(algorithm, monkeypatch):
    def act(self, observations, generator):
        return np.full((len(observations), 1), np.nan, dtype=np.float32)

    monkeypatch.setattr(SoftActorCritic, "act", act)
    with pytest.raises(DivergenceError, match="an action is nan at step 10"):
        fit(algorithm)


@pytest.mark.parametrize("algorithm", [IQLearn, SQIL])
def test_more_critics_than_a_reward_is_made_of_are_refused_before_anything_is_learnt(algorithm):
    with pytest.raises(UsageError, match=r"critics must be 1 or 2.*got 3"):
        algorithm.configure("control", {"critics": 3})


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        *((algorithm, {"critics": 3}) for algorithm in (GAIL, AIRL)),
        (IQLearn, {"critics": 1}),
        (SQIL, {"critics": 1}),
        *((algorithm, {"precision": "float32"}) for algorithm in ALGORITHMS),
        *((algorithm, {"critic_target_rate": 0.5}) for algorithm in (GAIL, AIRL, SQIL)),
        *((algorithm, {"learn_temperature": True}) for algorithm in (IQLearn, SQIL)),
        *((algorithm, {"gradient_penalty": 0.3}) for algorithm in (GAIL, AIRL)),
        *((algorithm, {"discriminator_every": 5}) for algorithm in (GAIL, AIRL)),
        *((algorithm, {"demonstrated_share": 0.2}) for algorithm in (GAIL, AIRL)),
        (GAIL, {"learn_temperature": True}),
        (GAIL, {"of_actions": False}),
        (AIRL, {"state_only": True}),
        (IQLearn, {"slow_values": False}),
        (IQLearn, {"value_term": "value_expert"}),
        (SQIL, {"policy_weight": 0.3}),
    ],
)
def test_every_setting_does_something(algorithm, changes):
    assert arrays_of(fit(algorithm)) != arrays_of(fit(algorithm, **changes))


def test_values_are_bounded_by_what_rewards_add_up_to():
    # With alpha 1e-4 that is 4e-4 / (1 - gamma), which the first values already pass.
    wide, narrow = (fit(IQLearn, alpha=a, bounded_values=True) for a in (1e4, 1e-4))
    wide_free, narrow_free = (fit(IQLearn, alpha=a, bounded_values=False) for a in (1e4, 1e-4))
    assert arrays_of(wide) == arrays_of(wide_free)
    assert arrays_of(narrow) != arrays_of(narrow_free)


def test_gail_and_airl_differ_in_whose_the_temperature_is(monkeypatch):
    made, original = [], SoftActorCritic.__init__

    def watched(self, problem, settings, run):
        made.append(settings)
        original(self, problem, settings, run)

    monkeypatch.setattr(SoftActorCritic, "__init__", watched)
    fit(GAIL, temperature=0.07, learn_temperature=True)
    fit(AIRL)
    assert (made[0].temperature, made[0].learn_temperature) == (0.07, True)
    assert (made[1].temperature, made[1].learn_temperature) == (1.0, False)


def test_the_gradient_penalty_is_of_points_between(monkeypatch):
    """A logit of slope w has penalty (|w| - centre)^2 wherever it is asked, in units given."""
    problem = SimpleNamespace(observation_space=STATES, action_space=ACTIONS, needs=frozenset())
    functions = Functions(problem, FunctionConfig(hidden=()), Run())  # type: ignore[arg-type]
    logit = functions.make_of_pairs("discriminator")
    with torch.no_grad():
        for parameter in logit.parameters():
            parameter.zero_()
        weight = next(p for p in logit.parameters() if p.ndim == 2)
        weight.copy_(torch.tensor([[1.5, 2.0]]))  # per unit of what the network reads
    one = GAILDiscriminator(logit, "log D", 0.9)
    rng = np.random.default_rng(0)

    def steps(size):
        s, a, after = (
            torch.from_numpy(rng.normal(size=(size, 1)).astype(np.float32)) for _ in range(3)
        )
        return Steps(s, a, after, torch.zeros(size, dtype=torch.bool), torch.ones(size).double())

    asked, said = [], one.logits_expert_is_high

    def watched(between, log_pi):
        asked.append(between)
        return said(between, log_pi)

    monkeypatch.setattr(one, "logits_expert_is_high", watched)
    expert, own, units = steps(30), steps(20), functions.moments_of_pairs(None)[1]
    doubled = 2 * units
    in_doubled = adversarial._penalty(
        one, expert, own, doubled, torch.Generator().manual_seed(0), 0.5
    )
    assert in_doubled.item() == pytest.approx((5 - 0.5) ** 2, rel=1e-5)
    asked.clear()
    found = adversarial._penalty(one, expert, own, units, torch.Generator().manual_seed(0), 0.5)
    assert found.item() == pytest.approx((2.5 - 0.5) ** 2, rel=1e-5)
    found.backward()
    assert weight.grad is not None and weight.grad.abs().min() > 0
    (between,) = asked
    ends = [(part.observations, part.actions, part.next_observations) for part in (expert, own)]
    for mixed, first, second in zip(
        (between.observations, between.actions, between.next_observations), *ends, strict=True
    ):
        low = torch.minimum(first[:20], second) - 1e-6
        high = torch.maximum(first[:20], second) + 1e-6
        assert ((mixed >= low) & (mixed <= high)).all()
    shares = (between.observations - own.observations) / (
        expert.observations[:20] - own.observations
    )
    of_actions = (between.actions - own.actions) / (expert.actions[:20] - own.actions)
    torch.testing.assert_close(shares, of_actions, atol=1e-3, rtol=1e-3)
    assert shares.std() > 0.1, "one share per row, and not the same for all"


def test_a_penalty_needs_vectors(small_world):
    with pytest.raises(UsageError, match="gradient_penalty is for observed vectors"):
        small_world.fit(
            GAIL,
            "demonstrations+dynamics",
            demonstrations=small_world.demonstrations(2),
            gradient_penalty=1.0,
        )


def missed(policy):
    """How far the mean action is from the expert's, in root mean square over where it goes."""
    states = np.linspace(-0.7, 0.7, 50, dtype=np.float32)[:, None]
    found, _ = policy.act(states, deterministic=True, generator=RowGenerator(np.arange(50)))
    return float(np.sqrt(np.mean((found - wanted_action(states)) ** 2)))


QUICK = {
    "actor_critic_hidden": (32, 32),
    "batch_size": 64,
    "critic_learning_rate": 1e-3,
    "actor_learning_rate": 1e-3,
    "random_steps": 100,
}


GAME = {
    "discriminator_hidden": (32,),
    "gradient_penalty": 0.0,
    "network_discriminator_learning_rate": 1e-3,
    "discriminator_every": 1,
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("algorithm", "limit", "changes"),
    [
        (IQLearn, 2000, {}),
        (IQLearn, None, {"track": "demonstrations", "offline_gradient_steps": 2000}),
        (SQIL, 3000, {}),
        (GAIL, 4000, GAME),
    ],
)
def test_the_expert_is_imitated(algorithm, limit, changes):
    """Doing nothing about the state misses by 0.5."""
    found = fit(algorithm, limit=limit, **{**QUICK, **changes})
    assert missed(found.solution.policy) < 0.2
