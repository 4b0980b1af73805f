"""What all tests share: one thread, no network, a cache folder of their own, and no silent skips.

In CI (environment variable ``CI=true``) a skipped test fails the run unless its reason matches a
line of ``allowed_skips.txt``, so that a test that has quietly stopped running is noticed.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before torch or a BLAS is imported: tests run two at a time on two cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


@pytest.fixture(scope="session", autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Points ``IRLBENCH_HOME`` at a temporary folder: no test reads or writes the user's."""
    previous = os.environ.get("IRLBENCH_HOME")
    os.environ["IRLBENCH_HOME"] = str(tmp_path_factory.mktemp("irlbench-home"))
    yield
    if previous is None:
        del os.environ["IRLBENCH_HOME"]
    else:
        os.environ["IRLBENCH_HOME"] = previous


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def _skip_reason(report: Any) -> str:
    """The reason a skipped test gave, without pytest's prefix."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ").strip()


def _unlisted_skips(config: pytest.Config) -> list[str]:
    """The skips of this run that no line of ``allowed_skips.txt`` covers, as `test: reason`."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:
        return []
    lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    unlisted = []
    for report in terminal.stats.get("skipped", []):
        reason = _skip_reason(report)
        if not any(fnmatch.fnmatchcase(reason, pattern) for pattern in patterns):
            unlisted.append(f"{report.nodeid}: {reason}")
    return sorted(set(unlisted))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, turns a run with an unlisted skip into a failed one (on xdist, in the controller)."""
    if not _in_ci() or hasattr(session.config, "workerinput"):
        return
    passing = session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    if passing and _unlisted_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Names the unlisted skips, as errors in CI and as a note elsewhere."""
    unlisted = _unlisted_skips(config)
    if not unlisted:
        return
    kind = "FAILED in CI" if _in_ci() else "would fail in CI"
    terminalreporter.section(f"skips whose reason is not in tests/allowed_skips.txt ({kind})")
    for line in unlisted:
        terminalreporter.line(line)
