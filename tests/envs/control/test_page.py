"""The page on control: its figures are those of the frozen references."""

from __future__ import annotations

import re
from pathlib import Path

from irlbench.envs.control import tasks
from irlbench.envs.control.task import ControlTask

PAGE = (Path(__file__).parents[3] / "docs" / "control.md").read_text(encoding="utf-8")
ALL = [task for task in vars(tasks).values() if isinstance(task, ControlTask)]


def _measured(task, name):
    scores = task.info.references.get(name)
    if scores is None:
        return ""
    mean, error = scores["return"], scores["return_error"]
    digits = 0 if abs(mean) >= 1000 or error == 0 else 1
    return f"{mean:,.{digits}f} ± {error:.{max(digits, 1)}f}" if error else f"{mean:,.0f}"


def table():
    lines = [
        "| task | environment | steps | random | expert | wanted | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task in ALL:
        bar = tasks.BARS.get(task.id)
        expert = task.info.references.get("expert")
        said = "not made yet" if task.info.lacks else ""
        if bar is not None and expert is not None and expert["return"] < bar:
            said = "falls short"
        cells = [
            f"`{task.id.removeprefix('control/').removesuffix('-v0')}`",
            f"`{task.info.environment}`",
            f"{task.info.horizon:,}",
            _measured(task, "random"),
            _measured(task, "expert"),
            "" if bar is None else f"{bar:,.0f}",
            said,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_of_experts_is_made_from_the_references():
    found = re.search(r"<!-- table: experts -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1].strip() == table(), f"docs/control.md should have:\n{table()}"


def test_every_task_is_named():
    for task in ALL:
        assert f"`{task.id.removeprefix('control/').removesuffix('-v0')}`" in PAGE
