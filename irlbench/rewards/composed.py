"""Rewards made of others: shaped ones, what a soft Q-function implies, ratios of two policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from irlbench.reward import RewardFunction
from irlbench.rewards.continuous import StateActionMLPReward
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.parts import ComposedReward, Part, finite, reward_part
from irlbench.rewards.table import TableReward

#: What says a number per state and discrete action (with `kind` "state-action").
OfActions = TableReward | MLPReward


class ShapedReward(ComposedReward):
    """f(s, a, s') = g(s, a) + gamma h(s') - h(s), the potential h zero at termination.

    Ng, Harada and Russell (1999); what AIRL's discriminator is made of (Fu et al., 2018, section 6).

    Args:
        g: What is left when the shaping is taken off.
        h: The potential, a reward of states.
        discount: gamma.
        temperature: The temperature under which it was learnt, or None.
    """

    form: ClassVar[str] = "shaped"

    def __init__(
        self,
        g: RewardFunction,
        h: RewardFunction,
        discount: float,
        temperature: float | None = None,
    ) -> None:
        if h.kind != "state":
            raise ValueError(f"a potential is of states, not {h.kind}")
        _require_alike(g, h)
        if isinstance(g, StateActionMLPReward) and not _is_narrower(h, g.inputs):
            raise ValueError(
                f"a potential of {_observed(h)} beside a reward of {g.inputs} inputs, of which "
                "some are the action's"
            )
        self.g, self.h = g, h
        self.kind = "transition"
        self.discount, self.temperature = discount, temperature

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        given = (action, next_observation, terminated)
        following = self.h(next_observation, *given)
        shaping = self.discount * np.where(terminated, 0.0, following) - self.h(observation, *given)
        return self.g(observation, *given) + shaping

    def unshaped(self) -> RewardFunction:
        """g."""
        return self.g

    def parts(self) -> dict[str, RewardFunction]:
        """g and h."""
        return {"g": self.g, "h": self.h}

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        return cls(reward_part(parts["g"]), reward_part(parts["h"]), 1.0)


class InverseBellmanReward(ComposedReward):
    """r(s, a, s') = Q(s, a) - gamma V(s'), with V = tau logsumexp(Q / tau).

    The inverse soft Bellman operator (Garg et al., 2021, section 4).

    Args:
        Q: Of states and discrete actions.
        discount: gamma.
        temperature: tau, above 0.
        end_value: V where an episode ended.
    """

    form: ClassVar[str] = "inverse-bellman"

    def __init__(
        self, Q: OfActions, discount: float, temperature: float, end_value: float = 0.0
    ) -> None:
        _require_of_actions(Q)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.Q, self.end_value = Q, finite(end_value)
        self.kind = "transition"
        self.discount, self.temperature = discount, temperature

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        if isinstance(self.Q, TableReward):  # fewer states than transitions
            V = self._value(self.Q.values)[np.asarray(next_observation)]
        else:
            V = self._value(self.Q.of_actions(next_observation))
        Q = self.Q(observation, action, next_observation, terminated)
        return Q - self.discount * np.where(terminated, self.end_value, V)

    def _value(self, Q: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.temperature is not None
        return self.temperature * _logsumexp(Q / self.temperature)

    def parts(self) -> dict[str, RewardFunction]:
        """Q."""
        return {"Q": self.Q}

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        return {**super().settings(), "end_value": self.end_value}

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        end_value = settings.get("end_value", 0.0)
        return cls(_of_actions(parts["Q"]), 1.0, settings["temperature"], end_value)


class LogRatioReward(ComposedReward):
    """r(s, a) = beta (log pi(a|s) - log pi_ref(a|s)) of discrete actions.

    The implicit reward of DPO (Rafailov et al., 2023); with a uniform reference, behavioural
    cloning's log pi up to a constant.

    Args:
        policy: log pi up to a number per state, of states and actions.
        reference: The same of pi_ref; None: the uniform policy.
        discount: The discount under which it was learnt.
        temperature: beta.
    """

    form: ClassVar[str] = "log-ratio"

    def __init__(
        self,
        policy: OfActions,
        reference: OfActions | None,
        discount: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        for logits in (policy, reference):
            if logits is not None:
                _require_of_actions(logits)
        if reference is not None:
            _require_alike(policy, reference)
            if policy.actions != reference.actions:
                raise ValueError(f"{policy.actions} actions beside {reference.actions}")
        self.policy, self.reference = policy, reference
        self.kind = "state-action"
        self.discount, self.temperature = discount, temperature

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        assert self.temperature is not None
        rows = (np.arange(len(terminated)), np.asarray(action, dtype=np.int64))
        log_pi = _log_softmax(self.policy.of_actions(observation))
        if self.reference is None:
            return self.temperature * (log_pi[rows] + np.log(log_pi.shape[1]))
        reference = _log_softmax(self.reference.of_actions(observation))
        return self.temperature * (log_pi - reference)[rows]

    def parts(self) -> dict[str, RewardFunction]:
        """The logits of the policy, and of the reference where it is not uniform."""
        own: dict[str, RewardFunction] = {"policy": self.policy}
        return own if self.reference is None else {**own, "reference": self.reference}

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        reference = _of_actions(parts["reference"]) if "reference" in parts else None
        return cls(_of_actions(parts["policy"]), reference, 1.0, settings["temperature"])


def _of_actions(part: Part) -> OfActions:
    if not isinstance(part, TableReward | MLPReward):
        raise ValueError(f"what is known per action is wanted, got {type(part).__name__}")
    return part


def _require_alike(*parts: RewardFunction) -> None:
    """Refuses parts that no observation fits all of: indices of so many states, or vectors."""
    seen = {found for part in parts if (found := _observed(part)) is not None}
    if len(seen) > 1:
        raise ValueError(f"parts read different observations: {' and '.join(sorted(seen))}")


def _is_narrower(part: RewardFunction, inputs: int) -> bool:
    """Whether a reward of states reads vectors of fewer dimensions, or nothing."""
    if isinstance(part, LinearReward):
        return part.weights.size < inputs
    return isinstance(part, MLPReward) and part.inputs < inputs


def _observed(part: RewardFunction) -> str | None:
    """What a part reads, in words; None where it reads nothing."""
    if isinstance(part, TableReward):
        return f"{len(part.values)} states"
    if isinstance(part, MLPReward):
        return f"vectors of {part.inputs}"
    if isinstance(part, LinearReward) and part.weights.size:
        return f"vectors of {part.weights.size}"
    return None


def _require_of_actions(values: OfActions) -> None:
    if values.kind != "state-action":
        raise ValueError(f"what is known per action is wanted, got a {values.kind} reward")


def _logsumexp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    most = values.max(axis=1, keepdims=True)
    return np.asarray(most[:, 0] + np.log(np.exp(values - most).sum(axis=1)))


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values - _logsumexp(values)[:, None]
