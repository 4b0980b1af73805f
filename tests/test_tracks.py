"""What an algorithm may take in which track, and what a refused pair is told."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from irlbench.algorithm import Algorithm
from irlbench.errors import UnsupportedPairError
from irlbench.registry import granted, registry, require_pair, tracks_on, why_not
from irlbench.running import plan

ROOMS, LOCK = "gridworld/four-rooms-v0", "gridworld/combination-lock-v0"
KNOWN, SAMPLED = "demonstrations+dynamics", "demonstrations+interaction"


def refused(algorithm: str, task: str, track: str | None = None) -> str:
    with pytest.raises(UnsupportedPairError) as caught:
        require_pair(registry().algorithm(algorithm), registry().task(task), track)
    return str(caught.value)


def test_a_track_gives_what_it_is_named_after() -> None:
    gail = registry().algorithm("gail")
    assert gail.needs_for("gridworld", KNOWN) == {"demonstrations", "dynamics"}
    assert gail.needs_for("gridworld", SAMPLED) == {"demonstrations", "interaction"}


def test_what_is_optional_is_granted_where_it_is_supplied() -> None:
    gail = registry().algorithm("gail")
    assert "features" in granted(gail, registry().task(ROOMS), KNOWN)
    assert "features" not in granted(gail, registry().task(LOCK), SAMPLED)


def test_a_hidden_state_leaves_the_tracks_without_dynamics() -> None:
    assert tracks_on(registry().algorithm("gail"), registry().task(ROOMS)) == (SAMPLED, KNOWN)
    assert tracks_on(registry().algorithm("gail"), registry().task(LOCK)) == (SAMPLED,)
    assert tracks_on(registry().algorithm("mce-irl"), registry().task(LOCK)) == ()


def test_a_refused_pair_is_told_what_is_missing_and_who_would_do() -> None:
    told = refused("mce-irl", LOCK)
    assert "mce-irl needs dynamics, features, which" in told
    takes = told.split("combination-lock-v0 takes ")[1].split(";")[0].split(", ")
    assert {"airl", "bc", "bt-reward", "dpo", "gail", "ipl", "iq-learn", "sqil"} <= set(takes)
    assert "mce-irl" not in takes
    assert "expert" not in takes


def test_a_refused_track_is_told_which_would_do() -> None:
    told = refused("dpo", ROOMS, "demonstrations")
    assert "dpo is in preferences, not in track demonstrations" in told
    assert "dpo runs there in preferences" in told
    takes = told.split("four-rooms-v0 takes ")[1].split(";")[0].split(", ")
    assert {"bc", "iq-learn"} <= set(takes)
    assert not {"dpo", "gail"} & set(takes)
    told = refused("airl", LOCK, KNOWN)
    assert "airl needs dynamics" in told
    assert f"airl runs there in {SAMPLED}" in told


def test_what_is_optional_must_be_what_the_track_gives() -> None:
    class Greedy(Algorithm):
        id: ClassVar[str] = "tests/greedy"
        optional: ClassVar[frozenset[str]] = frozenset({"dynamics"})
        Config: ClassVar[type[Any]] = object

        def fit(self, problem: Any, budget: Any, run: Any) -> Any:
            raise NotImplementedError

    reason = why_not(Greedy, registry().task(ROOMS))
    assert reason is not None
    assert "takes dynamics, which track 'demonstrations' does not give" in reason


def test_a_suite_may_list_tracks_and_numbers() -> None:
    cells = plan.cells(plan.Choices(targets=("gridworld",), algorithms=("iq-learn",)))
    rooms = [c for c in cells if c.task.id == ROOMS]
    assert {(c.track, c.demonstrations) for c in rooms} == {
        ("demonstrations", None),
        (KNOWN, None),
        (SAMPLED, None),
        ("demonstrations", (1, 3, 10, 30, 100)),
        (KNOWN, (1, 3, 10, 30, 100)),
    }
    assert {c.track for c in cells if c.task.id == LOCK} == {"demonstrations", SAMPLED}


def test_a_track_that_is_asked_for_is_the_only_one_but_for_references() -> None:
    cells = plan.cells(plan.Choices(targets=("gridworld",), track="preferences"))
    assert {c.track for c in cells} == {"preferences", "reference"}
    assert {c.algorithm.id for c in cells if c.track == "preferences"} == {"dpo", "ipl"}
