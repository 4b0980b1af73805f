"""The page of the gridworld suite's results is what the committed records say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from irlbench import load_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "gridworld"


@pytest.fixture(scope="module")
def laboratory() -> ModuleType:
    """`benchmarks/laboratory.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("lab", ROOT / "benchmarks" / "laboratory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_committed_records(laboratory: ModuleType) -> None:
    made = laboratory.page(load_results(RESULTS))
    assert made == (ROOT / "docs" / "laboratory.md").read_text(encoding="utf-8")


def test_a_cell_tells_its_mean_interval_and_failures(laboratory: ModuleType) -> None:
    rows = pl.DataFrame(
        {"status": ["done", "done", "failed"], "normalised": [0.25, 0.75, None]},
        schema_overrides={"normalised": pl.Float64},
    )
    # t of one degree of freedom: 12.706, times sqrt(0.125) / sqrt(2).
    assert laboratory._cell(rows, "normalised") == "0.50 ±3.18 (1 failed)"
    assert laboratory._cell(rows.head(1), "normalised") == "0.25"
    assert laboratory._cell(rows.tail(1), "normalised") == "- (1 failed)"
