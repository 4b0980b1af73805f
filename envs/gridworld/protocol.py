"""How policies and recovered rewards are judged in gridworlds, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from irlbench.randomness import EVALUATION_SEEDS
from irlbench.task import Score

#: Of policies; the first is the primary one.
SCORES = (
    Score("return", "reward per episode, undiscounted over the horizon; exact"),
    Score("length", "steps per episode"),
    Score(
        "regret",
        "discounted return over the horizon that the best policy gets beyond this one; exact",
        higher_is_better=False,
    ),
    Score(
        "kl_to_expert",
        "KL(policy || expert) per step, in nats, over the states that the policy visits",
        higher_is_better=False,
    ),
)

_DISTANCE = "distance of the recovered reward to the true one: 0 the same, 0.7 unrelated, 1 negated"
_PLANNED = (
    "for the recovered reward, ties broken evenly; (J* - J) / (J* - J of uniform moves) under the "
    "true one, discounted, no horizon: 0 the best, 1 random"
)
#: Of recovered rewards; see `irlbench.envs.gridworld.reward_evaluation`.
REWARD_SCORES = (
    Score("epic", f"EPIC {_DISTANCE}; uniform coverage, exact", higher_is_better=False),
    Score("dard", f"DARD {_DISTANCE}; uniform coverage, exact", higher_is_better=False),
    Score(
        "starc",
        f"STARC {_DISTANCE}; advantage under the uniform policy, L2, exact",
        higher_is_better=False,
    ),
    Score(
        "reoptimised_regret",
        f"regret of the policy planned {_PLANNED}",
        higher_is_better=False,
    ),
    Score(
        "transfer_regret",
        f"in the transfer task's dynamics, regret of the policy planned there {_PLANNED}",
        higher_is_better=False,
    ),
)
PROTOCOL: Mapping[str, Any] = {
    "scores": "exact where the policy's distribution is known, else sampled",
    "action_mode": "sample",
    "test_episodes": 100,
    "test_seed": EVALUATION_SEEDS,
    "validation_episodes": 50,
    "validation_seed": EVALUATION_SEEDS + 10**6,
}
HIDDEN_STATE_PROTOCOL: Mapping[str, Any] = {
    **PROTOCOL,
    "scores": "exact, the policy averaged over one observation of each state per episode's seed, "
    "where its distribution is known, else sampled",
}
