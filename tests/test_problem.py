"""What an algorithm meets: no reward, declared resources alone, and every step billed once."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from irlbench.data.demonstrations import Demonstrations, Episode
from irlbench.errors import BudgetExceeded, ResourceError, UnknownNameError, UsageError
from irlbench.problem import Budget, HiddenRewardVectorEnv, OpenProblem, Problem, StepMeter
from irlbench.randomness import EVALUATION_SEEDS

SECRET = 41.5


class Leaky(gym.Env):
    """Pays, and puts its reward into `info` under every kind of name. Ends after `length` steps."""

    observation_space = spaces.Box(0.0, 100.0, (1,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, length=3, truncates=False):
        self.length, self.truncates = length, truncates

    def info(self):
        return {
            "reward_forward": SECRET,
            "position": float(self.time),
            "nested": {"reward": SECRET},
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.seed = self.np_random_seed
        return np.array([0.0]), self.info()

    def step(self, action):
        self.time += 1
        ends = self.time == self.length
        observed = np.array([float(self.time)])
        return observed, SECRET, ends and not self.truncates, ends and self.truncates, self.info()


def leaky(lengths, mode=AutoresetMode.NEXT_STEP, **kwargs):
    makers = [lambda length=length: Leaky(length, **kwargs) for length in lengths]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def hidden(lengths=(3, 3), mode=AutoresetMode.NEXT_STEP, limit=None, safe=("position",), **kwargs):
    meter = StepMeter(limit)
    inner = leaky(lengths, mode, **kwargs)
    return HiddenRewardVectorEnv(inner, safe, meter, seed=11), meter


def problem(needs=("demonstrations", "interaction"), limit=None, cls=Problem, **suppliers):
    ends = np.array([False, True])
    episodes = tuple(Episode(np.zeros(3), np.zeros(2), ends & False, ends) for _ in range(4))
    return cls(
        task_id="control/leaky-v0",
        world="control",
        observation_space=Leaky.observation_space,
        action_space=Leaky.action_space,
        horizon=3,
        discount=0.9,
        track="demonstrations",
        seed=5,
        needs=frozenset(needs),
        suppliers={
            "demonstrations": lambda: Demonstrations(episodes),
            "interaction": lambda num_envs: leaky([3] * num_envs),
            "dynamics": lambda: "the dynamics",
            **suppliers,
        },
        safe_info=frozenset({"position"}),
        meter=StepMeter(limit),
    )


def contains(value, secret):
    """Whether a number is anywhere in nested dictionaries, lists and arrays."""
    if isinstance(value, dict):
        return any(contains(v, secret) for v in value.values())
    if isinstance(value, list | tuple):
        return any(contains(v, secret) for v in value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return any(contains(v, secret) for v in value.tolist())
    return bool(np.any(np.asarray(value) == secret))


GO = np.zeros(2, dtype=np.int64)

# --- the reward and info


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_reward_reads_zero_and_info_is_cut(mode):
    envs, _ = hidden((3, 4), mode)
    _, info = envs.reset()
    seen = [info]
    for _ in range(3):
        _, rewards, terminations, _, info = envs.step(GO)
        assert rewards.tolist() == [0.0, 0.0] and rewards.dtype == np.float64
        seen.append(info)
    assert terminations.tolist() == [True, False]
    assert contains(leaky((1, 1)).reset()[1], SECRET), "the search finds what is there"
    assert not contains(seen, SECRET)
    assert all("reward_forward" not in i and "nested" not in i for i in seen)
    assert seen[1]["position"].tolist() == [1.0, 1.0] and seen[1]["_position"].all()


def test_the_last_observation_before_a_same_step_reset_is_kept_and_its_info_cut():
    envs, _ = hidden((2, 5), AutoresetMode.SAME_STEP)
    envs.reset()
    envs.step(GO)
    observations, _, _, _, info = envs.step(GO)
    assert observations[0] == [0.0]
    assert info["final_obs"][0] == [2.0]
    assert info["final_info"]["position"][0] == 2.0
    assert not contains(info, SECRET)


def test_a_key_is_safe_only_as_declared():
    envs, _ = hidden(safe=())
    assert envs.reset()[1] == {}
    assert envs.step(GO)[4] == {}


def test_nothing_public_leads_to_the_true_environment():
    envs, _ = hidden()
    assert isinstance(envs, VectorEnv)
    assert envs.unwrapped is envs
    assert envs.spec is None and envs.render_mode is None
    for name, value in vars(envs).items():
        owner = getattr(value, "__self__", None)
        for found in (value, owner):
            assert found is envs or not isinstance(found, gym.Env | VectorEnv), name
    for name in ("env", "envs", "get_attr", "call"):
        assert not hasattr(envs, name), name


def test_a_reward_that_is_no_number_does_not_get_through():
    class Strange(Leaky):
        def step(self, action):
            observed, _, *rest = super().step(action)
            return observed, float("nan"), *rest

    envs = HiddenRewardVectorEnv(SyncVectorEnv([Strange] * 2), (), StepMeter(), 0)
    envs.reset()
    assert envs.step(GO)[1].tolist() == [0.0, 0.0]


# --- billing


def test_each_transition_is_billed_and_a_step_that_only_resets_is_not():
    """Rows of 2 and 3 steps: each spends every third, or fourth, call on beginning anew."""
    envs, meter = hidden((2, 3))
    envs.reset()
    billed = []
    for _ in range(12):
        before = meter.used
        envs.step(GO)
        billed.append(meter.used - before)
    first = [t % 3 != 2 for t in range(12)]
    second = [t % 4 != 3 for t in range(12)]
    assert billed == [int(a) + int(b) for a, b in zip(first, second, strict=True)]
    assert meter.used == 8 + 9


def test_truncated_rows_begin_anew_without_a_bill_too():
    envs, meter = hidden((2, 2), truncates=True)
    envs.reset()
    for _ in range(6):
        envs.step(GO)
    assert meter.used == 8


def test_with_same_step_autoreset_every_step_is_a_transition():
    envs, meter = hidden((2, 3), AutoresetMode.SAME_STEP)
    envs.reset()
    for _ in range(12):
        envs.step(GO)
    assert meter.used == 24


def test_a_reset_in_the_place_of_an_autoreset_makes_the_next_step_count():
    envs, meter = hidden((2, 2))
    envs.reset()
    envs.step(GO), envs.step(GO)
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(GO)
    assert meter.used == 4 + 1, "row 0 stepped, row 1 began anew"
    envs.reset()
    envs.step(GO)
    assert meter.used == 5 + 2


def test_steps_over_the_budget_are_refused_and_not_billed():
    envs, meter = hidden((9, 9), limit=5)
    envs.reset()
    envs.step(GO)
    observed, *_ = envs.step(GO)
    with pytest.raises(BudgetExceeded, match="4 of 5 environment steps are used; 2 more"):
        envs.step(GO)
    assert (meter.used, meter.left) == (4, 1)
    assert observed.tolist() == [[2.0], [2.0]], "and the refused step was not taken"


def test_all_environments_of_a_problem_share_its_budget():
    given = problem(limit=5)
    one, other = given.make_environment(2), given.make_environment(3)
    one.reset(), other.reset()
    one.step(GO)
    other.step(np.zeros(3, dtype=np.int64))
    assert given.meter.used == given.costs()["steps"] == 5
    with pytest.raises(BudgetExceeded):
        one.step(GO)


def test_without_a_limit_nothing_is_refused():
    meter = StepMeter()
    meter.spend(10**9)
    assert meter.left is None and meter.used == 10**9


@pytest.mark.parametrize("name", ["steps", "gradient_steps", "seconds"])
def test_a_negative_budget_is_refused(name):
    with pytest.raises(UsageError, match=f"{name} must be a number from 0 on, got -1"):
        Budget(**{name: -1})
    assert getattr(Budget(**{name: 0}), name) == 0


# --- seeds


@pytest.mark.parametrize(
    "seed", [EVALUATION_SEEDS, EVALUATION_SEEDS - 1, -1, [0, EVALUATION_SEEDS], [-3, 0]]
)
def test_seeds_of_evaluation_are_refused(seed):
    envs, _ = hidden()
    with pytest.raises(ResourceError, match="evaluation"):
        envs.reset(seed=seed)


@pytest.mark.parametrize("seed", [0, EVALUATION_SEEDS - 2, [None, 7], np.int64(3)])
def test_seeds_of_training_are_taken(seed):
    envs, _ = hidden()
    assert envs.reset(seed=seed)[0].shape == (2, 1)


def starts(seed, environments=2):
    def make(num_envs):
        return gym.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="sync")

    given = problem(interaction=make)
    given.seed = seed
    made = [given.make_environment(2) for _ in range(environments)]
    return [[env.reset()[0].tolist(), env.reset()[0].tolist()] for env in made]


def test_the_first_reset_without_a_seed_follows_from_the_trial():
    assert starts(0) == starts(0)
    assert starts(0) != starts(1)
    (first, again), (other, _) = starts(0)
    assert first != again, "a second reset is another episode"
    assert first != other, "a second environment is another stream"


def test_sampled_actions_follow_from_the_trial():
    def sampled(seed):
        given = problem()
        given.seed = seed
        space = given.make_environment(16).action_space
        return [space.sample().tolist() for _ in range(3)]

    assert sampled(0) == sampled(0) != sampled(1)


# --- resources


def test_a_declared_resource_is_made_once_and_counted():
    made = []

    def supply():
        made.append(1)
        return [1, 2, 3]

    given = problem(("demonstrations", "features", "dynamics"), features=supply)
    assert given.costs() == {"steps": 0}
    assert given.resource("features") is given.resource("features")
    assert made == [1]
    assert len(given.demonstrations) == 4
    assert given.costs() == {"steps": 0, "features": 3, "demonstrations": 4}


def test_an_undeclared_resource_is_refused_by_name():
    given = problem(("demonstrations",))
    with pytest.raises(
        ResourceError, match=r"'dynamics' was not declared.*declared: demonstrations"
    ):
        given.resource("dynamics")
    with pytest.raises(ResourceError, match="'interaction' was not declared"):
        given.make_environment(1)
    with pytest.raises(ResourceError, match="'preferences' was not declared"):
        given.preferences  # noqa: B018
    with pytest.raises(ResourceError, match="declared: nothing"):
        problem(()).resource("demonstrations")
    assert given.costs() == {"steps": 0}


def test_an_unknown_resource_is_refused_with_the_nearest_name():
    with pytest.raises(
        UnknownNameError, match="unknown resource 'dynamcs'; did you mean 'dynamics'"
    ):
        problem(("dynamcs",)).resource("dynamcs")


def test_a_resource_that_the_task_lacks_is_refused():
    with pytest.raises(ResourceError, match="control/leaky-v0 does not supply 'reference_model'"):
        problem(("reference_model",)).resource("reference_model")


def test_interaction_is_taken_as_an_environment():
    given = problem()
    with pytest.raises(ResourceError, match="make_environment"):
        given.resource("interaction")
    envs = given.make_environment(3)
    assert envs.num_envs == 3 and given.usage == {"environments": 1}


def test_a_problem_does_not_print_what_it_hides():
    hiding = problem()
    assert "suppliers" not in repr(hiding)
    assert not hasattr(hiding, "suppliers")


# --- problems that experts are made on


def test_an_open_problem_pays_and_bills_nothing():
    given = problem(limit=0, cls=OpenProblem)
    envs = given.make_environment(2)
    envs.reset(seed=0)
    assert envs.step(GO)[1].tolist() == [SECRET, SECRET]
    assert given.meter.used == 0
    with pytest.raises(ResourceError):
        problem((), cls=OpenProblem).make_environment(1)


def test_other_reset_options_reach_the_environment_only_where_resets_are_declared():
    class Choosing(Leaky):
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.array([float((options or {}).get("start", 0.0))]), {}

    def observed(needs):
        given = problem(needs, interaction=lambda n: SyncVectorEnv([Choosing] * n))
        return given.make_environment(2).reset(options={"start": 7.0})[0].ravel().tolist()

    assert observed({"interaction"}) == [0.0, 0.0]
    assert observed({"interaction", "resets"}) == [7.0, 7.0]
