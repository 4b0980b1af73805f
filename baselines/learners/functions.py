"""Differentiable functions of what is observed: Q-functions, rewards, potentials, discriminators.

One output per action, or one alone. States that are observed as an index are read from a table, or
through a network over the task's features of them; vectors through a network.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from irlbench.algorithm import Run
from irlbench.baselines.learners.networks import Network, moments
from irlbench.baselines.settings import FunctionConfig
from irlbench.errors import ResourceError
from irlbench.policies.mlp import CategoricalMLPPolicy
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Problem
from irlbench.rewards.continuous import StateActionMLPReward
from irlbench.rewards.mlp import MLPReward
from irlbench.rewards.table import TableReward


class StateFunction(nn.Module):
    """A function of the observation with one or more outputs.

    Attributes:
        outputs: Their number.
    """

    outputs: int

    @abstractmethod
    def forward(self, observations: Tensor) -> Tensor:
        """Values `[batch, outputs]` for observations `[batch, ...]`."""

    def of(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The values of the actions taken, `[batch]`; those of states where there is one output.

        Args:
            observations: `[batch, ...]`.
            actions: int64 `[batch]`.
        """
        return of_chosen(self(observations), actions)

    @abstractmethod
    def policy(self, temperature: float) -> Policy:
        """softmax(outputs / temperature) as a policy, apart from further updates."""

    @abstractmethod
    def reward(self, discount: float, temperature: float | None = None) -> TableReward | MLPReward:
        """The outputs as a reward: of states where there is one, else one per action."""


class IndexedFunction(StateFunction):
    """A function of S states that are observed as indices: it can be asked about all at once."""

    @abstractmethod
    def table(self) -> Tensor:
        """The values of every state, float64 `[states, outputs]`."""

    def forward(self, observations: Tensor) -> Tensor:
        """See `StateFunction.forward`; float64."""
        return self.table()[observations]

    def policy(self, temperature: float) -> TablePolicy:
        """See `StateFunction.policy`."""
        return TablePolicy(self.table().detach().cpu().numpy() / temperature)

    def reward(self, discount: float, temperature: float | None = None) -> TableReward:
        """See `StateFunction.reward`."""
        values = self.table().detach().cpu().numpy().copy()
        return TableReward(values[:, 0] if self.outputs == 1 else values, discount, temperature)


class TableFunction(IndexedFunction):
    """One number per state and output, from zero.

    Args:
        states: S.
        outputs: How many.
    """

    def __init__(self, states: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.values = nn.Parameter(torch.zeros(states, outputs, dtype=torch.float64))

    def table(self) -> Tensor:
        """See `IndexedFunction.table`."""
        return self.values


class FeatureFunction(IndexedFunction):
    """A network over features of the states.

    Args:
        features: `[states, features]`.
        network: As many inputs as there are features.
        outputs: Of the network.
    """

    features: Tensor

    def __init__(self, features: Tensor, network: Network, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.network = network
        self.register_buffer("features", features)

    def table(self) -> Tensor:
        """See `IndexedFunction.table`."""
        return self.network(self.features).double()


class ObservationFunction(StateFunction):
    """A network over observed vectors.

    Args:
        network: As many inputs as an observation has numbers.
        outputs: Of the network.
    """

    def __init__(self, network: Network, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        """See `StateFunction.forward`; float64, so that it meets no other type."""
        return self.network(observations.flatten(start_dim=1)).double()

    def policy(self, temperature: float) -> CategoricalMLPPolicy:
        """See `StateFunction.policy`."""
        arrays = _renamed(self.network, "logits")
        for name in ("logits.weight", "logits.bias"):
            arrays[name] = (arrays[name] / temperature).astype(np.float32)
        return CategoricalMLPPolicy(arrays, "tanh")

    def reward(self, discount: float, temperature: float | None = None) -> MLPReward:
        """See `StateFunction.reward`."""
        kind = "state" if self.outputs == 1 else "state-action"
        return MLPReward(_renamed(self.network, "reward"), kind, "tanh", discount, temperature)


def _renamed(network: Network, head: str) -> dict[str, Any]:
    """A network's arrays, its head under another name."""
    arrays: dict[str, Any] = dict(network.arrays())
    own = network.head_name
    return {k.replace(own, head) if k.startswith(own) else k: a for k, a in arrays.items()}


class PairFunction(nn.Module):
    """A function of an observed vector and a continuous action: a network over both.

    Args:
        network: Reads the observation and behind it the action.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def of(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values, float64 `[batch]`.

        Args:
            observations: `[batch, ...]`.
            actions: `[batch, ...]`, in the environment's units.
        """
        pairs = torch.cat([observations.flatten(start_dim=1), actions.flatten(start_dim=1)], dim=1)
        return self.network(pairs.float())[:, 0].double()

    def reward(self, discount: float, temperature: float | None = None) -> StateActionMLPReward:
        """The values as a reward."""
        return StateActionMLPReward(_renamed(self.network, "reward"), "tanh", discount, temperature)


class Functions:
    """Makes the functions that one fit learns, and the optimisers of their parameters.

    Args:
        problem: What is observed, and the features where a network is to read indices.
        config: How functions are represented.
        run: Seed and device.

    Attributes:
        discrete: Whether actions are.
        actions: How many there are; dimensions of continuous ones.
        indexed: Whether states are observed as indices.

    Raises:
        ResourceError: If a network is to read indices of which the task has no features.
    """

    def __init__(self, problem: Problem, config: FunctionConfig, run: Run) -> None:
        self._config, self._run = config, run
        self.device = run.device
        self._space, self._of_actions = problem.observation_space, problem.action_space
        self.discrete = isinstance(self._of_actions, spaces.Discrete)
        shape = self._of_actions.shape or ()
        discrete = self.discrete
        self.actions = int(self._of_actions.n) if discrete else int(np.prod(shape))  # type: ignore[attr-defined]
        self.indexed = isinstance(self._space, spaces.Discrete)
        self._features: Tensor | None = None
        if self.indexed and config.representation == "network":
            if "features" not in problem.needs:
                raise ResourceError(
                    f"{problem.task_id} has no features for a network to read: "
                    "set representation=table"
                )
            features = np.asarray(problem.resource("features"), dtype=np.float32)
            self._features = torch.from_numpy(features.copy()).to(run.device)

    @property
    def tabular(self) -> bool:
        """Whether functions are tables."""
        return self.indexed and self._features is None

    @property
    def learning_rate(self) -> float:
        """The step size of what is made here."""
        config = self._config
        return config.learning_rate if self.tabular else config.network_learning_rate

    def make(
        self,
        name: str,
        outputs: int,
        scale: Tensor | None = None,
        hidden: Iterable[int] | None = None,
    ) -> StateFunction:
        """A new function, near zero everywhere.

        Args:
            name: Draws its first weights: equal names, equal weights.
            outputs: How many; `actions` for one per action.
            scale: Observations `[steps, ...]` whose mean and standard deviation scale what a
                network over vectors reads; None leaves them as they are.
            hidden: Widths of a network's hidden layers; None takes the configuration's.
        """
        if isinstance(self._space, spaces.Discrete) and self._features is None:
            return TableFunction(int(self._space.n), outputs).to(self._run.device)
        features = self._features
        inputs = int(np.prod(self._space.shape or ())) if features is None else features.shape[1]
        network = self._network(name, inputs, outputs, hidden)
        if features is not None:
            network.scale_to(features)
            return FeatureFunction(features, network, outputs).to(self._run.device)
        if scale is not None:
            network.scale_to(scale.flatten(start_dim=1).float())
        return ObservationFunction(network, outputs).to(self._run.device)

    def make_of_pairs(
        self,
        name: str,
        scale: Tensor | None = None,
        hidden: Iterable[int] | None = None,
    ) -> StateFunction | PairFunction:
        """A new function of state and action, near zero everywhere.

        Args:
            name: As for `make`.
            scale: As for `make`; continuous actions are scaled by their bounds.
            hidden: As for `make`.
        """
        if self.discrete:
            return self.make(name, self.actions, scale, hidden)
        inputs = int(np.prod(self._space.shape or ()))
        network = self._network(name, inputs + self.actions, 1, hidden)
        network.mean[:], network.std[:] = self.moments_of_pairs(scale)
        return PairFunction(network).to(self._run.device)

    def moments_of_pairs(self, scale: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is subtracted from a vector and a continuous action, and what they are divided by.

        Args:
            scale: As for `make`.

        Returns:
            Both `[dimensions + actions]`, without the actions where they are discrete.
        """
        if scale is None:
            inputs = int(np.prod(self._space.shape or ()))
            mean, std = torch.zeros(inputs), torch.ones(inputs)
        else:
            mean, std = moments(scale.flatten(start_dim=1).float())
        if self.discrete:
            return mean, std
        space: Any = self._of_actions
        low, high = (
            torch.as_tensor(bound, dtype=torch.float32, device=mean.device).flatten()
            for bound in (space.low, space.high)
        )
        return torch.cat([mean, (low + high) / 2]), torch.cat([std, (high - low) / 2])

    def _network(
        self, name: str, inputs: int, outputs: int, hidden: Iterable[int] | None
    ) -> Network:
        seed = int(self._run.generator(f"first weights of {name}").integers(2**63 - 1))
        return Network(
            inputs,
            self._config.hidden if hidden is None else hidden,
            outputs,
            head="logits",
            head_gain=0.01,
            generator=torch.Generator().manual_seed(seed),
        ).to(self._run.device)

    def optimiser(self, *functions: nn.Module, weight_decay: float = 0.0) -> torch.optim.Adam:
        """Adam on the parameters of functions."""
        parameters = [p for function in functions for p in function.parameters()]
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=weight_decay)


def indexed(function: Any) -> IndexedFunction:
    """The same function, where known dynamics ask it about all states at once.

    Raises:
        TypeError: If its states are not observed as indices.
    """
    if not isinstance(function, IndexedFunction):
        raise TypeError("known dynamics are of states that are observed as indices")
    return function


def of_chosen(values: Tensor, actions: Tensor) -> Tensor:
    """The values of the actions taken.

    Args:
        values: `[batch, actions]`, or `[batch, 1]` of what does not depend on actions.
        actions: int64 `[batch]`.

    Returns:
        `[batch]`.
    """
    if values.shape[1] == 1:
        return values[:, 0]
    return values.gather(1, actions[:, None])[:, 0]
