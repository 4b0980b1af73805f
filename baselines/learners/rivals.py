"""The policy's side of an adversarial game: what it did, and how it answers a reward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.interaction import Interaction
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.steps import Steps
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.tabular.chain import MarkovChain
from irlbench.tabular.policy_iteration import soft_policy_iteration

RewardOf = Callable[[Steps], Tensor]


class Rival(ABC):
    """A policy that answers a discriminator."""

    @abstractmethod
    def expert(self) -> Steps:
        """Transitions of the expert's."""

    @abstractmethod
    def act(self) -> bool:
        """Lets the policy act; False where nothing is left to act with."""

    @abstractmethod
    def own(self) -> Steps:
        """Transitions of its own."""

    @property
    def ends(self) -> tuple[float, float]:
        """Shares of the expert's and of its own transitions that end an episode."""
        raise NotImplementedError("rewards of absorbing states are for what is learnt from samples")

    @abstractmethod
    def log_prob(self, steps: Steps) -> Tensor:
        """log pi(a|s) of the policy as it is now, `[batch]`, without gradient."""

    @abstractmethod
    def answer(self, reward: RewardOf) -> Mapping[str, float]:
        """Improves the policy for a reward of transitions; tells what happened, by name."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy as it is now."""

    @property
    @abstractmethod
    def steps_taken(self) -> int | None:
        """Environment steps so far, or None where none are taken."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of environments."""


class ExactRival(Rival):
    """A table of logits in known dynamics; every transition counts by its probability.

    Args:
        known: The dynamics, and the expert's occupancy.
        step_size: None: the policy becomes soft-optimal for the reward at temperature 1. Else it
            takes a natural gradient step: pi becomes proportional to pi exp(step_size Q), Q the
            exact values of pi. That is the policy which gains most at an expected divergence from
            the last (the trust region of TRPO, with a fixed multiplier), and it knows no entropy.
    """

    def __init__(self, known: KnownDynamics, step_size: float | None) -> None:
        self._known, self._step_size = known, step_size
        dynamics = known.dynamics
        self._logits = np.zeros((dynamics.states, dynamics.actions))
        self._policy = TablePolicy(self._logits)
        self._chain = MarkovChain(dynamics, self._policy.probabilities)
        # Every transition once, in the order of states, actions and successors.
        self._all = known.steps(torch.ones_like(known.expert))
        self._expert = known.steps(known.expert)

    def expert(self) -> Steps:
        """See `Rival.expert`."""
        return self._expert

    def act(self) -> bool:
        """See `Rival.act`: its occupancy is computed when it is asked for."""
        return True

    def own(self) -> Steps:
        """See `Rival.own`."""
        occupancy = self._known.occupancy(self._policy.probabilities, self._chain)
        return self._known.steps(torch.from_numpy(occupancy).to(self._known.expert.device))

    def log_prob(self, steps: Steps) -> Tensor:
        """See `Rival.log_prob`."""
        table = torch.from_numpy(self._policy.log_probabilities)
        return table.to(steps.actions.device)[steps.observations, steps.actions]

    def answer(self, reward: RewardOf) -> Mapping[str, float]:
        """See `Rival.answer`."""
        dynamics, every = self._known.dynamics, self._all
        with torch.no_grad():
            paid = (reward(every) * every.weight).cpu().numpy()
        pairs = (every.observations * dynamics.actions + every.actions).cpu().numpy()
        shape = self._logits.shape
        total = np.bincount(pairs, weights=paid, minlength=self._logits.size)
        mean = total.reshape(shape).astype(np.float64)
        if self._step_size is None:
            plan, _ = soft_policy_iteration(dynamics, mean, 1.0, begin=self._logits)
            self._logits = plan.Q
        else:
            V = self._chain.values((self._policy.probabilities * mean).sum(axis=1))
            Q = mean + dynamics.discount * dynamics.expect(V)
            self._logits = self._policy.log_probabilities + self._step_size * Q
        self._policy = TablePolicy(self._logits)
        self._chain = MarkovChain(dynamics, self._policy.probabilities)
        return {}

    def policy(self) -> TablePolicy:
        """See `Rival.policy`."""
        return self._policy

    @property
    def steps_taken(self) -> None:
        """See `Rival.steps_taken`."""
        return None

    def close(self) -> None:
        """See `Rival.close`."""


class PolicyLearner(Protocol):
    """A policy that acts and learns from rewards: soft Q-learning, or soft actor-critic."""

    def act(self, observations: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Draws actions `[rows, ...]`."""

    def update(self, steps: Steps, rewards: Tensor) -> Mapping[str, float]:
        """One update for rewards `[batch]` of transitions; tells what happened, by name."""

    def log_prob(self, steps: Steps) -> Tensor:
        """log pi(a|s) of the policy as it is now, `[batch]`, without gradient."""

    def policy(self) -> Policy:
        """The policy as it is now, apart from further updates."""


class SampledRival(Rival):
    """A learner in the environments; rewards are computed anew for what is replayed.

    Args:
        demonstrated: Transitions of the expert's.
        interaction: The environments.
        learner: Of the policy.
        batch_size: Transitions per update.
        newest: The discriminator sees the latest so many of its transitions.
        run: Seed.
        random_steps: Steps with random actions before anything is learnt.
        demonstrated_share: Of the learner's batches, what the expert's transitions are.
    """

    def __init__(
        self,
        demonstrated: Steps,
        interaction: Interaction,
        learner: PolicyLearner,
        batch_size: int,
        newest: int,
        run: Run,
        random_steps: int = 0,
        demonstrated_share: float = 0.0,
    ) -> None:
        self._demonstrated, self._interaction, self._learner = demonstrated, interaction, learner
        self._batch_size, self._newest = batch_size, newest
        self._draws = run.generator("minibatches")
        self._taken, self._random_steps = 0, random_steps
        self._shown = min(round(demonstrated_share * batch_size), batch_size - 1)

    def expert(self) -> Steps:
        """See `Rival.expert`."""
        return self._demonstrated.drawn(self._batch_size, self._draws)

    def act(self) -> bool:
        """See `Rival.act`: every environment makes a step."""
        while not self._interaction.exhausted:
            at_random = self._taken < self._random_steps
            share = 1.0 if at_random else 0.0
            self._taken += self._interaction.step(self._learner.act, random_share=share)
            if not at_random:
                return True
        return False

    def own(self) -> Steps:
        """See `Rival.own`."""
        return self._interaction.sample(self._batch_size, newest=self._newest)

    @property
    def ends(self) -> tuple[float, float]:
        """See `Rival.ends`."""
        expert = float(self._demonstrated.terminated.double().mean())
        return expert, self._interaction.ends(self._newest)

    def log_prob(self, steps: Steps) -> Tensor:
        """See `Rival.log_prob`."""
        return self._learner.log_prob(steps)

    def answer(self, reward: RewardOf) -> Mapping[str, float]:
        """See `Rival.answer`: one update."""
        steps = self._interaction.sample(self._batch_size - self._shown)
        if self._shown:
            steps = steps.joined(self._demonstrated.drawn(self._shown, self._draws))
        with torch.no_grad():
            rewards = reward(steps)
        return self._learner.update(steps, rewards)

    def policy(self) -> Policy:
        """See `Rival.policy`."""
        return self._learner.policy()

    @property
    def steps_taken(self) -> int:
        """See `Rival.steps_taken`."""
        return self._taken

    def close(self) -> None:
        """See `Rival.close`."""
        self._interaction.close()
