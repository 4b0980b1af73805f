"""In CI, a skip whose reason is not listed fails the run; a listed one does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SKIPPING = "import pytest\n\n@pytest.mark.skip(reason={reason!r})\ndef test_it():\n    pass\n"
MODULE_SKIP = "import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
PASSING = "def test_passes():\n    assert True\n"


def _run(folder: Path, files: dict[str, str], *options: str, ci: str = "true") -> tuple[int, str]:
    """Runs pytest over planted files with this project's conftest and one allowed reason."""
    shutil.copy(HERE / "conftest.py", folder)
    (folder / "allowed_skips.txt").write_text("# listed\nno GPU here*\n", encoding="utf-8")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_listed_skip_passes_in_ci(tmp_path):
    planted = SKIPPING.format(reason="no GPU here (cuda is not available)")
    code, output = _run(tmp_path, {"test_a.py": planted + PASSING})
    assert code == 0, output


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "xdist"])
@pytest.mark.parametrize("template", [SKIPPING, MODULE_SKIP], ids=["test", "module"])
def test_an_unlisted_skip_fails_in_ci(tmp_path, options, template):
    files = {"test_a.py": template.format(reason="felt like it"), "test_b.py": PASSING}
    code, output = _run(tmp_path, files, *options)
    assert code == pytest.ExitCode.TESTS_FAILED, output
    assert "felt like it" in output
    assert "FAILED in CI" in output
    assert "1 passed, 1 skipped" in output.splitlines()[-1], "the last line stays pytest's own"


def test_a_run_of_nothing_but_unlisted_skips_fails_in_ci(tmp_path):
    code, output = _run(tmp_path, {"test_a.py": MODULE_SKIP.format(reason="felt like it")})
    assert code == pytest.ExitCode.TESTS_FAILED, output


def test_an_unlisted_skip_is_only_named_elsewhere(tmp_path):
    planted = SKIPPING.format(reason="felt like it")
    code, output = _run(tmp_path, {"test_a.py": planted + PASSING}, ci="")
    assert code == 0, output
    assert "would fail in CI" in output
