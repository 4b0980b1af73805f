"""Freezes the reference scores of the text tasks: `python -m irlbench.envs.text.references`.

Needed whenever the model that ships, a protocol or a data set changes; the tasks' versions then
change too, once a version has been released.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from irlbench.envs.text.models import language_model
from irlbench.envs.text.tasks import ARITHMETIC, GSM8K, TextTask
from irlbench.serialisation import write_text_atomic
from irlbench.task import TaskOptions


def measure(task: TextTask, options: TaskOptions) -> dict[str, Any]:
    """What `references.json` of a task holds.

    Args:
        task: A text task.
        options: The data it needs; the model is the one that ships.

    Returns:
        References, the hashes they hold for, and package versions.
    """
    with tempfile.TemporaryDirectory() as home:
        base = task.measure_base(options, Path(home))
        accuracy = task.demonstrator_accuracy(options)
    return {
        "references": {"base": base, "demonstrator": {"accuracy": accuracy}},
        "measured_for": {"model": language_model(None).hash, **task.data_hashes(options)},
        "measured_with": {name: version(name) for name in ("numpy", "torch", "transformers")},
    }


def main() -> None:
    """Measures and writes the references of both tasks (of GSM8K, where its data is given)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--gsm8k", help="folder with GSM8K's train.jsonl and test.jsonl")
    gsm8k_folder = parser.parse_args().gsm8k
    todo = [(ARITHMETIC, TaskOptions())]
    if gsm8k_folder:
        todo.append((GSM8K, TaskOptions(data=gsm8k_folder)))
    for task, options in todo:
        folder = Path(__file__).parent / "assets" / task.id.removeprefix("text/")
        folder.mkdir(exist_ok=True)
        text = json.dumps(measure(task, options), indent=1, sort_keys=True)
        write_text_atomic(folder / "references.json", text + "\n")


if __name__ == "__main__":
    main()
