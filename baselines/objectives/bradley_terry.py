"""Preferences over segments: Bradley-Terry for pairs, Plackett-Luce for rankings.

Bradley and Terry (1952), for segments of trajectories Christiano et al. (2017, eq. 1); Plackett
(1975), for rankings of completions Rafailov et al. (2023, appendix A.3).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from irlbench.baselines.objectives.masking import check_shapes, masked_mean, masked_sum


def segment_returns(rewards: Tensor, mask: Tensor) -> Tensor:
    """Undiscounted sums of rewards.

    Args:
        rewards: One per action (S observations have S - 1), `[..., time]`.
        mask: 1 where there is an action, 0 in padding; `[..., time]`.

    Returns:
        `[...]`.
    """
    return masked_sum(rewards, mask)


def first_preferred_of_ranks(ranks: Tensor) -> Tensor:
    """Labels of pairs: 1 where the first item is ranked better, 0.5 for ties, 0 otherwise.

    Args:
        ranks: 0 is best; `[pairs, 2]`.

    Returns:
        float32 `[pairs]`.

    Raises:
        ValueError: If there are not two items each.
    """
    if ranks.ndim != 2 or ranks.shape[1] != 2:
        raise ValueError(f"ranks of pairs are [pairs, 2], got {tuple(ranks.shape)}")
    return 0.5 * (1 + torch.sign(ranks[:, 1] - ranks[:, 0]).float())


def bradley_terry_loss(
    returns: Tensor,
    first_preferred: Tensor,
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of P(first preferred) = sigmoid((R_first - R_second) / temperature).

    Args:
        returns: R of the two segments of each pair, `[pairs, 2]`.
        first_preferred: How far the first is preferred, in [0, 1]: 1 is wholly, 0 the second is,
            0.5 is a tie. `[pairs]`.
        temperature: Of the choice, above 0.
        weight: How much each pair counts, `[pairs]`; all the same where it is None.

    Returns:
        A scalar, the weighted mean over pairs. A tie costs at least log 2.

    Raises:
        ValueError: If the returns are not pairs, or the temperature is not positive.
    """
    if returns.ndim != 2 or returns.shape[1] != 2:
        raise ValueError(f"returns of pairs are [pairs, 2], got {tuple(returns.shape)}")
    logits = _per_temperature(returns[:, 0] - returns[:, 1], temperature)
    check_shapes(logits=logits, first_preferred=first_preferred)
    log_first, log_second = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    losses = -first_preferred * log_first - (1 - first_preferred) * log_second
    return _weighted_mean(losses, weight)


def plackett_luce_loss(
    returns: Tensor,
    ranks: Tensor,
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of a ranking: the best is drawn first, then the best of the rest.

    P(ranking) = prod_k exp(R_k / T) / sum_{j >= k} exp(R_j / T), k from best to worst. For two
    items it is the Bradley-Terry loss.

    Args:
        returns: R of the K items of each comparison, `[comparisons, K]`.
        ranks: 0 is best, no two alike; `[comparisons, K]`.
        temperature: T, above 0.
        weight: How much each comparison counts, `[comparisons]`; all the same where it is None.

    Returns:
        A scalar, the weighted mean over comparisons.

    Raises:
        ValueError: If two items of a comparison are tied (the model has no ties), or the
            temperature is not positive.
    """
    check_shapes(returns=returns, ranks=ranks)
    in_order, best_first = ranks.sort(dim=1)
    tied = (in_order.diff(dim=1) == 0).any(dim=1)
    if bool(tied.any()):
        row = int(tied.nonzero()[0])
        raise ValueError(
            f"comparison {row} has ranks {ranks[row].tolist()}, and a ranking model has no ties: "
            "compare its items in pairs"
        )
    scores = _per_temperature(returns, temperature).gather(1, best_first)
    # From the worst: log sum over an item and all that are worse.
    remaining = scores.flip(1).logcumsumexp(dim=1)
    return _weighted_mean(remaining.sum(dim=1) - scores.sum(dim=1), weight)


def _per_temperature(values: Tensor, temperature: float) -> Tensor:
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return values / temperature


def _weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mean() if weight is None else masked_mean(losses, weight)
