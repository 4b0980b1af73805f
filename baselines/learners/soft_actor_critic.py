"""Soft actor-critic for continuous actions (Haarnoja et al., 2018).

Gradients of the actor and of the squared Bellman error are written out: an update is made at
every step of the environment, and autograd would take as long as the products of matrices.
Entropies and log pi are in the environment's action units throughout, as those of saved policies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from irlbench.algorithm import Run
from irlbench.baselines.learners.side_by_side import FlatAdam, SideBySide, Tape
from irlbench.baselines.learners.state import (
    State,
    optimiser_state,
    part,
    put_back,
    restore_optimiser,
    take,
    to_array,
    under,
)
from irlbench.baselines.learners.steps import ActedQ, Steps
from irlbench.baselines.objectives.soft_values import SoftValues
from irlbench.policies.mlp import LOG_STD_BOUNDS, SquashedGaussianMLPPolicy
from irlbench.problem import Problem
from irlbench.rewards.continuous import ActorCriticReward, StateActionMLPReward

_LOG_2PI, _LOG_2 = math.log(2 * math.pi), math.log(2)
# Demonstrated actions at a bound have no finite density: they are moved so far inside.
_INSIDE = 1e-6


@dataclass(frozen=True, kw_only=True)
class SoftActorCriticSettings:
    """What the learner is built from.

    Attributes:
        hidden: Widths of the hidden layers of actor and critics.
        critic_learning_rate: Of Adam.
        actor_learning_rate: Of Adam.
        critics: How many Q-functions; the least of them counts.
        temperature: tau, at first where it is learnt.
        learn_temperature: Whether it follows the entropy wanted.
        temperature_learning_rate: Of Adam.
        entropy_per_action: Entropy wanted, per action dimension, of actions scaled to [-1, 1].
        target_rate: Share of the way that the slow critics go per update.
        precision: Of hidden layers.
    """

    hidden: tuple[int, ...]
    critic_learning_rate: float
    actor_learning_rate: float
    critics: int
    temperature: float
    learn_temperature: bool = False
    temperature_learning_rate: float = 3e-4
    entropy_per_action: float = -1.0
    target_rate: float
    precision: str

    @classmethod
    def of(cls, config: Any, **changed: Any) -> SoftActorCriticSettings:
        """The settings that a configuration names; those that it lacks keep their defaults.

        Args:
            config: With the fields of `baselines.settings`.
            changed: Takes the place of what it says.
        """
        found = {field.name: getattr(config, field.name, None) for field in fields(cls)}
        found["hidden"] = config.actor_critic_hidden
        found["target_rate"] = config.critic_target_rate
        known = {name: value for name, value in found.items() if value is not None}
        return cls(**{**known, **changed})


class Sample:
    """Actions drawn from a squashed Gaussian, and what its gradient needs.

    Args:
        head: Means and logarithms of the spread, `[batch, 2 actions]`.
        noise: Standard normal numbers, `[batch, actions]`.
        log_scale: Sum over dimensions of log(half the range of the action).

    Attributes:
        squashed: The actions, in [-1, 1], `[batch, actions]`.
        log_prob: log pi in the environment's units, `[batch]`.
    """

    def __init__(self, head: Tensor, noise: Tensor, log_scale: float) -> None:
        mean, self._free = head.chunk(2, dim=-1)
        log_std = self._free.clamp(*LOG_STD_BOUNDS)
        self._noise, self._std = noise, log_std.exp()
        before = torch.addcmul(mean, noise, self._std)
        self.squashed = torch.tanh(before)
        # log(1 - tanh(u)^2), written so that it is exact for large u too.
        slope = 2 * (_LOG_2 - before - softplus(-2 * before))
        terms = -0.5 * noise.square() - log_std - slope
        self.log_prob = terms.sum(dim=-1) - (0.5 * _LOG_2PI * noise.shape[1] + log_scale)

    def gradient(self, of_actions: Tensor, of_log_prob: float) -> Tensor:
        """The gradient of a loss in the head, noise held fixed, `[batch, 2 actions]`.

        Args:
            of_actions: Its gradient in the squashed actions, `[batch, actions]`.
            of_log_prob: Its gradient in each log pi, the same for all.
        """
        # d tanh(u) / du = 1 - tanh(u)^2, and d(-log(1 - tanh(u)^2)) / du = 2 tanh(u).
        before = of_actions * (1 - self.squashed.square()) + 2 * of_log_prob * self.squashed
        log_std = before * self._noise * self._std - of_log_prob
        low, high = LOG_STD_BOUNDS
        log_std *= (self._free >= low) & (self._free <= high)
        return torch.cat([before, log_std], dim=-1)


class SoftActorCritic(ActedQ):
    """An actor, its critics and their slow copies, and a temperature that may follow the entropy.

    Args:
        problem: Vector observations and bounded `Box` actions.
        settings: Sizes and step sizes.
        run: Seed and device.

    Attributes:
        critics: The Q-functions, of observations beside actions scaled to [-1, 1].

    Raises:
        ValueError: If an action has no finite bounds.
    """

    def __init__(self, problem: Problem, settings: SoftActorCriticSettings, run: Run) -> None:
        space: Any = problem.action_space
        self._low = np.asarray(space.low, dtype=np.float32).reshape(-1)
        self._high = np.asarray(space.high, dtype=np.float32).reshape(-1)
        if not np.isfinite([self._low, self._high]).all():
            raise ValueError(f"continuous actions need finite bounds, got {space}")
        self._inputs = int(np.prod(problem.observation_space.shape or ()))
        self.actions = len(self._low)
        self._discount, self._rate = problem.discount, settings.target_rate
        self._settings, self._device = settings, torch.device(run.device)
        half = (self._high.astype(np.float64) - self._low) / 2
        self._log_scale = float(np.log(half).sum())
        self._middle = torch.as_tensor((self._high + self._low) / 2, device=self._device)
        self._half = torch.as_tensor(half.astype(np.float32), device=self._device)
        seed = int(run.generator("first weights").integers(2**62))
        self._draws = torch.Generator().manual_seed(seed)
        self.actor = self._network(self._inputs, 2 * self.actions, 1)
        self.critics = self._network(self._inputs + self.actions, 1, settings.critics)
        self.targets = self.critics.slow_copy()
        self._noise = torch.Generator(self._device).manual_seed(seed + 1)
        start = math.log(settings.temperature)
        self._log_temperature = torch.full((1,), start, device=self._device, requires_grad=True)
        wanted = settings.entropy_per_action * self.actions
        self._seen: list[Tensor] = []
        self._entropy_wanted = wanted + self._log_scale
        self.actor_optimiser = FlatAdam(self.actor.parameters_flat, settings.actor_learning_rate)
        self.critic_optimiser = FlatAdam(
            self.critics.parameters_flat, settings.critic_learning_rate
        )
        self._temperature_optimiser = FlatAdam(
            self._log_temperature, settings.temperature_learning_rate
        )

    def _network(self, inputs: int, outputs: int, networks: int) -> SideBySide:
        settings = self._settings
        return SideBySide(
            inputs,
            settings.hidden,
            outputs,
            networks,
            generator=self._draws,
            precision=settings.precision,
        ).to(self._device)

    @property
    def temperature(self) -> float:
        """tau, as it is now."""
        return float(self._log_temperature.detach().exp())

    def scaled(self, actions: Tensor) -> Tensor:
        """Actions of the environment as the networks read them, in [-1, 1]."""
        return (actions - self._middle) / self._half

    def sample(self, observations: Tensor) -> tuple[Sample, Tape]:
        """Draws actions; nothing for autograd.

        Args:
            observations: float32 `[batch, dimensions]`.
        """
        head, tape = self.actor.evaluate(observations)
        shape = (len(observations), self.actions)
        noise = torch.randn(shape, generator=self._noise, device=self._device)
        return Sample(head[0], noise, self._log_scale), tape

    def act(self, observations: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Draws actions of the environment, `[rows, actions]`.

        Args:
            observations: `[rows, ...]`.
            generator: Draws them.
        """
        rows = observations.reshape(len(observations), -1).astype(np.float32)
        mean, log_std = np.split(self.actor.rows(rows), 2, axis=1)
        noise = generator.standard_normal(mean.shape, dtype=np.float32)
        squashed = np.tanh(mean + np.exp(np.clip(log_std, *LOG_STD_BOUNDS)) * noise)
        return np.asarray(self._low + (squashed + 1) * 0.5 * (self._high - self._low))

    def value(self, observations: Tensor) -> Tensor:
        """See `ActedQ.value`: one action is drawn for each."""
        drawn, _ = self.sample(observations)
        return self._least(observations, drawn.squashed) - self._bonus(drawn)

    def soft_values(self, steps: Steps, *, slow: bool) -> SoftValues:
        """See `ActedQ.soft_values`: one action is drawn for each state."""
        with torch.no_grad():
            drawn, _ = self.sample(steps.observations)
        rows = [steps.observations, steps.observations]
        actions = [self.scaled(steps.actions), drawn.squashed]
        bonuses = [self._bonus(drawn)]
        if not slow:
            after, _ = self.sample(steps.next_observations)
            rows.append(steps.next_observations)
            actions.append(after.squashed)
            bonuses.append(self._bonus(after))
        values = self._least(torch.cat(rows), torch.cat(actions)).chunk(len(rows))
        V = values[1] - bonuses[0]
        following = self.next_values(steps).double() if slow else values[2] - bonuses[1]
        self._seen.append(steps.observations)
        return SoftValues(values[0], V, following, steps.terminated, steps.weight)

    def _least(self, observations: Tensor, squashed: Tensor) -> Tensor:
        """The least of the critics, float64 `[batch]`, with gradient."""
        values = self.critics(torch.cat([observations, squashed], dim=1))[..., 0]
        return _least(values).double()

    def _bonus(self, drawn: Sample) -> Tensor:
        return (self.temperature * drawn.log_prob).double()

    def follow(self) -> dict[str, float]:
        """What comes after an update of the critics by a loss on `soft_values`.

        The actor learns on the observations that were asked about since, and the slow copies follow.

        Returns:
            What happened, by name.
        """
        entropy = self.update_actor(torch.cat(self._seen))
        self._seen.clear()
        self.targets.follow(self.critics, self._rate)
        return {"entropy": entropy, "temperature": self.temperature}

    def update(self, steps: Steps, rewards: Tensor) -> dict[str, float]:
        """One update of critics, actor, temperature and slow copies.

        Args:
            steps: Transitions.
            rewards: What each is worth, `[batch]`.

        Returns:
            What happened, by name.
        """
        loss = self._update_critics(steps, rewards.float())
        entropy = self.update_actor(steps.observations)
        self.targets.follow(self.critics, self._rate)
        return {"critic_loss": loss, "entropy": entropy, "temperature": self.temperature}

    def next_values(self, steps: Steps) -> Tensor:
        """V(s') by the slow copies, one action drawn for each, `[batch]`; no gradient."""
        following = steps.next_observations
        with torch.no_grad():
            drawn, _ = self.sample(following)
            values, _ = self.targets.evaluate(torch.cat([following, drawn.squashed], dim=1))
            return _least(values[..., 0]) - self.temperature * drawn.log_prob

    def _update_critics(self, steps: Steps, rewards: Tensor) -> float:
        following = self.next_values(steps).masked_fill_(steps.terminated, 0.0)
        aims = rewards + self._discount * following
        pairs = torch.cat([steps.observations, self.scaled(steps.actions)], dim=1)
        values, tape = self.critics.evaluate(pairs)
        residuals = values[..., 0] - aims
        _, slope = self.critics.gradients(tape, residuals[..., None] / len(steps), reuse=True)
        self.critics.parameters_flat.grad = slope
        self.critic_optimiser.step_fast()
        return float(residuals.square().mean())

    def update_actor(self, observations: Tensor) -> float:
        """One update of the actor, and of the temperature where it is learnt.

        Args:
            observations: float32 `[batch, dimensions]`.

        Returns:
            The entropy of the actor, in the environment's units.
        """
        with torch.no_grad():
            drawn, tape = self.sample(observations)
            pairs = torch.cat([observations, drawn.squashed], dim=1)
            values, critic_tape = self.critics.evaluate(pairs)
            share = 1 / len(observations)
            slope = -share * _is_least(values)
            of_pairs, _ = self.critics.gradients(critic_tape, slope, inputs=True, parameters=False)
            assert of_pairs is not None
            of_actions = of_pairs[:, self._inputs :]
            of_head = drawn.gradient(of_actions, self.temperature * share)
            _, self.actor.parameters_flat.grad = self.actor.gradients(
                tape, of_head[None], reuse=True
            )
            entropy = -drawn.log_prob.mean()
        self.actor_optimiser.step_fast()
        if self._settings.learn_temperature:
            # Haarnoja et al. (2018b, eq. 18), in log tau as is usual.
            self._log_temperature.grad = (entropy - self._entropy_wanted).reshape(1)
            self._temperature_optimiser.step_fast()
        return float(entropy)

    def log_prob(self, steps: Steps) -> Tensor:
        """log pi(a|s) of the actor as it is now, `[batch]`, without gradient."""
        with torch.no_grad():
            head, _ = self.actor.evaluate(steps.observations)
            mean, log_std = head[0].chunk(2, dim=-1)
            log_std = log_std.clamp(*LOG_STD_BOUNDS)
            squashed = self.scaled(steps.actions).clamp(-1 + _INSIDE, 1 - _INSIDE)
            noise = (torch.atanh(squashed) - mean) / log_std.exp()
            terms = -0.5 * noise.square() - log_std - torch.log1p(-squashed.square())
            return terms.sum(dim=-1) - (0.5 * _LOG_2PI * self.actions + self._log_scale)

    def policy(self) -> SquashedGaussianMLPPolicy:
        """The actor as a policy, apart from further updates."""
        heads = {"mean": slice(0, self.actions), "log_std": slice(self.actions, None)}
        bounds = {"action_low": self._low, "action_high": self._high}
        return SquashedGaussianMLPPolicy({**self.actor.arrays(0, heads), **bounds}, "relu")

    def implied_reward(self, end_value: float = 0.0) -> ActorCriticReward:
        """r = Q - gamma V', with V by the actor: the reward under which Q is soft-optimal.

        Args:
            end_value: V where an episode ended.
        """
        # What the networks read of an action is scaled to [-1, 1]; a reward reads it as it is.
        mean = np.zeros(self._inputs + self.actions, dtype=np.float32)
        std = np.ones_like(mean)
        mean[self._inputs :] = (self._high + self._low) / 2
        std[self._inputs :] = (self._high - self._low) / 2
        critics = [
            StateActionMLPReward(
                {
                    **self.critics.arrays(i, {"reward": slice(None)}),
                    "observation_mean": mean,
                    "observation_std": std,
                },
                "relu",
                self._discount,
            )
            for i in range(self.critics.networks)
        ]
        return ActorCriticReward(
            critics, self.policy(), self._discount, self.temperature, end_value=end_value
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """What further updates depend on: for a checkpoint."""
        return {
            **under("actor", optimiser_state(self.actor_optimiser)),
            **under("critics", optimiser_state(self.critic_optimiser)),
            **under("temperature", optimiser_state(self._temperature_optimiser)),
            "targets": to_array(self.targets.parameters_flat),
            "noise": self._noise.get_state().numpy().copy(),
        }

    def restore(self, state: State) -> None:
        """Goes back to where `state` was taken."""
        restore_optimiser(self.actor_optimiser, part("actor", state))
        restore_optimiser(self.critic_optimiser, part("critics", state))
        restore_optimiser(self._temperature_optimiser, part("temperature", state))
        put_back(self.targets.parameters_flat, state, "targets")
        kept = take(state, "noise", self._noise.get_state().numpy())
        self._noise.set_state(torch.from_numpy(kept.copy()))


def _least(values: Tensor) -> Tensor:
    """The least over the first dimension: pairs of rows compare faster than `amin` reduces."""
    return reduce(torch.minimum, values.unbind())


def _is_least(values: Tensor) -> Tensor:
    """1 where a network's value is the least of all, the first such one, else 0; as `values`."""
    least = _least(values)
    found = [values[0] == least]
    taken = found[0]
    for row in values[1:]:
        found.append((row == least) & ~taken)
        taken = taken | found[-1]
    return torch.stack(found).to(values.dtype)
