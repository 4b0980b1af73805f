"""`irlbench watch`."""

from __future__ import annotations

import pytest

from irlbench.cli import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with one trial."""
    out = tmp_path_factory.mktemp("run") / "rooms"
    command = ["run", "gridworld/four-rooms", "--algorithms", "random", "--seeds", "1", "-q"]
    assert main([*command, "--out", str(out)]) == 0
    return out


def test_a_film_goes_beside_the_trials_or_where_it_is_asked(finished, tmp_path, capsys):
    (trial,) = (path.name for path in (finished / "trials").iterdir())
    assert main(["watch", str(finished), trial[:6]]) == 0
    film = finished / "films" / f"{trial[:12]}.gif"
    told = capsys.readouterr().out
    assert "random on gridworld/four-rooms-v0, seed 0" in told and film.name in told
    assert film.read_bytes()[:4] == b"GIF8"
    mine = tmp_path / "new" / "mine.gif"
    assert main(["watch", str(finished), trial, "--episodes", "2", "--out", str(mine)]) == 0
    assert capsys.readouterr().out.count(",") >= 2
    assert mine.stat().st_size > film.stat().st_size
    assert main(["status", str(finished)]) == 0, "a film is no damage"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["zzz"], "zzz"),
        (["", "--out", "film.avi"], "a film ends in .gif or .mp4, got 'film.avi'"),
        (["", "--episodes", "0"], "--episodes must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_shown_is_refused(finished, capsys, arguments, told):
    assert main(["watch", str(finished), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_an_export_holds_no_policies(finished, tmp_path, capsys):
    (trial,) = (path.name for path in (finished / "trials").iterdir())
    assert main(["export", str(finished), "--out", str(tmp_path / "table")]) == 0
    assert main(["watch", str(tmp_path / "table"), trial[:12]]) == 2
    assert "holds no policy that can be loaded (it is done)" in capsys.readouterr().err
