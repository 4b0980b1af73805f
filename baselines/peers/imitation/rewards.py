"""The package's reward networks as rewards of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irlbench.baselines.peers.imitation.peer import moments
from irlbench.reward import RewardFunction
from irlbench.rewards.continuous import StateActionMLPReward
from irlbench.rewards.mlp import MLPReward

if TYPE_CHECKING:
    from imitation.rewards.reward_nets import BasicRewardNet

_Layers = list[tuple[NDArray[Any], NDArray[Any]]]


def reward_of_pairs(
    net: BasicRewardNet, discount: float, temperature: float | None = None
) -> RewardFunction:
    """r(s, a), the same numbers as the network's.

    Of discrete actions the network reads a one-hot vector beside the observation. Here every action
    has a copy of the layers, its own column of the first weights being part of the bias.

    Args:
        net: ReLU layers over observation and action.
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.
    """
    layers, mean, std = _parts(net.mlp)
    if not hasattr(net.action_space, "n"):
        return StateActionMLPReward(_named(layers, mean, std), "relu", discount, temperature)
    actions = int(net.action_space.n)
    width = len(mean) - actions
    (first, bias), rest = layers[0], layers[1:]
    columns = (np.eye(actions, dtype=np.float32) - mean[width:]) / std[width:]
    biases = bias + columns @ first[:, width:].T
    copies: _Layers = [(np.tile(first[:, :width], (actions, 1)), biases.reshape(-1))]
    copies += [
        (np.kron(np.eye(actions, dtype=np.float32), w), np.tile(b, actions)) for w, b in rest
    ]
    arrays = _named(copies, mean[:width], std[:width])
    return MLPReward(arrays, "state-action", "relu", discount, temperature)


def reward_of_states(net: Any, discount: float, temperature: float | None = None) -> MLPReward:
    """r(s), the same numbers as the network's.

    Args:
        net: The package's `BasicPotentialMLP`: ReLU layers over observations.
        discount: The discount under which it was learnt.
        temperature: The temperature under which it was learnt, or None.
    """
    return MLPReward(_named(*_parts(net._potential_net)), "state", "relu", discount, temperature)


def _parts(mlp: Any) -> tuple[_Layers, NDArray[np.float32], NDArray[np.float32]]:
    """Weights and biases of the layers in order, and what scales the inputs."""
    from imitation.util.networks import BaseNorm
    from torch import nn

    layers = [
        (_array(layer.weight), _array(layer.bias)) for layer in mlp if isinstance(layer, nn.Linear)
    ]
    mean = np.zeros(layers[0][0].shape[1], dtype=np.float32)
    std = np.ones_like(mean)
    for norm in mlp:
        if isinstance(norm, BaseNorm):
            mean, std = moments(norm)
    return layers, mean, std


def _named(
    layers: _Layers, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    names = [f"hidden.{i}" for i in range(len(layers) - 1)] + ["reward"]
    arrays: dict[str, NDArray[Any]] = {"observation_mean": mean, "observation_std": std}
    for name, (weight, bias) in zip(names, layers, strict=True):
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = weight, bias
    return arrays


def _array(tensor: Any) -> NDArray[np.float32]:
    """A copy: the package goes on changing its own."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32)
