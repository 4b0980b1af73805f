"""Limits of a trial, and which GPUs it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from irlbench.errors import UsageError
from irlbench.running import asked, limits
from irlbench.running.limits import gpu_slots


@pytest.mark.parametrize(
    ("per_trial", "devices", "slots"),
    [
        (1, ["0", "1"], ["0", "1"]),
        (0.5, ["0", "1"], ["0", "1", "0", "1"]),
        (0.3, ["7"], ["7", "7", "7"]),
        (0.1, ["0"], ["0"] * 10),
        (2, ["0", "1", "2", "3"], ["0,1", "2,3"]),
        (2, ["a", "b", "c"], ["a,b"]),
    ],
)
def test_gpu_slots(per_trial: float, devices: list[str], slots: list[str]) -> None:
    assert gpu_slots(per_trial, devices) == slots


@pytest.mark.parametrize(
    ("per_trial", "told"),
    [(0, "a part of one GPU"), (-1, "got -1"), (1.5, "got 1.5"), (3, "there are 2 GPUs")],
)
def test_gpus_that_make_no_sense_are_refused(per_trial: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        gpu_slots(per_trial, ["0", "1"])


def test_gpus_are_those_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-1a")
    assert limits.gpus() == ["3", "GPU-1a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert limits.gpus() == []


def test_trials_on_gpus_are_as_many_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert asked._slots("cuda", 1, None, None) == ["0", "1"]
    assert asked._slots("cuda", 1, 3, 0.5) == ["0", "1", "0"]
    assert asked._slots("cpu", 1, 3, None) == [None] * 3
    with pytest.raises(UsageError, match="needs --device cuda"):
        asked._slots("cpu", 1, None, 0.5)


def test_memory_is_the_control_groups_where_that_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = limits.machine_memory()
    assert 2**28 < whole < 2**50
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(limits, "CONTROL_GROUPS", tmp_path)
    assert limits.machine_memory() >= whole
    (tmp_path / "memory.max").write_text(f"{2**28}\n")
    assert limits.machine_memory() == 2**28
    assert limits.default_memory() == int(0.9 * 2**28)
