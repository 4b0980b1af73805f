"""What all tests share: one thread, no network, a cache folder of their own, and no silent skips.

In CI (environment variable ``CI=true``) a skipped test fails the run unless its reason matches a
line of ``allowed_skips.txt``, so that a test that has quietly stopped running is noticed.
"""

from __future__ import annotations

import fnmatch
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Who starts tests in the background hands on that Ctrl-C and a closed terminal are ignored, and a run
# respects that. The tests that send them, and the drivers that those start, must not depend on it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

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


@pytest.fixture(scope="session")
def damaged() -> Callable[[Any, bytes], bytes]:
    """Draws, with hypothesis's `data`, bytes that were a file: cut, flipped, spliced, repeated."""
    from hypothesis import strategies as st

    ugly = st.sampled_from(
        [
            b"\0" * 8,
            b"\xff" * 8,
            b"\x7f" + b"\xff" * 7,
            (2**40).to_bytes(8, "little"),
            b"\0",
            b"\x80",
        ]
    )
    changes = st.tuples(
        st.sampled_from(["flip", "put", "insert", "cut", "drop", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.one_of(ugly, st.binary(min_size=1, max_size=12)),
    )

    def draw(data: Any, raw: bytes) -> bytes:
        found = bytearray(raw)
        for kind, share, span, junk in data.draw(st.lists(changes, min_size=1, max_size=6)):
            at = int(share * len(found))
            if kind == "flip" and found:
                found[at] ^= 1 << span % 8
            elif kind == "put":
                found[at : at + len(junk)] = junk
            elif kind == "insert":
                found[at:at] = junk
            elif kind == "cut":
                del found[at:]
            elif kind == "drop":
                del found[at : at + span]
            elif kind == "repeat":
                found[at:at] = found[at : at + span] * 2
        return bytes(found)

    return draw


@pytest.fixture(scope="session")
def fuzz() -> Callable[[int, Callable[[Any], None]], None]:
    """Runs a check of hypothesis's `data` so many times.

    Few cases, and those of a build that decides whether a change is taken (CI is set there), are
    the same in every run: what fails then was changed. Elsewhere thousands are new each time.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    def run(cases: int, check: Callable[[Any], None]) -> None:
        settled = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=cases < 100 or "CI" in os.environ,
            suppress_health_check=list(HealthCheck),
        )
        settled(given(st.data())(check))()

    return run


#: Values of JSON that readers trip over.
UGLY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2, 2**63, -(2**63), 10**400, 1e308, -1e308, 5e-324, -0.0, 0.5),
    *("", "x", "x" * 5000, "1", "NaN", "done", "\0", "\ud800", "\x1b[2J", "../../x", "/etc/passwd"),
    *([], {}, [[]], [{}], [1, "a"], [0.5, None], {"": 1}, {"a": {"a": {"a": []}}}, [0.5] * 300),
    *(float("nan"), float("inf")),
)


@pytest.fixture(scope="session")
def altered() -> Callable[[Any, Any], Any]:
    """Draws, with hypothesis's `data`, JSON that was another: values, names and order changed."""
    import copy

    from hypothesis import strategies as st

    def places(value: Any) -> Iterator[tuple[Any, Any]]:
        """Every (container, key) within a value."""
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            if isinstance(item, dict | list):
                yield from places(item)

    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    def draw(data: Any, whole: Any) -> Any:
        value = copy.deepcopy(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            found = list(places(value))
            if not found:
                break
            holder, key = data.draw(st.sampled_from(found))
            kind = data.draw(st.sampled_from(["put", "put", "put", "drop", "move", "name", "deep"]))
            if kind == "put":
                holder[key] = copy.deepcopy(data.draw(st.sampled_from(UGLY)))
            elif kind == "drop":
                del holder[key]
            elif kind == "move":
                other, place = data.draw(st.sampled_from(found))
                holder[key] = copy.deepcopy(other[place])
            elif kind == "name" and isinstance(holder, dict):
                name = data.draw(st.sampled_from([u for u in UGLY if isinstance(u, str)]))
                holder[name] = holder.pop(key)
            elif kind == "deep":
                holder[key] = nested(data.draw(st.sampled_from([20, 70, 500])))
        return value

    return draw


@pytest.fixture(scope="session")
def random_dynamics() -> Callable[..., Any]:
    """Makes finite dynamics with up to K random successors, some places unused, from a seed."""
    import numpy as np

    from irlbench.tabular.dynamics import TabularDynamics

    def make(
        seed: int = 0,
        states: int = 5,
        actions: int = 3,
        width: int = 2,
        *,
        horizon: int = 4,
        discount: float = 0.9,
        ends: int = 0,
    ) -> TabularDynamics:
        rng = np.random.default_rng(seed)
        shape = (states, actions, width)
        weights = rng.dirichlet(np.ones(width), size=shape[:2])
        weights[rng.random(shape[:2]) < 0.2] = np.eye(width)[0]
        return TabularDynamics(
            successors=rng.integers(states, size=shape).astype(np.int32),
            probabilities=weights,
            initial=rng.dirichlet(np.ones(states)),
            terminal=np.arange(states) >= states - ends,
            horizon=horizon,
            discount=discount,
        )

    return make


@pytest.fixture(scope="session")
def seven_by_seven() -> tuple[Any, Any]:
    """The 7 x 7 grid of the known answers: its dynamics, and its reward of states `[49]`.

    Four moves, clamped at the walls; with probability 0.9 the chosen one, else one of the four at
    random. The last corner pays 1 and the centre -1. Nothing ends an episode; the start is uniform.
    """
    import numpy as np

    from irlbench.tabular.dynamics import TabularDynamics

    cells = np.pad(np.arange(49).reshape(7, 7), 1, mode="edge")
    moves = np.stack(
        [cells[:-2, 1:-1], cells[1:-1, 2:], cells[2:, 1:-1], cells[1:-1, :-2]], axis=-1
    ).reshape(49, 4)
    # Place 0 is the chosen move, the other four are any of the four.
    successors = np.concatenate([moves[:, :, None], moves[:, None].repeat(4, axis=1)], axis=2)
    dynamics = TabularDynamics(
        successors=successors.astype(np.int32),
        probabilities=np.broadcast_to([0.9] + [0.025] * 4, successors.shape),
        initial=np.full(49, 1 / 49),
        terminal=np.zeros(49, dtype=bool),
        horizon=100,
        discount=0.95,
    )
    rewards = np.zeros(49)
    rewards[48], rewards[24] = 1.0, -1.0
    return dynamics, rewards


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
