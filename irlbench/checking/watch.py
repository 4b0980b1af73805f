"""Notices what a learner does behind the problem's back, while it learns.

Functions are changed in place, so whoever has imported one before is met too. What is noticed is
reported, not refused: the run goes on, and the report names the line that did it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Literal

import gymnasium
from gymnasium.envs import registration
from gymnasium.vector import VectorEnv

import irlbench
from irlbench.problem import OpenProblem
from irlbench.task import Evaluator, Task

Channel = Literal["environment", "task", "file", "resource"]
_CORE = str(Path(irlbench.__file__).parent)
#: In the core's folder, but not the core's.
_OTHERS = tuple(str(Path(_CORE, name)) + os.sep for name in ("baselines", "envs"))
#: Who may stand between a learner's line and what it calls.
_BETWEEN = (
    _CORE + os.sep,
    str(Path(os.__file__).parent) + os.sep,
    "<frozen ",
)
_INSTALLED = f"{os.sep}site-packages{os.sep}"
_READERS = tuple(f"{_INSTALLED}{name}{os.sep}" for name in ("gymnasium", "h5py", "safetensors"))
#: Of a task, learners may ask for these: they say nothing of rewards.
_HARMLESS = frozenset({"spaces", "refuse"})
#: Wrappers and bases: making one makes no environment.
_BASES = ("gymnasium.core", "gymnasium.vector.", "gymnasium.wrappers.", "irlbench.problem")


@dataclass(frozen=True)
class Report:
    """One thing that was noticed.

    Attributes:
        channel: Which kind.
        what: In words.
        where: File, line and function of whoever did it.
    """

    channel: Channel
    what: str
    where: str


class Watch:
    """Notices, between `begin` and `end` of a `watching` block, what is not inside a supply.

    Args:
        hidden: Files and folders that the learner may not open.
        environment: Classes of the true environment; making one is noticed.
    """

    def __init__(self, hidden: Iterable[Path], environment: Iterable[type]) -> None:
        self.reports: dict[Report, None] = {}
        self._hidden = tuple(os.path.realpath(path) for path in hidden)
        self._modules = {
            cls.__module__ for cls in environment if not cls.__module__.startswith(_BASES)
        }
        self._inside = threading.local()
        self._on = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notices what happens in this block. Only once in a process."""
        self._watch_environments()
        self._watch_tasks()
        self._watch_files()
        self._on = True
        try:
            yield
        finally:
            self._on = False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A block in which the problem supplies a resource: what that takes is not noticed."""
        before = getattr(self._inside, "yes", False)
        self._inside.yes = True
        try:
            yield
        finally:
            self._inside.yes = before

    def report(self, channel: Channel, what: str) -> None:
        """Keeps a report, unless the problem is supplying something."""
        if self._on and not getattr(self._inside, "yes", False):
            self.reports[Report(channel, what, _caller())] = None

    def _watch_environments(self) -> None:
        for function in (registration.make, registration.make_vec):
            name = f"gymnasium.{function.__name__}"
            _watch_function(function, partial(self._made, name))
        registered = {
            str(entry)
            for spec in registration.registry.values()
            for entry in (spec.entry_point, spec.vector_entry_point)
        }

        def new(cls: type[Any], *_: Any, **__: Any) -> Any:
            place = f"{cls.__module__}:{cls.__qualname__}"
            known = cls.__module__.startswith("gymnasium.envs.") or place in registered
            if known or cls.__module__ in self._modules:
                self.report("environment", f"makes a {cls.__name__}")
            return object.__new__(cls)

        for base in (gymnasium.Env, VectorEnv):
            base.__new__ = staticmethod(new)  # type: ignore[method-assign]

    def _watch_tasks(self) -> None:
        for cls in _with_subclasses(Task):
            for name, function in list(vars(cls).items()):
                own = isinstance(function, FunctionType) and not name.startswith("__")
                if own and name not in _HARMLESS:
                    self._watch_method(cls, name, f"calls {name} of the task")
        for cls in _with_subclasses(Evaluator):
            for name in vars(cls).keys() & {"evaluate", "reference"}:
                self._watch_method(cls, name, f"calls {name} of the task's evaluator")
        self._watch_method(OpenProblem, "make_environment", "takes the expert's environment")

    def _made(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.report("environment", f"calls {name}({_first(arguments, named)})")

    def _watch_method(self, cls: type[Any], name: str, what: str) -> None:
        original = vars(cls)[name]

        def watched(*arguments: Any, **named: Any) -> Any:
            self.report("task", what)
            return original(*arguments, **named)

        setattr(cls, name, watched)

    def _watch_files(self) -> None:
        def hear(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and self._on:
                self._opened(arguments[0])

        sys.addaudithook(hear)
        # These open files without Python's knowing.
        from safetensors import numpy as reader

        _watch_function(reader.load_file, lambda arguments, _: self._opened(*arguments[:1]))
        h5py = sys.modules.get("h5py")
        if h5py is not None:
            original = h5py.File.__init__

            def opened(file: Any, name: Any = None, *arguments: Any, **named: Any) -> None:
                self._opened(name)
                original(file, name, *arguments, **named)

            h5py.File.__init__ = opened

    def _opened(self, name: Any = None) -> None:
        if not isinstance(name, str | bytes | os.PathLike):
            return
        path = os.path.realpath(os.fsdecode(name))
        for hidden in self._hidden:
            if path == hidden or path.startswith(hidden + os.sep):
                self.report("file", f"opens {Path(path).parent.name}/{Path(path).name}")
                return


def _with_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    yield base
    for cls in base.__subclasses__():
        yield from _with_subclasses(cls)


def _first(arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
    given = arguments[0] if arguments else named.get("id")
    return repr(given) if isinstance(given, str) else repr(getattr(given, "id", type(given)))


def _watch_function(
    function: Callable[..., Any], before: Callable[[tuple[Any, ...], dict[str, Any]], Any]
) -> None:
    """Has a module's function call another first, under every name that it was imported by."""
    assert isinstance(function, FunctionType) and function.__closure__ is None
    original = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__
    )
    original.__kwdefaults__ = function.__kwdefaults__

    def relay(*arguments: Any, **named: Any) -> Any:
        before(arguments, named)
        return original(*arguments, **named)

    name = f"_irlbench_watched_{function.__name__}"
    function.__globals__[name] = relay
    function.__code__ = _relayed.__code__.replace(co_names=(name,))
    function.__defaults__ = None
    function.__kwdefaults__ = {}


def _relayed(*arguments: Any, **named: Any) -> Any:
    """Put in place of a function's own code, in whose module another name stands for this one."""
    return _RELAY(*arguments, **named)


def _RELAY(*_: Any, **__: Any) -> Any:  # noqa: N802 - a name to be replaced
    raise NotImplementedError


def _caller() -> str:
    """File, line and function of the learner, or of whoever is nearest to it."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and _between(frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or sys._getframe(2)
    code = frame.f_code
    return f"{Path(code.co_filename).name}, line {frame.f_lineno}, in {code.co_name}"


def _between(file: str) -> bool:
    """Whether a file is the core's, Python's own, or of a package that only reads files."""
    if _INSTALLED in file and not file.startswith(_CORE):
        return any(reader in file for reader in _READERS)
    return file.startswith(_BETWEEN) and not file.startswith(_OTHERS)
