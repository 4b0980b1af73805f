"""Rewards over continuous actions: networks of states and actions, what critics and policies imply.

Observations and actions are vectors; those with more axes are flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from irlbench.network import Network
from irlbench.policies.mlp import GaussianMLPPolicy
from irlbench.reward import RewardFunction, saved_settings
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.parts import ComposedReward, Part, finite
from irlbench.serialisation import require_arrays

# Rows that go through a network at once: their features stay in the processor's cache.
_ROWS = 2**13
# States and draws of noise whose actions are held at once.
_DRAWN_ROWS = 2**17
_DRAWS = 16


class StateActionMLPReward(Network, RewardFunction):
    """r(s, a) of a vector of actions: one output for the observation beside the action.

    Args:
        arrays: Weights by name, the head `reward` having one output; optionally `observation_mean`
            and `observation_std`, over observation and action. See `irlbench.network`.
        activation: "relu" or "tanh".
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.

    Attributes:
        inputs: Observation and action dimensions together.

    Raises:
        ValueError: If the arrays are no such network.
    """

    form: ClassVar[str] = "state-action-mlp"

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        activation: str = "tanh",
        discount: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        super().__init__(arrays, activation)
        self._head = self._layer("reward")
        self._finish(self._inputs(self._head[0]))
        if len(self._head[1]) != 1 or self.inputs < 2:
            raise ValueError(
                f"a network of {self.inputs} inputs and {len(self._head[1])} outputs is no reward "
                "of an observation and an action: it has one output"
            )
        self.kind = "state-action"
        self.discount, self.temperature = discount, temperature

    def of(self, observation: Any, action: Any) -> NDArray[np.float64]:
        """r(s, a), float64 `[batch]`.

        Args:
            observation: `[batch, ...]`.
            action: `[batch, ...]`.

        Raises:
            ValueError: If they are not as wide as the network.
        """
        rows = len(observation)
        both = [np.asarray(x, dtype=np.float32).reshape(rows, -1) for x in (observation, action)]
        if sum(x.shape[1] for x in both) != self.inputs:
            raise ValueError(
                f"observations of {both[0].shape[1]} and actions of {both[1].shape[1]} dimensions "
                f"do not fit a network of {self.inputs} inputs"
            )

        def values(some: slice) -> NDArray[np.float64]:
            features = self._features(np.concatenate([x[some] for x in both], axis=1))
            return np.asarray((features @ self._head[0] + self._head[1])[:, 0], dtype=np.float64)

        return _in_batches(values, rows)

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        return self.of(observation, action)

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        return {**RewardFunction.settings(self), "activation": self._activation}

    @classmethod
    def from_saved(
        cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]
    ) -> StateActionMLPReward:
        """See `RewardFunction.from_saved`."""
        kind, discount, temperature = saved_settings(settings)
        if kind != "state-action":
            raise ValueError(f"a network of states and actions is no {kind} reward")
        require_arrays(arrays, {name: (np.float32, a.ndim) for name, a in arrays.items()})
        return cls(arrays, settings["activation"], discount, temperature)


class ActorCriticReward(ComposedReward):
    """r(s, a, s') = Q(s, a) - gamma V(s'), with V(s) = E[Q(s, A) - tau log pi(A|s)], A from pi.

    The inverse soft Bellman operator (Garg et al., 2021, section 4) where
    actions are continuous; Q is the least of the critics, as in what the actor was trained on. The
    mean is over the same draws of noise in every state, so that the reward is a function.

    Args:
        critics: One or two.
        policy: The actor, Gaussian or squashed; its density is that in the action's own units.
        discount: gamma.
        temperature: tau, from 0 on.
        noise: Standard normal draws that are put through the policy, `[draws, action dimensions]`;
            None for 16 in opposite pairs.
        end_value: V where an episode ended.

    Raises:
        ValueError: If critics and policy do not fit, or a number is out of range.
    """

    form: ClassVar[str] = "actor-critic"

    def __init__(
        self,
        critics: Sequence[StateActionMLPReward],
        policy: GaussianMLPPolicy,
        discount: float,
        temperature: float,
        noise: NDArray[np.float32] | None = None,
        end_value: float = 0.0,
    ) -> None:
        self.critics, self.policy = _critics(critics), policy
        if policy.inputs + policy.actions != self.critics[0].inputs:
            raise ValueError(
                f"a policy of {policy.inputs} observation and {policy.actions} action dimensions "
                f"does not fit critics of {self.critics[0].inputs} inputs"
            )
        if not 0 <= temperature < np.inf:
            raise ValueError(f"temperature must be a number from 0 on, got {temperature}")
        self.kind, self.end_value = "transition", finite(end_value)
        self.discount, self.temperature = discount, temperature
        self.noise = _opposite_pairs(policy.actions) if noise is None else noise
        if self.noise.ndim != 2 or self.noise.shape[1] != policy.actions or not self.noise.size:
            raise ValueError(f"noise {self.noise.shape} is not for {policy.actions} actions")

    def __call__(
        self,
        observation: Any,
        action: NDArray[Any],
        next_observation: Any,
        terminated: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """See `RewardFunction.__call__`."""
        following = _where_it_goes_on(self.value, next_observation, terminated)
        following[terminated] = self.end_value
        return _least(self.critics, observation, action) - self.discount * following

    def value(self, observations: Any) -> NDArray[np.float64]:
        """V(s), float64 `[batch]`.

        Args:
            observations: `[batch, ...]`.
        """
        temperature, draws = self.temperature, len(self.noise)
        assert temperature is not None

        def values(some: slice) -> NDArray[np.float64]:
            seen = observations[some]
            actions, log_pi = self.policy.with_noise(seen, self.noise)
            flat = actions.reshape(-1, actions.shape[-1])
            Q = _least(self.critics, seen.repeat(draws, axis=0), flat).reshape(log_pi.shape)
            return np.asarray((Q - temperature * log_pi).mean(axis=1))

        return _in_batches(values, len(observations), max(1, _DRAWN_ROWS // draws))

    def parts(self) -> Mapping[str, Part]:
        """The critics and the policy."""
        return {**_named(self.critics), "policy": self.policy}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `RewardFunction.arrays`."""
        return {**super().arrays(), "noise": self.noise}

    def settings(self) -> dict[str, Any]:
        """See `RewardFunction.settings`."""
        return {**super().settings(), "end_value": self.end_value}

    @classmethod
    def from_saved(cls, arrays: dict[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `RewardFunction.from_saved`."""
        require_arrays({"noise": arrays["noise"]}, {"noise": (np.float32, 2)})
        rest = {name: array for name, array in arrays.items() if name != "noise"}
        made = super().from_saved(rest, settings)
        assert made.temperature is not None
        end_value = settings.get("end_value", 0.0)
        return cls(
            made.critics, made.policy, made.discount, made.temperature, arrays["noise"], end_value
        )

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        return cls(_found(parts), _policy(parts["policy"]), 1.0, settings["temperature"])


class ValueGapReward(ComposedReward):
    """r(s, a, s') = Q(s, a) - gamma V(s'), V being a network of its own, zero at termination.

    What IPL recovers (Hejna and Sadigh, 2023, section 3.1).

    Args:
        Q: One network, or two of which the lesser counts.
        V: Of states.
        discount: gamma.
        temperature: The temperature under which it was learnt, or None.

    Raises:
        ValueError: If Q and V do not fit.
    """

    form: ClassVar[str] = "q-minus-v"

    def __init__(
        self,
        Q: StateActionMLPReward | Sequence[StateActionMLPReward],
        V: MLPReward,
        discount: float,
        temperature: float | None = None,
    ) -> None:
        self.critics = _critics([Q] if isinstance(Q, StateActionMLPReward) else Q)
        self.V = V
        if V.kind != "state" or V.inputs >= self.critics[0].inputs:
            raise ValueError(
                f"V is of states, and Q of the actions besides; got a {V.kind} network of "
                f"{V.inputs} inputs beside one of {self.critics[0].inputs}"
            )
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
        following = _where_it_goes_on(self._value, next_observation, terminated)
        return _least(self.critics, observation, action) - self.discount * following

    def _value(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        return _in_batches(
            lambda some: self.V.of_actions(observations[some])[:, 0], len(observations)
        )

    def parts(self) -> Mapping[str, Part]:
        """Q, or both of them, and V."""
        return {**_named(self.critics), "V": self.V}

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        V = parts["V"]
        if not isinstance(V, MLPReward):
            raise ValueError(f"V is a network of states, got {type(V).__name__}")
        return cls(_found(parts), V, 1.0)


class PolicyLogRatioReward(ComposedReward):
    """r(s, a) = beta (log pi(a|s) - log pi_ref(a|s)) of policies over continuous actions.

    The implicit reward of DPO (Rafailov et al., 2023); with a uniform reference, behavioural
    cloning's log pi up to a constant.

    Args:
        policy: pi, Gaussian or squashed.
        reference: pi_ref; None: the uniform density over pi's action bounds.
        temperature: beta.
        discount: The discount under which it was learnt.

    Raises:
        ValueError: If the two policies are not of the same observations and actions.
    """

    form: ClassVar[str] = "policy-log-ratio"

    def __init__(
        self,
        policy: GaussianMLPPolicy,
        reference: GaussianMLPPolicy | None = None,
        temperature: float = 1.0,
        discount: float = 1.0,
    ) -> None:
        if reference is not None and (policy.inputs, policy.actions) != (
            reference.inputs,
            reference.actions,
        ):
            raise ValueError(
                f"policies of {policy.inputs} and {reference.inputs} observation dimensions, "
                f"{policy.actions} and {reference.actions} action dimensions"
            )
        if not 0 <= temperature < np.inf:
            raise ValueError(f"temperature must be a number from 0 on, got {temperature}")
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
        rows = len(terminated)
        seen, taken = (np.asarray(x).reshape(rows, -1) for x in (observation, action))
        if taken.shape[1] != self.policy.actions:
            raise ValueError(
                f"actions of {taken.shape[1]} dimensions, the policy's have {self.policy.actions}"
            )

        def ratio(some: slice) -> NDArray[np.float64]:
            log_pi = self.policy.log_prob(seen[some], taken[some])
            if self.reference is None:
                return log_pi + self.policy.log_volume
            return log_pi - self.reference.log_prob(seen[some], taken[some])

        assert self.temperature is not None
        return self.temperature * _in_batches(ratio, rows)

    def parts(self) -> Mapping[str, Part]:
        """The policy, and the reference where it is not uniform."""
        own = {"policy": self.policy}
        return own if self.reference is None else {**own, "reference": self.reference}

    @classmethod
    def _of(cls, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> Self:
        reference = _policy(parts["reference"]) if "reference" in parts else None
        return cls(_policy(parts["policy"]), reference, settings["temperature"])


def _critics(critics: Sequence[StateActionMLPReward]) -> tuple[StateActionMLPReward, ...]:
    """One or two networks of the same inputs.

    Raises:
        ValueError: If there are others.
    """
    widths = {critic.inputs for critic in critics}
    if len(critics) not in (1, 2) or len(widths) != 1:
        raise ValueError(f"one critic or two of the same inputs; got inputs {sorted(widths)}")
    return tuple(critics)


def _named(critics: Sequence[StateActionMLPReward]) -> dict[str, Part]:
    return dict(zip(("Q", "Q2"), critics, strict=False))


def _found(parts: Mapping[str, Part]) -> list[StateActionMLPReward]:
    """The critics of saved parts, by the names that `_named` gave."""
    found = []
    for name in ("Q", "Q2") if "Q2" in parts else ("Q",):
        critic = parts[name]
        if not isinstance(critic, StateActionMLPReward):
            raise ValueError(
                f"{name} is a network of states and actions, got {type(critic).__name__}"
            )
        found.append(critic)
    return found


def _policy(part: Part) -> GaussianMLPPolicy:
    if not isinstance(part, GaussianMLPPolicy):
        raise ValueError(f"a Gaussian policy is wanted, got {type(part).__name__}")
    return part


def _least(
    critics: Sequence[StateActionMLPReward], observation: Any, action: Any
) -> NDArray[np.float64]:
    return np.min([critic.of(observation, action) for critic in critics], axis=0)


def _where_it_goes_on(
    value: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    observations: Any,
    terminated: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """V of next states, 0 at termination, asked once about each: means repeat them."""
    found = np.zeros(len(terminated))
    on = ~np.asarray(terminated, dtype=bool)
    if on.any():
        flat = np.ascontiguousarray(np.asarray(observations, np.float32)[on].reshape(on.sum(), -1))
        rows = flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1])))[:, 0]
        _, first, place = np.unique(rows, return_index=True, return_inverse=True)
        found[on] = value(flat[first])[place]
    return found


def _in_batches(
    values: Callable[[slice], NDArray[np.float64]], rows: int, size: int = _ROWS
) -> NDArray[np.float64]:
    """Values of all rows, so many at a time: `[rows]`."""
    starts = range(0, rows, size)
    return np.concatenate([np.zeros(0), *(values(slice(i, min(i + size, rows))) for i in starts)])


def _opposite_pairs(dimensions: int) -> NDArray[np.float32]:
    """Standard normal draws, each beside its opposite, always the same: `[draws, dimensions]`."""
    half = np.random.default_rng(0).standard_normal((_DRAWS // 2, dimensions))
    return np.concatenate([half, -half]).astype(np.float32)
