"""The expert's transitions and the policy's, as a Q-function sees them: known, sampled, or offline.

What a track gives decides. With known dynamics both are occupancy measures over all states and
actions, exact. With interaction they are batches of demonstrated and of experienced transitions. Offline
there are only the demonstrations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from irlbench.algorithm import Run
from irlbench.baselines.learners.functions import Functions, StateFunction, indexed
from irlbench.baselines.learners.interaction import Interaction, softmax_actor
from irlbench.baselines.learners.known_dynamics import KnownDynamics
from irlbench.baselines.learners.steps import (
    ActedQ,
    Steps,
    observed,
    soft_values_of,
    steps_of,
    value_of,
)
from irlbench.baselines.objectives.iq_learn import discounted_initial_value
from irlbench.baselines.objectives.soft_values import SoftValues, soft_value
from irlbench.baselines.settings import ImitationConfig
from irlbench.problem import Problem
from irlbench.tabular.demonstrations import demonstrated_occupancy


class Experience(ABC):
    """What an imitation objective on Q is computed from.

    Attributes:
        exact: Whether expectations take the place of samples.
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def advance(self, Q: StateFunction | ActedQ, temperature: float) -> bool:
        """Lets softmax(Q / temperature) act; False where nothing is left to act with."""

    @abstractmethod
    def soft_values(
        self,
        Q: StateFunction | ActedQ,
        temperature: float,
        target: StateFunction | ActedQ | None = None,
    ) -> tuple[SoftValues, SoftValues | None]:
        """What Q says of the expert's transitions, and of the policy's where there are any.

        Args:
            Q: One output per action.
            temperature: tau.
            target: What V' is taken from, without gradient; None: from Q, with gradient.
        """

    @abstractmethod
    def initial_value(
        self, Q: StateFunction | ActedQ, temperature: float, discount: float
    ) -> Tensor:
        """IQ-Learn's value term read where the expert begins, on the scale of the means of steps.

        Args:
            Q: One output per action.
            temperature: tau.
            discount: gamma.

        Returns:
            A scalar.
        """

    def ends(self, newest: int) -> tuple[float, float] | None:
        """Shares of the expert's and of the policy's transitions that end an episode.

        Args:
            newest: The policy's latest so many count.

        Returns:
            None where there are no transitions of the policy's, or occupancies are exact.
        """
        return None

    @property
    @abstractmethod
    def steps_taken(self) -> int | None:
        """Environment steps so far, or None where none are taken."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of environments."""


class KnownExperience(Experience):
    """Occupancy measures.

    Args:
        known: The dynamics, and the expert's occupancy.
    """

    exact: ClassVar[bool] = True

    def __init__(self, known: KnownDynamics) -> None:
        self._known = known
        self._policy: Tensor | None = None

    def advance(self, Q: StateFunction | ActedQ, temperature: float) -> bool:
        """See `Experience.advance`: the policy's occupancy is computed."""
        with torch.no_grad():
            policy = torch.softmax(indexed(Q).table() / temperature, dim=1)
        occupancy = self._known.occupancy(policy.cpu().numpy())
        self._policy = torch.from_numpy(occupancy).to(policy.device)
        return True

    def soft_values(
        self,
        Q: StateFunction | ActedQ,
        temperature: float,
        target: StateFunction | ActedQ | None = None,
    ) -> tuple[SoftValues, SoftValues | None]:
        """See `Experience.soft_values`."""
        known, following = self._known, None if target is None else indexed(target)
        expert = known.soft_values(indexed(Q), known.expert, temperature, following)
        if self._policy is None:
            return expert, None
        return expert, known.soft_values(indexed(Q), self._policy, temperature, following)

    def initial_value(
        self, Q: StateFunction | ActedQ, temperature: float, discount: float
    ) -> Tensor:
        """See `Experience.initial_value`; the occupancy's total is below 1 where episodes end."""
        known = self._known
        return known.source @ soft_value(indexed(Q).table(), temperature) / known.expert.sum()

    @property
    def steps_taken(self) -> None:
        """See `Experience.steps_taken`."""
        return None

    def close(self) -> None:
        """See `Experience.close`."""


class SampledExperience(Experience):
    """Batches of demonstrated transitions, and of experienced ones where there is interaction.

    Args:
        expert: The demonstrated transitions.
        initial: The observations that demonstrations begin with, `[episodes, ...]`.
        config: Sizes.
        run: Seed.
        interaction: Where the policy acts; None: offline.
    """

    def __init__(
        self,
        expert: Steps,
        initial: Tensor,
        config: ImitationConfig,
        run: Run,
        interaction: Interaction | None,
    ) -> None:
        self._expert, self._initial, self._size = expert, initial, config.batch_size
        self._draws, self._interaction = run.generator("minibatches"), interaction
        self._device = run.device
        self._expert_ends = float(expert.terminated.double().mean())
        self._taken, self._random_steps = 0, config.random_steps

    def advance(self, Q: StateFunction | ActedQ, temperature: float) -> bool:
        """See `Experience.advance`: every environment makes a step."""
        if self._interaction is None:
            return True
        act = Q.act if isinstance(Q, ActedQ) else softmax_actor(Q, temperature, self._device)
        while not self._interaction.exhausted:
            at_random = self._taken < self._random_steps
            self._taken += self._interaction.step(act, random_share=1.0 if at_random else 0.0)
            if not at_random:
                return True
        return False

    def soft_values(
        self,
        Q: StateFunction | ActedQ,
        temperature: float,
        target: StateFunction | ActedQ | None = None,
    ) -> tuple[SoftValues, SoftValues | None]:
        """See `Experience.soft_values`."""
        shown = self._drawn()
        if self._interaction is None:
            return soft_values_of(Q, shown, temperature, target), None
        met = self._interaction.sample(self._size)
        if isinstance(Q, ActedQ):  # one evaluation of larger matrices
            both = soft_values_of(Q, shown.joined(met), temperature, target)
            return both[: len(shown)], both[len(shown) :]
        expert = soft_values_of(Q, shown, temperature, target)
        return expert, soft_values_of(Q, met, temperature, target)

    def _drawn(self) -> Steps:
        if len(self._expert) <= self._size:
            return self._expert
        rows = self._draws.integers(len(self._expert), size=self._size)
        return self._expert[torch.as_tensor(rows, device=self._expert.actions.device)]

    def ends(self, newest: int) -> tuple[float, float] | None:
        """See `Experience.ends`."""
        if self._interaction is None:
            return None
        return self._expert_ends, self._interaction.ends(newest)

    def initial_value(
        self, Q: StateFunction | ActedQ, temperature: float, discount: float
    ) -> Tensor:
        """See `Experience.initial_value`."""
        V = value_of(Q, self._initial, temperature)
        return discounted_initial_value(V, discount, ended=self._expert_ends)

    @property
    def steps_taken(self) -> int | None:
        """See `Experience.steps_taken`."""
        return None if self._interaction is None else self._taken

    def close(self) -> None:
        """See `Experience.close`."""
        if self._interaction is not None:
            self._interaction.close()


def experience_of(
    problem: Problem, functions: Functions, config: ImitationConfig, run: Run
) -> tuple[Experience, Tensor | None]:
    """What a problem's track gives to learn from.

    Args:
        problem: With demonstrations.
        functions: How observations are represented.
        config: Sizes.
        run: Seed and device.

    Returns:
        The experience, and the demonstrated observations `[steps, ...]` that networks over
        vectors are scaled by (None with known dynamics).

    Raises:
        DataError: If a demonstration is one that known dynamics cannot produce.
    """
    if "dynamics" in problem.needs:
        dynamics = problem.resource("dynamics")
        expert, _ = demonstrated_occupancy(dynamics, problem.demonstrations, finite_horizon=False)
        return KnownExperience(KnownDynamics(dynamics, expert, run.device)), None
    demonstrations = problem.demonstrations
    steps = steps_of(demonstrations.transitions(config.subsample), run.device)
    begun = [episode.observations[0] for episode in demonstrations if len(episode)]
    initial = observed(np.stack(begun), run.device)
    interaction = None
    if "interaction" in problem.needs:
        interaction = Interaction(problem, config.num_envs, config.buffer, run)
    experience = SampledExperience(steps, initial, config, run, interaction)
    return experience, steps.observations
