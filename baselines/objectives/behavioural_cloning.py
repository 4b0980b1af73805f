"""Behavioural cloning, on text called supervised fine-tuning (Pomerleau, 1991)."""

from __future__ import annotations

from torch import Tensor


def behavioural_cloning_loss(log_pi: Tensor, mask: Tensor) -> Tensor:
    """Mean negative log-likelihood of demonstrated actions: E_{(s,a) ~ D}[-log pi(a|s)].

    The mean is over actions, not over sequences: padding carries no weight, and every token of
    every length counts the same.

    Args:
        log_pi: log pi(a|s) of the demonstrated actions, `[batch]` or `[batch, time]`.
        mask: 1 where there is an action, 0 in padding; the shape of `log_pi`.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes differ.
    """
    if log_pi.shape != mask.shape:
        raise ValueError(f"log_pi {tuple(log_pi.shape)} and mask {tuple(mask.shape)} differ")
    return -(log_pi * mask).sum() / mask.sum()
