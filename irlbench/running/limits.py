"""What a trial may take of the machine, and which of its GPUs it sees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from irlbench.errors import UsageError

#: Of the memory that there is, one trial may take so much unless it is told otherwise.
_MEMORY_SHARE = 0.9
CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """What ends a trial as failed.

    Attributes:
        seconds: Wall-clock time, or None for no limit.
        memory: Bytes that its processes, and what they start, take together.
        log: Bytes that it prints.
        values: Scalars that it logs.
    """

    seconds: float | None = None
    memory: int = 2**63 - 1
    log: int = 100 * 2**20
    values: int = 2_000_000


def machine_memory() -> int:
    """Bytes of memory that this process can use: the machine's, or its control group's."""
    found = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int((CONTROL_GROUPS / name).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(found)


def default_memory() -> int:
    """The limit of a trial's memory where none is asked for, in bytes."""
    return int(_MEMORY_SHARE * machine_memory())


def gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def gpu_slots(per_trial: float, devices: Sequence[str]) -> list[str]:
    """What each trial under way at one time is to see.

    Args:
        per_trial: GPUs for a trial: a part of one (0.5 puts two trials on each), or several.
        devices: The GPUs there are.

    Returns:
        A value of CUDA_VISIBLE_DEVICES for each trial at a time; those that share a GPU are far
        apart, so that few trials spread over all.

    Raises:
        UsageError: If that many GPUs per trial are not there, or the number makes no sense.
    """
    if not per_trial > 0 or (per_trial > 1 and per_trial != int(per_trial)):
        raise UsageError(
            f"--gpus-per-trial must be a part of one GPU, as 0.5, or a whole number, "
            f"got {per_trial:g}"
        )
    if per_trial <= 1:
        return list(devices) * int(1 / per_trial + 1e-9)
    size = int(per_trial)
    if size > len(devices):
        raise UsageError(f"--gpus-per-trial {size}: there are {len(devices)} GPUs")
    groups = range(0, len(devices) - size + 1, size)
    return [",".join(devices[start : start + size]) for start in groups]
