"""Imported demonstrations: checked before anything learns, errors that name the place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from irlbench.data.importing import import_set
from irlbench.data.minari_store import read_dataset, read_rewards
from irlbench.data.named import list_sets, named
from irlbench.errors import DataError, UnknownNameError, UsageError

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "mujoco-demos" / "Hopper-v4.npz"


class ToyTask:
    """What importing asks of a task: robot-like observations and actions."""

    def __init__(self, task_id="control/toy-v0", actions=None, horizon=10):
        self.id = task_id
        self.info = SimpleNamespace(horizon=horizon)
        self._actions = actions or spaces.Box(-1, 1, (2,), np.float32)

    def spaces(self):
        return spaces.Box(-np.inf, np.inf, (3,), np.float64), self._actions


DISCRETE = ToyTask("control/discrete-v0", spaces.Discrete(2))


def episode(i, steps=4, seed=0):
    rng = np.random.default_rng([seed, i])
    return {
        f"observations_{i}": rng.normal(size=(steps + 1, 3)).astype(np.float32),
        f"actions_{i}": rng.uniform(-1, 1, size=(steps, 2)).astype(np.float32),
        f"rewards_{i}": np.full(steps, i + 1.0, dtype=np.float32),
        f"terminations_{i}": np.arange(steps) == steps - 1,
        f"truncations_{i}": np.zeros(steps, dtype=bool),
    }


@pytest.fixture
def archive(tmp_path):
    """Writes an archive of two good episodes, with changes to some fields."""

    def write(changes=None, without=(), **extra):
        fields = {**episode(0), **episode(1)}
        for name, change in (changes or {}).items():
            fields[name] = change(np.array(fields[name]))
        for name in without:
            del fields[name]
        np.savez(tmp_path / "demos.npz", **fields, **extra)
        return tmp_path / "demos.npz"

    return write


def put(row, value):
    def change(array):
        array[row] = value
        return array

    return change


def _import(path, tmp_path, task=None, **options):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return import_set(path, task or ToyTask(), home=home, **{"name": "mine", **options})


def test_good_episodes_are_stored(archive, tmp_path):
    summary = _import(archive(), tmp_path)
    entry = named("control/toy-v0", "mine", tmp_path / "home")
    folder, found = entry.folder, entry.summary
    assert found == summary
    assert folder == tmp_path / "home" / "data" / "control" / "toy-v0" / "mine"
    demonstrations = read_dataset(folder)
    for i, stored in enumerate(demonstrations):
        given = episode(i)
        np.testing.assert_array_equal(stored.observations, given[f"observations_{i}"])
        np.testing.assert_array_equal(stored.actions, given[f"actions_{i}"])
        np.testing.assert_array_equal(stored.terminations, given[f"terminations_{i}"])
        np.testing.assert_array_equal(stored.truncations, given[f"truncations_{i}"])
        assert stored.observations.dtype == np.float64
        assert stored.actions is not None and stored.actions.dtype == np.float32
    # Four steps of reward 1, and of reward 2: returns 4 and 8.
    assert summary.demonstrator["return"] == 6
    assert summary.demonstrator["return_error"] == pytest.approx(2)
    assert [list(r) for r in read_rewards(folder)] == [[1.0] * 4, [2.0] * 4]
    assert "clipped" not in summary.recipe
    assert summary.recipe["source"]["file"] == "demos.npz"


NAN, INF = float("nan"), float("inf")
BAD: dict[str, tuple[dict, str]] = {
    "missing column": (
        {"without": ["rewards_1"]},
        "demos.npz, field 'rewards_1': is missing",
    ),
    "missing first episode": (
        {"without": list(episode(0))},
        "demos.npz, field 'observations_0': is missing",
    ),
    "no episodes": (
        {"without": [*episode(0), *episode(1)], "x": np.zeros(3)},
        "demos.npz: holds no episodes; expected fields observations_0",
    ),
    "an episode far away": (
        {"actions_4000000000": np.zeros((4, 2))},
        "field 'observations_2': is missing",
    ),
    "wrong observation shape": (
        {"changes": {"observations_0": lambda a: a[:, :2]}},
        "demos.npz, field 'observations_0': has shape (5, 2), expected (5, 3)",
    ),
    "one observation short": (
        {"changes": {"observations_1": lambda a: a[:-1]}},
        "field 'observations_1', row 4: has shape (4, 3), expected (5, 3) (for 4 steps and",
    ),
    "wrong action shape": (
        {"changes": {"actions_0": lambda a: a[:, 0]}},
        "field 'actions_0': has shape (4,), expected (4, 2)",
    ),
    "unequal lengths": (
        {"changes": {"rewards_0": lambda a: a[:3]}},
        "field 'rewards_0', row 3: has shape (3,), expected (4,)",
    ),
    "NaN observation": (
        {"changes": {"observations_1": put((2, 1), NAN)}},
        "demos.npz, field 'observations_1', row 2: holds nan (1 in all)",
    ),
    "infinite action": (
        {"changes": {"actions_0": put((3, 0), INF)}},
        "field 'actions_0', row 3: holds inf (1 in all)",
    ),
    "NaN reward": (
        {"changes": {"rewards_0": put(slice(1, 3), NAN)}},
        "field 'rewards_0', row 1: holds nan (2 in all)",
    ),
    "action out of range": (
        {"changes": {"actions_1": lambda a: put((1, 0), 1.5)(put((3, 1), -7.25)(a))}},
        "field 'actions_1', row 1: 2 of 16 action components lie outside [-1, 1]; the farthest is "
        "-7.25 in row 3 of 'actions_1': --clip-actions clips them",
    ),
    "ends in the middle": (
        {"changes": {"truncations_0": put(1, True)}},
        "field 'truncations_0', row 1: the episode ends here, but has 4 steps",
    ),
    "a flag that is none": (
        {"changes": {"terminations_0": lambda a: put(2, 3)(a.astype(int))}},
        "field 'terminations_0', row 2: 3 is neither true nor false",
    ),
    "no steps": (
        {"changes": {"actions_0": lambda a: a[:0]}},
        "field 'actions_0': holds no steps",
    ),
    "objects": (
        {"changes": {"rewards_0": lambda a: a.astype(object)}},
        "field 'rewards_0': holds Python objects",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_episodes_are_refused_with_their_place(archive, tmp_path, case):
    how, message = BAD[case]
    with pytest.raises(DataError) as caught:
        _import(archive(**how), tmp_path)
    assert message in str(caught.value)
    assert not (tmp_path / "home" / "data").exists()


def test_an_episode_beyond_the_horizon_is_refused(archive, tmp_path):
    with pytest.raises(DataError, match=r"field 'actions_0', row 3: has 4 steps.*end after 3"):
        _import(archive(), tmp_path, ToyTask(horizon=3))


def test_actions_of_another_task_are_told_by_their_shape_before_their_number(archive, tmp_path):
    with pytest.raises(DataError, match=r"field 'actions_0': has shape \(4,\), expected \(4, 2\)"):
        _import(archive({"actions_0": lambda a: a[:, 0]}), tmp_path, ToyTask(horizon=3))


class BoundedTask(ToyTask):
    def spaces(self):
        low = np.array([-1, -1, -np.inf], dtype=np.float32)
        return spaces.Box(low, -low, (3,), np.float32), self._actions


def test_observations_out_of_bounds_are_refused(archive, tmp_path):
    inside = {f"observations_{i}": lambda a: a.clip(-1, 1) for i in range(2)}
    _import(archive(inside), tmp_path, BoundedTask())
    outside = {**inside, "observations_1": lambda a: put((3, 1), 1.5)(a.clip(-1, 1))}
    with pytest.raises(DataError) as caught:
        _import(archive(outside), tmp_path, BoundedTask(), name="other")
    assert (
        "demos.npz, field 'observations_1', row 3: 1 of 15 components lie outside the bounds of "
        "this task's observations; the first is 1.5 in place [1], where [-1, 1] is possible"
    ) in str(caught.value)


def test_a_bound_that_was_rounded_is_no_bound_that_was_crossed(archive, tmp_path):
    class Rounded(ToyTask):
        def spaces(self):
            return spaces.Box(-np.float32(0.1), np.float32(0.1), (3,), np.float32), self._actions

    # 0.1 as a 64-bit number is smaller than as a 32-bit one, and minus 0.1 the other way round.
    fields = {f"observations_{i}": lambda a: np.full(a.shape, 0.1) for i in range(2)}
    assert _import(archive(fields), tmp_path, Rounded()).episodes == 2
    fields = {f"observations_{i}": lambda a: np.full(a.shape, 0.1000001) for i in range(2)}
    with pytest.raises(DataError, match="outside the bounds"):
        _import(archive(fields), tmp_path, Rounded(), name="other")


def test_fields_that_are_no_part_of_an_episode_are_named(archive, tmp_path):
    summary = _import(archive(infos_0=np.zeros(3), notes=np.array(["text"])), tmp_path)
    assert summary.recipe["ignored"] == {"fields": 2, "first": ["infos_0", "notes"]}
    many = {f"infos_{i}": np.zeros(1) for i in range(9)}
    summary = _import(archive(**many), tmp_path, name="other")
    assert summary.recipe["ignored"]["fields"] == 9
    assert len(summary.recipe["ignored"]["first"]) == 5


@pytest.mark.parametrize("value", [1e308, -1e308, 1e200])
def test_rewards_that_cannot_be_averaged(archive, tmp_path, value):
    changes = {"rewards_0": lambda a: np.full(a.shape, value)}
    with pytest.raises(DataError, match="too large to be averaged"):
        _import(archive(changes), tmp_path)
    wide = {"rewards_0": lambda a: np.full(a.shape, np.longdouble("1e4000"))}
    with pytest.raises(DataError, match="field 'rewards_0', row 0: holds inf"):
        _import(archive(wide), tmp_path)


def test_clipping_is_counted(archive, tmp_path):
    path = archive({"actions_0": put((1, 1), 2.0), "actions_1": put((2, 0), -4.0)})
    summary = _import(path, tmp_path, clip_actions=True)
    assert summary.recipe["clipped"] == {"components": 2, "fraction": 2 / 16, "worst": -4.0}
    stored = read_dataset(named("control/toy-v0", "mine", tmp_path / "home").folder)
    assert stored[0].actions is not None and stored[1].actions is not None
    assert stored[0].actions[1, 1] == 1
    assert stored[1].actions[2, 0] == -1


def _discrete(tmp_path, actions):
    fields = episode(0)
    np.savez(tmp_path / "d.npz", **{**fields, "actions_0": actions})
    return tmp_path / "d.npz"


def test_discrete_actions(tmp_path):
    summary = _import(
        _discrete(tmp_path, np.array([0, 1, 1, 0], dtype=np.int8)), tmp_path, DISCRETE
    )
    assert summary.steps == 4
    with pytest.raises(UsageError, match=r"--clip-actions: the actions .* are discrete"):
        _import(_discrete(tmp_path, np.zeros(4, int)), tmp_path, DISCRETE, clip_actions=True)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1, 2, -9]), "row 2: 2 of 4 values lie outside 0 to 1; the farthest is -9"),
        (np.zeros(4), "holds float64: discrete values are integers"),
        (np.zeros((4, 1), dtype=int), r"has shape \(4, 1\), expected \(4,\)"),
    ],
)
def test_bad_discrete_actions(tmp_path, actions, message):
    with pytest.raises(DataError, match=message):
        _import(_discrete(tmp_path, actions), tmp_path, DISCRETE)


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "expert", "x" * 65, "a b"])
def test_names_that_cannot_be_used(archive, tmp_path, name):
    with pytest.raises(UsageError, match="--name"):
        _import(archive(), tmp_path, name=name)


def test_a_task_without_imports_says_so(archive, tmp_path):
    task = ToyTask()
    task.spaces = lambda: None  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="control/toy-v0 takes no imported data"):
        _import(archive(), tmp_path, task)


def test_the_same_import_twice_is_one_and_another_is_refused(archive, tmp_path):
    first = _import(archive(), tmp_path)
    assert _import(archive(), tmp_path) == first
    with pytest.raises(DataError, match="already stored"):
        _import(archive({"rewards_0": lambda a: -a}), tmp_path)


def test_what_there_is_is_listed_and_found_by_name(archive, tmp_path):
    home = tmp_path / "home"
    assert list_sets(home) == []
    with pytest.raises(UsageError, match="no named data sets of control/toy-v0"):
        named("control/toy-v0", "mine", home)
    _import(archive(), tmp_path)
    _import(archive(), tmp_path, name="other")
    _import(archive(), tmp_path, ToyTask("control/second-v0"))
    listed = [(entry.task, entry.name, entry.kind) for entry in list_sets(home)]
    assert listed == [
        ("control/second-v0", "mine", "imported"),
        ("control/toy-v0", "mine", "imported"),
        ("control/toy-v0", "other", "imported"),
    ]
    with pytest.raises(UnknownNameError, match="'mien'; did you mean 'mine'"):
        named("control/toy-v0", "mien", home)


@pytest.mark.skipif(not RECORDED.exists(), reason="the shared data sets are not here")
def test_recorded_hopper_episodes(tmp_path):
    from irlbench.registry import registry

    hopper = registry().task("control/hopper")
    with pytest.raises(
        DataError, match=r"'actions_0', row 0: 2,623 of 6,000 .* -5.13232 in row 932 of"
    ):
        _import(RECORDED, tmp_path, hopper)
    with pytest.raises(DataError, match=r"'observations_0'.* expected"):
        _import(RECORDED.with_name("HalfCheetah-v4.npz"), tmp_path, hopper, clip_actions=True)
    summary = _import(RECORDED, tmp_path, hopper, clip_actions=True)
    assert (summary.episodes, summary.steps) == (2, 2000)
    assert summary.demonstrator["return"] == pytest.approx(3717.513, abs=1e-3)
    assert summary.recipe["clipped"]["fraction"] == pytest.approx(0.437, abs=1e-3)
