"""The frozen references that ship with tasks, damaged."""

from __future__ import annotations

import json

import pytest

from irlbench.errors import DataError
from irlbench.registry import registry
from irlbench.task import TaskOptions, read_references

WHOLE = {"references": {"random": {"return": 1.0, "episodes": 50}}, "expert": {"sha256": None}}


def test_what_ships_is_read(tmp_path):
    path = tmp_path / "references.json"
    path.write_text(json.dumps(WHOLE))
    assert read_references(path, "expert") == WHOLE


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {**WHOLE, "references": []},
        {**WHOLE, "references": {"random": 1.0}},
        {**WHOLE, "references": {"random": {"return": "1"}}},
        {**WHOLE, "references": {"random": {"return": True}}},
        {**WHOLE, "references": {"random": {"return": 10**400}}},
        {**WHOLE, "expert": None},
        {"references": WHOLE["references"]},
    ],
)
def test_what_was_damaged_is_named(tmp_path, content):
    path = tmp_path / "task-v0" / "references.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"task-v0/references\.json: holds no references"):
        read_references(path, "expert")


def test_a_damaged_measurement_in_the_cache_folder_is_named(tmp_path, monkeypatch):
    task = registry().task("text/arithmetic")
    monkeypatch.setattr(task, "_frozen_for", {})  # as for another model
    monkeypatch.setattr(type(task), "measure_base", lambda *_: {"accuracy": 0.5})
    assert task.prepare(TaskOptions(), tmp_path).anchors == {"base": {"accuracy": 0.5}}
    (path,) = (tmp_path / "references").iterdir()
    for text in ("{", "[]", '{"accuracy": "much"}', '{"accuracy": 1e999}'):
        path.write_text(text)
        with pytest.raises(DataError, match=path.name):
            task.prepare(TaskOptions(), tmp_path)
