"""What a policy and a reward are, to the bit; and whether saving keeps them so."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Solution
from irlbench.policy import KINDS, Policy, load_policy, save_policy
from irlbench.problem import HiddenRewardVectorEnv
from irlbench.randomness import RowGenerator
from irlbench.reward import FORMS, RewardFunction, load_reward, save_reward
from irlbench.serialisation import canonical_json, sha256_arrays

ROWS, STEPS = 8, 4


@dataclass(frozen=True)
class Probe:
    """Transitions that policies and rewards are asked about.

    Attributes:
        observations: `[batch, ...]`, or a dictionary of such arrays.
        actions: `[batch, ...]`.
        next_observations: As `observations`.
        terminated: bool `[batch]`.
    """

    observations: Any
    actions: NDArray[Any]
    next_observations: Any
    terminated: NDArray[np.bool_]


def probes(env: HiddenRewardVectorEnv) -> list[Probe]:
    """A few steps with random actions.

    Args:
        env: A batch of `ROWS`.
    """
    observations, _ = env.reset(seed=1)
    found = []
    for _ in range(STEPS):
        actions = env.action_space.sample()
        after, _, terminated, _, _ = env.step(actions)
        found.append(Probe(observations, actions, after, terminated))
        observations = after
    return found


def of_policy(policy: Policy, asked: list[Probe]) -> str:
    """SHA-256 of a policy: of its numbers, or of what it does where it has none to show."""
    if policy.kind in KINDS:
        return _digest(policy.arrays(), {"kind": policy.kind, **policy.settings()})
    return _digest(_acts(policy, asked), {"kind": policy.kind})


def of_reward(reward: RewardFunction, asked: list[Probe]) -> str:
    """SHA-256 of a reward: of its numbers, or of its values where it has none to show."""
    if reward.form in FORMS:
        return _digest(reward.arrays(), {"form": reward.form, **reward.settings()})
    return _digest(_values(reward, asked), {"form": reward.form})


def verifiable(solution: Solution) -> tuple[bool, bool]:
    """Whether the policy can be saved, and whether there is a reward that can be."""
    reward = solution.reward
    return solution.policy.kind in KINDS, reward is not None and reward.form in FORMS


def lost_by_saving(solution: Solution, asked: list[Probe]) -> list[str]:
    """What is not as it was once it is saved and loaded: "policy", "reward".

    What holds NaN is left out: it cannot be loaded, and is told of elsewhere.
    """
    lost = []
    policy, reward = solution.policy, solution.reward
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if policy.kind in KINDS and policy.is_finite():
            save_policy(policy, folder)
            if not _alike(_acts(policy, asked), _acts(load_policy(folder), asked)):
                lost.append("policy")
        if reward is not None and reward.form in FORMS and reward.is_finite():
            save_reward(reward, folder)
            if not _alike(_values(reward, asked), _values(load_reward(folder), asked)):
                lost.append("reward")
    return lost


def _digest(arrays: dict[str, NDArray[Any]], settings: dict[str, Any]) -> str:
    found = hashlib.sha256(sha256_arrays(arrays).tobytes())
    found.update(canonical_json(settings).encode())
    return found.hexdigest()


def _acts(policy: Policy, asked: list[Probe]) -> dict[str, NDArray[Any]]:
    """Sampled and likeliest actions in every probe, each begun anew."""
    found = {}
    for place, probe in enumerate(asked):
        for deterministic in (False, True):
            generator = RowGenerator(np.arange(len(probe.terminated)), stream=1)
            found[f"{place} {deterministic}"], _ = policy.act(
                probe.observations, None, deterministic=deterministic, generator=generator
            )
    return found


def _values(reward: RewardFunction, asked: list[Probe]) -> dict[str, NDArray[Any]]:
    return {
        str(place): np.asarray(
            reward(probe.observations, probe.actions, probe.next_observations, probe.terminated)
        )
        for place, probe in enumerate(asked)
    }


def _alike(first: dict[str, NDArray[Any]], second: dict[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(first[name], second[name], equal_nan=False) for name in first)
