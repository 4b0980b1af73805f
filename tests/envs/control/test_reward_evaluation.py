"""Recovered rewards are judged on control tasks: known answers, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from irlbench.envs.control.mixtures import Mixture
from irlbench.envs.control.reward_evaluation import HeldOut, RewardJudge
from irlbench.envs.control.tasks import CARTPOLE, HOPPER
from irlbench.envs.control.true_rewards import observed_reward
from irlbench.errors import DataError, UsageError
from irlbench.policies.mlp import SquashedGaussianMLPPolicy
from irlbench.reward import RewardFunction, save_reward
from irlbench.rewards.composed import ShapedReward
from irlbench.rewards.continuous import ActorCriticReward, StateActionMLPReward
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward
from irlbench.running.child import reward_metrics
from irlbench.task import TaskOptions

ALL = {score.name for score in HOPPER.info.reward_scores}
OBSERVED, ACTING = 11, 3


class Of(RewardFunction):
    """Another reward, changed."""

    def __init__(self, function, kind="transition"):
        self.function, self.kind = function, kind

    def __call__(self, observation, action, next_observation, terminated):
        return self.function(observation, action, next_observation, terminated)


def network(seed, inputs):
    rng = np.random.default_rng(seed)
    shapes = {
        "hidden.0.weight": (32, inputs),
        "hidden.0.bias": (32,),
        "reward.weight": (1, 32),
        "reward.bias": (1,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def true():
    found = observed_reward(HOPPER.info.environment)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def held_out():
    mixture = Mixture(steps=1000)
    made = mixture.record(HOPPER.info.environment, HOPPER.expert(), HOPPER.info.horizon, 2**30)
    groups = mixture.grouped([len(episode) for episode in made.episodes])
    assert len(groups) == 4
    return HeldOut(made.episodes, made.rewards, groups)


@pytest.fixture(scope="module")
def judge(held_out, true):
    return RewardJudge(held_out, true, discount=0.99, segment=50, names=frozenset(ALL))


def test_the_true_reward_and_its_shaped_and_scaled_copies_are_at_0(judge, true):
    potential = MLPReward(network(0, OBSERVED), "state")

    def shaped(s, a, n, ended):
        h = [potential.of_actions(x)[:, 0] for x in (s, n)]
        return 1e3 * (true(s, a, n, ended) + 20 * (0.99 * h[1] * ~ended - h[0]))

    for reward in (true, Of(shaped)):
        found = judge.scores(reward)
        for name in ("epic", "epic_error", "starc", "starc_error"):
            assert found[name] < 1e-5, name
    found = judge.scores(true)
    assert found.keys() == ALL
    for name in ALL - {"epic", "epic_error", "starc", "starc_error", "survival"}:
        assert found[name] > 0.999, f"{name}: it is what was paid, but for rounding of a velocity"
    assert judge.scores(Of(shaped))["pearson"] < 0.5, "correlations of steps know no shaping"


def test_a_negated_reward_is_at_1(judge, true):
    found = judge.scores(Of(lambda *given: -2 * true(*given)))
    assert min(found["epic"], found["starc"]) > 1 - 1e-6
    for name in ("pearson", "spearman", "return_pearson", "return_spearman"):
        assert found[name] < -0.999
    assert found["pair_accuracy"] < 0.01


def test_a_constant_reward_says_what_survival_says(judge):
    found = judge.scores(LinearReward.constant(0.5))
    assert found["epic"] == 0.5 and found["epic_error"] < 1e-12
    assert "pearson" not in found and "spearman" not in found, "they are not defined"
    assert found["return_pearson"] == pytest.approx(found["survival"])
    assert found["survival"] > 0.9, "in this task the length of an episode says nearly all"
    # Episodes end here, so it is not nothing, as one of -1 shows.
    assert found["starc"] < 0.4 < judge.scores(LinearReward.constant(-0.5))["starc"]


def test_random_rewards_are_near_chance(judge):
    found = [
        judge.scores(StateActionMLPReward(network(seed, OBSERVED + ACTING), "relu"))
        for seed in range(8)
    ]
    epic = np.array([one["epic"] for one in found])
    assert abs(epic.mean() - np.sqrt(0.5)) < 0.08 and ((epic > 0.5) & (epic < 0.9)).all()
    assert abs(np.mean([one["pearson"] for one in found])) < 0.3
    assert all(0 < one["epic_error"] < 0.1 and 0 < one["starc_error"] < 0.1 for one in found)


def test_what_is_judged_has_its_shaping_taken_off(judge):
    g = StateActionMLPReward(network(0, OBSERVED + ACTING))
    shaped = ShapedReward(g, MLPReward(network(1, OBSERVED), "state"), 0.99)
    assert judge.scores(shaped) == judge.scores(g)


def test_scale_and_the_order_of_asking_change_nothing(judge):
    g = StateActionMLPReward(network(3, OBSERVED + ACTING))
    once = judge.scores(g)
    judge.scores(LinearReward.constant(1.0))
    assert judge.scores(g) == once
    scaled = judge.scores(Of(lambda *given: 1e-4 * g(*given)))
    assert scaled == pytest.approx(once, abs=1e-6)


def test_without_a_known_true_reward_there_are_no_distances(held_out, true):
    judge = RewardJudge(held_out, None, discount=0.99, segment=50, names=frozenset(ALL))
    found = judge.scores(true)
    assert found.keys() == ALL - {"epic", "epic_error", "starc", "starc_error"}


@pytest.mark.parametrize(
    "reward",
    [
        StateActionMLPReward(network(0, 5)),
        MLPReward(network(0, 5), "state"),
        TableReward(np.zeros((4, 2))),
        LinearReward(np.ones(5), 0.0),
    ],
)
def test_a_reward_of_other_observations_is_refused(judge, reward):
    with pytest.raises(DataError, match=r"shape \(11,\) and actions of shape \(3,\)"):
        judge.scores(reward)


def test_a_reward_that_is_not_finite_is_refused(judge):
    with pytest.raises(UsageError, match="is inf"):
        judge.scores(Of(lambda s, a, n, ended: np.where(s[:, 0] > 1.2, np.inf, 0.0)))


def test_one_of_whole_trajectories_has_no_scores(judge, true):
    assert judge.scores(Of(true, "trajectory")) == {}


def test_cartpole_is_judged_by_whole_episodes_and_keeps_them_where_no_learner_looks(tmp_path):
    evaluator = CARTPOLE.evaluator(TaskOptions(), tmp_path)
    assert evaluator.evaluate_reward(LinearReward.constant(1.0)) == {
        "pair_accuracy": 1.0,
        "survival": pytest.approx(1.0),
    }
    assert evaluator.evaluate_reward(LinearReward.constant(-1.0))["pair_accuracy"] == 0
    kept = {path.parent for path in tmp_path.rglob("summary.json")}
    (folder,) = kept
    hidden = CARTPOLE.hidden_files(TaskOptions(), tmp_path)
    assert any(folder.is_relative_to(path) for path in hidden)
    # The next evaluator finds them.
    written = (folder / "summary.json").stat().st_mtime_ns
    CARTPOLE.evaluator(TaskOptions(), tmp_path).evaluate_reward(LinearReward.constant(1.0))
    assert (folder / "summary.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_saved_actor_critic_reward_is_scored_as_trials_and_rescoring_do(tmp_path):
    """All scores that hopper declares, over the whole held-out set."""
    rng = np.random.default_rng(0)

    def layers(head, inputs, outputs):
        shapes = {"hidden.0": (256, inputs), "hidden.1": (256, 256), head: (outputs, 256)}
        weights = {f"{n}.weight": rng.normal(size=s) / 16 for n, s in shapes.items()}
        biases = {f"{n}.bias": np.zeros(s[0]) for n, s in shapes.items()}
        return {name: array.astype(np.float32) for name, array in {**weights, **biases}.items()}

    bounds = {"action_low": -np.ones(3), "action_high": np.ones(3), "log_std": np.full(3, -1.0)}
    extra = {name: array.astype(np.float32) for name, array in bounds.items()}
    policy = SquashedGaussianMLPPolicy({**layers("mean", OBSERVED, ACTING), **extra})
    critics = [StateActionMLPReward(layers("reward", 14, 1), "relu") for _ in range(2)]
    save_reward(ActorCriticReward(critics, policy, 0.99, 0.1), tmp_path)
    evaluator = HOPPER.evaluator(TaskOptions(), tmp_path)
    found = reward_metrics(HOPPER, evaluator, tmp_path)
    assert found.keys() == ALL
    assert 0.5 < found["epic"] < 0.9
    # What docs/metrics.md says of the true reward's form, and of survival.
    true = observed_reward(HOPPER.info.environment)
    assert true is not None
    of_true = evaluator.evaluate_reward(true)
    assert of_true["pearson"] > 0.9999 and of_true["return_pearson"] > 0.999999
    assert found["survival"] > 0.99
