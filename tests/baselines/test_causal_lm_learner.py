from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from irlbench.algorithm import Run
from irlbench.baselines.learners.base import LearnerSettings, learner_for
from irlbench.baselines.learners.causal_lm import CausalLMLearner
from irlbench.baselines.objectives.behavioural_cloning import behavioural_cloning_loss
from irlbench.data.demonstrations import Demonstrations, Episode, TokenEpisode
from irlbench.errors import DataError, UsageError
from irlbench.policies.causal_lm import CausalLMPolicy
from irlbench.policies.table import TablePolicy


class StandIn:
    """As much of a problem as the learner asks for."""

    world = "text"

    def __init__(self, reference):
        self.reference = reference

    def resource(self, name):
        assert name == "reference_model"
        return self.reference


def stand_in(reference) -> Any:
    return StandIn(reference)


def reference():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    return CausalLMPolicy(LlamaForCausalLM(config))


def settings(**changes):
    values = {"learning_rate": 1e-2, "weight_decay": 0.0, "hidden": (), "gradient_clip": 1.0}
    return LearnerSettings(**{**values, **changes})


def episode(prompt, completion):
    tokens = np.array(prompt + completion, dtype=np.int32)
    return TokenEpisode(tokens, len(prompt), np.arange(len(tokens)) >= len(prompt), "stop")


DEMONSTRATIONS = Demonstrations((episode([1, 2], [3, 4, 19]), episode([5], [6, 19])))


def test_log_probs_are_those_of_the_policy_and_masks_leave_prompt_and_padding_out():
    learner = learner_for(stand_in(reference()), settings(), Run())
    assert isinstance(learner, CausalLMLearner)
    assert learner.load(DEMONSTRATIONS) == 2
    batch = learner.sample(8, np.random.default_rng(0))
    assert batch.observations.tolist() == [[1, 2, 3, 4], [5, 6, 19, 0]]
    assert batch.actions.tolist() == [[2, 3, 4, 19], [6, 19, 0, 0]]
    assert batch.mask.tolist() == [[0, 1, 1, 1], [1, 1, 0, 0]]
    found = learner.log_prob(batch).detach().numpy()
    for row, wanted in enumerate(learner.policy().score(list(DEMONSTRATIONS))):
        assert np.allclose(found[row][batch.mask[row].numpy() == 1], wanted, atol=1e-5)


def test_the_loss_does_not_depend_on_padding():
    learner = CausalLMLearner(stand_in(reference()), settings(), Run())
    both = learner.batch(list(DEMONSTRATIONS))
    loss = behavioural_cloning_loss(learner.log_prob(both), both.mask)
    sums = [s.sum() for s in learner.policy().score(list(DEMONSTRATIONS))]
    assert float(loss.detach()) == pytest.approx(-sum(sums) / 5, abs=1e-5)


def test_updates_fit_the_demonstrations_and_leave_the_reference_alone():
    start = reference()
    before = {k: v.copy() for k, v in start.arrays().items()}
    learner = CausalLMLearner(stand_in(start), settings(total_steps=60), Run())
    learner.load(DEMONSTRATIONS)
    batch = learner.sample(2, np.random.default_rng(0))
    early = learner.policy()
    kept = {k: v.copy() for k, v in early.arrays().items()}
    for _ in range(60):
        learner.update(behavioural_cloning_loss(learner.log_prob(batch), batch.mask))
    first, last = early.score(list(DEMONSTRATIONS)), learner.policy().score(list(DEMONSTRATIONS))
    assert np.concatenate(first).mean() < -2 < -0.1 < np.concatenate(last).mean()
    assert all((start.arrays()[k] == v).all() for k, v in before.items())
    assert all((early.arrays()[k] == v).all() for k, v in kept.items())


def test_the_learning_rate_is_warmed_up_and_ends_at_zero():
    learner = CausalLMLearner(stand_in(reference()), settings(total_steps=100), Run())
    rates = []
    for step in range(101):
        learner._trainer.updates = step
        rates.append(learner._trainer.learning_rate)
    peak = settings().learning_rate
    assert rates[0] == pytest.approx(0.1 * peak) and rates[100] == 0
    assert max(rates) == rates[9] > 0.97 * peak
    constant = CausalLMLearner(stand_in(reference()), settings(), Run())
    assert constant._trainer.learning_rate == peak


def test_batches_are_drawn_by_the_generator_alone():
    learner = CausalLMLearner(stand_in(reference()), settings(), Run())
    learner.load(Demonstrations(tuple(episode([1], [i, 19]) for i in range(10))))
    drawn = [learner.sample(4, np.random.default_rng(s)).actions[:, 0].tolist() for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4


def test_what_is_refused():
    learner = CausalLMLearner(stand_in(reference()), settings(), Run())
    with pytest.raises(DataError, match="subsample must be 1"):
        learner.load(DEMONSTRATIONS, subsample=2)
    flat = np.zeros(1, dtype=bool)
    with pytest.raises(DataError, match="learns from tokens"):
        learner.load(Demonstrations((Episode(np.zeros((2, 1)), np.zeros(1), flat, flat),)))
    with pytest.raises(UsageError, match="TablePolicy"):
        CausalLMLearner(stand_in(TablePolicy(np.zeros((2, 2)))), settings(), Run())
