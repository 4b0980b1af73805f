"""The interface between objectives and policies, and which learner belongs to a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.data.demonstrations import Demonstrations
from irlbench.policy import Policy
from irlbench.problem import Problem
from irlbench.reward import RewardFunction

if TYPE_CHECKING:
    from irlbench.baselines.learners.trainer import Trainer


@dataclass(frozen=True)
class Batch:
    """Demonstrated actions, ready for a loss.

    Attributes:
        observations: What the learner's network reads: `[batch, ...]`, or on text the token ids
            `[batch, time]`.
        actions: `[batch]`, `[batch, action dimensions]`, or on text the next ids
            `[batch, time]`.
        mask: 1 where there is an action of the demonstrator's, else 0; float32 `[batch]` or
            `[batch, time]`.
    """

    observations: Tensor
    actions: Tensor
    mask: Tensor


class Learner(ABC):
    """Holds a differentiable policy, and the trainer of its parameters."""

    _trainer: Trainer

    @abstractmethod
    def load(self, demonstrations: Demonstrations[Any], *, subsample: int = 1) -> int:
        """Takes demonstrations in, as tensors.

        Args:
            demonstrations: Episodes with actions.
            subsample: Keep every k-th transition of each episode (text takes 1 only).

        Returns:
            How many items `sample` draws from (transitions; on text, episodes).
        """

    @abstractmethod
    def sample(self, size: int, generator: np.random.Generator) -> Batch:
        """Draws a batch, with replacement, of at most `size` items; all items if fewer."""

    @abstractmethod
    def log_prob(self, batch: Batch) -> Tensor:
        """log pi(a|s), with gradient; the shape of `batch.mask`."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy as it is now, apart from further updates."""

    def reward(self, discount: float) -> RewardFunction | None:
        """log pi(a|s) as a reward, less that of the uniform policy; None where none is kept.

        With infinite data every Q = log pi + v(s) explains an expert, so this is what cloning
        recovers.

        Args:
            discount: gamma.
        """
        return None

    def update(self, loss: Tensor) -> None:
        """One gradient step on a scalar loss."""
        self._trainer.step(loss)

    def state(self) -> dict[str, NDArray[Any]]:
        """What further updates depend on, demonstrations aside: for a checkpoint.

        Returns:
            Parameters, the optimiser's moments, the number of updates, the scaling of
            observations; copies.
        """
        return self._trainer.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Goes back to where `state` was taken; further updates give the same bits.

        Args:
            state: From a learner of the same kind and settings.

        Raises:
            DataError: If it is from a learner of another kind or size.
        """
        self._trainer.restore(state)


@dataclass(frozen=True)
class LearnerSettings:
    """What every learner is built from; a learner without a network ignores its shape.

    Attributes:
        learning_rate: Of Adam.
        weight_decay: Decoupled weight decay of Adam.
        hidden: Widths of the hidden layers of a network.
        gradient_clip: Largest norm of a gradient; 0 for no limit.
        total_steps: Updates after which the learning rate has decayed to zero along a cosine;
            0 keeps it constant.
    """

    learning_rate: float
    weight_decay: float
    hidden: tuple[int, ...]
    gradient_clip: float
    total_steps: int = 0


def learner_for(problem: Problem, settings: LearnerSettings, run: Run) -> Learner:
    """The learner of a problem's kind of policy: table, network, or language model.

    Args:
        problem: What is to be learnt. On text its `reference_model` is where learning starts.
        settings: Sizes and step sizes.
        run: Seed, device and threads.
    """
    if problem.world == "text":
        from irlbench.baselines.learners.causal_lm import CausalLMLearner

        return CausalLMLearner(problem, settings, run)
    observations, actions = problem.observation_space, problem.action_space
    if isinstance(observations, spaces.Discrete) and isinstance(actions, spaces.Discrete):
        from irlbench.baselines.learners.tabular import TabularLearner

        return TabularLearner(int(observations.n), int(actions.n), settings, run)
    if isinstance(actions, spaces.Discrete):
        from irlbench.baselines.learners.discrete import DiscreteLearner

        return DiscreteLearner(problem, settings, run)
    from irlbench.baselines.learners.continuous import ContinuousLearner

    return ContinuousLearner(problem, settings, run)
