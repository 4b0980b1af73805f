"""Output directories that are claimed, made, named and moved as they should not be, and no terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import irlbench
from irlbench.running import claims

from .drivers import (  # noqa: TID252 - the tests are no package with a name
    PLUGIN,
    TASK,
    Driver,
    hashes,
    short,
    starts,
    until,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def go(out: Path, **more: Any) -> Any:
    """A run in this process."""
    target, choices = short(out, **more)
    return irlbench.run(target, **choices)


def test_a_run_needs_no_standard_streams(tmp_path: Path) -> None:
    """As under some schedulers; what trials print must not end up in whichever file is opened."""
    command = [sys.executable, "-m", "irlbench", "run", TASK, "-a", "short/walk", "-s", "1"]
    command += ["--plugin", str(PLUGIN), "-o", str(tmp_path / "out")]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        check=False,
        timeout=60,
    )
    assert closed.returncode == 0
    assert len(hashes(tmp_path / "out")) == 1


_HAMMER = """
import sys
from pathlib import Path
from irlbench.running import claims
folder, got = Path(sys.argv[1]), 0
while got < 1000:
    claim = claims.claim(folder)
    if claim is not None:
        (folder / "mine").touch(exist_ok=False)  # never two at a time
        claim.discard()
        got += 1
"""


def test_a_folder_is_claimed_by_one_at_a_time_however_often_it_vanishes(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _HAMMER, str(tmp_path / "trial")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_claim_is_freed_with_its_last_holder(tmp_path: Path) -> None:
    claim = claims.claim(tmp_path / "trial")
    assert claim is not None
    assert claims.claim(tmp_path / "trial") is None
    assert claims.claimed(tmp_path / "trial")
    claim.release()
    claim.release()
    assert not claims.claimed(tmp_path / "trial")
    again = claims.claim(tmp_path / "trial")
    assert again is not None
    again.discard()
    assert not (tmp_path / "trial").exists()


def test_a_run_that_was_killed_while_it_made_the_directory_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.irlbench.json.4711").write_text('{"sch')
    assert go(tmp_path / "out").done == 1


def test_an_output_directory_may_have_any_name(tmp_path: Path) -> None:
    for name in ("with space", "ünï-日本", "line\nbreak", "-dash", "quote'\"$x"):
        assert go(tmp_path / name).done == 1, name
        assert go(tmp_path / name).reused == 1, name


@linux
def test_a_directory_that_is_moved_under_a_run_can_be_gone_on_with(tmp_path: Path) -> None:
    go(tmp_path / "out")
    driver = Driver(tmp_path / "driver", short(tmp_path / "out", seeds=3), held=1)
    until(lambda: starts(driver), "its trial to start")
    (tmp_path / "out").rename(tmp_path / "moved")
    driver.let_go()
    assert driver.wait() == 1
    assert "cannot be" in driver.text
    assert not (tmp_path / "out").exists()
    summary = go(tmp_path / "moved", seeds=3)
    assert (summary.done, summary.reused) == (2, 1)
    assert len(hashes(tmp_path / "moved")) == 3
    assert not list((tmp_path / "moved/working").iterdir())
