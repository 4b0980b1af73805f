"""Rewards made of others: shaped ones, what a soft Q-function implies, ratios of two policies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from irlbench.reward import FORMS, RewardFunction, saved_settings
from irlbench.rewards.linear import LinearReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward
from irlbench.serialisation import load_named_class

#: What says a number per state and discrete action (with `kind` "state-action").
OfActions = TableReward | MLPReward
#: The forms that a part may have: none that has parts itself.
_PARTS = ("table", "linear", "mlp")


class ComposedReward(RewardFunction):
    """A reward that is computed from others, its parts, which are saved with it."""

    @abstractmethod
    def parts(self) -> dict[str, RewardFunction]:
        """The parts by name."""

    @classmethod
    @abstractmethod
    def _of(cls, parts: dict[str, RewardFunction], settings: Mapping[str, Any]) -> Self:
        """The reward of its parts."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `RewardFunction.arrays`."""
        named = {name: part.arrays() for name, part in self.parts().items()}
        return {f"{name}.{key}": a for name, arrays in named.items() for key, a in arrays.items()}

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        parts = {name: {"form": p.form, **p.settings()} for name, p in self.parts().items()}
        return {**super().settings(), "parts": parts}

    @classmethod
    def from_saved(cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `RewardFunction.from_saved`."""
        if not isinstance(settings["parts"], dict):
            raise TypeError("parts are an object")
        parts, left = {}, set(arrays)
        for name, declared in settings["parts"].items():
            if not isinstance(declared, dict) or declared["form"] not in _PARTS:
                raise ValueError(f"part {name!r} is none of the forms {', '.join(_PARTS)}")
            own = {k.removeprefix(f"{name}."): k for k in arrays if k.startswith(f"{name}.")}
            left -= set(own.values())
            part: type[RewardFunction] = load_named_class(FORMS[declared["form"]])
            parts[name] = part.from_saved({k: arrays[whole] for k, whole in own.items()}, declared)
        if left:
            raise ValueError(f"arrays of no part: {sorted(left)}")
        made = cls._of(parts, settings)
        kind, made.discount, made.temperature = saved_settings(settings)
        if kind != made.kind or set(made.parts()) != set(parts):
            raise ValueError(f"parts {sorted(parts)} make no {kind} reward of form {cls.form}")
        return made


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
    def _of(cls, parts: dict[str, RewardFunction], settings: Mapping[str, Any]) -> Self:
        return cls(parts["g"], parts["h"], 1.0)


class InverseBellmanReward(ComposedReward):
    """r(s, a, s') = Q(s, a) - gamma V(s'), with V = tau logsumexp(Q / tau), zero at termination.

    The inverse soft Bellman operator (Garg et al., 2021, section 4).

    Args:
        Q: Of states and discrete actions.
        discount: gamma.
        temperature: tau, above 0.
    """

    form: ClassVar[str] = "inverse-bellman"

    def __init__(self, Q: OfActions, discount: float, temperature: float) -> None:
        _require_of_actions(Q)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.Q = Q
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
        return Q - self.discount * np.where(terminated, 0.0, V)

    def _value(self, Q: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.temperature is not None
        return self.temperature * _logsumexp(Q / self.temperature)

    def parts(self) -> dict[str, RewardFunction]:
        """Q."""
        return {"Q": self.Q}

    @classmethod
    def _of(cls, parts: dict[str, RewardFunction], settings: Mapping[str, Any]) -> Self:
        return cls(_of_actions(parts["Q"]), 1.0, settings["temperature"])


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
    def _of(cls, parts: dict[str, RewardFunction], settings: Mapping[str, Any]) -> Self:
        reference = _of_actions(parts["reference"]) if "reference" in parts else None
        return cls(_of_actions(parts["policy"]), reference, 1.0, settings["temperature"])


def _of_actions(part: RewardFunction) -> OfActions:
    if not isinstance(part, TableReward | MLPReward):
        raise ValueError(f"what is known per action is wanted, got form {part.form!r}")
    return part


def _require_alike(*parts: RewardFunction) -> None:
    """Refuses parts that no observation fits all of: indices of so many states, or vectors."""
    seen = {found for part in parts if (found := _observed(part)) is not None}
    if len(seen) > 1:
        raise ValueError(f"parts read different observations: {' and '.join(sorted(seen))}")


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
