"""Finds tasks, algorithms, solvers and suites: by entry points, and in plug-in files.

Built-in ones are found as anybody's are. Listing reads names only; a thing is imported when it is
asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from irlbench.algorithm import Algorithm, Solver, resources_of
from irlbench.errors import UnknownNameError, UnsupportedPairError, UsageError
from irlbench.task import Task

Group = Literal["tasks", "algorithms", "solvers", "suites"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_VERSION = re.compile(r"^(?P<stem>.+)-v(?P<version>\d+)$")


class Registry:
    """Everything that is registered in this process."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        self._plugins: dict[Path, str] = {}
        self._origin: dict[tuple[str, str], str] = {}

    def _group(self, group: Group) -> dict[str, Any]:
        if group not in self._found:
            points = entry_points(group=f"irlbench.{group}")
            self._found[group] = {point.name: point for point in points}
        return self._found[group]

    def names(self, group: Group) -> list[str]:
        """Registered names, sorted. Imports nothing."""
        return sorted(self._group(group))

    def get(self, group: Group, name: str) -> Any:
        """What is registered under a name. A task's newest version is found without `-vN`.

        Raises:
            UnknownNameError: If there is none, with the nearest names.
        """
        found = self._group(group)
        if name not in found and group == "tasks":
            name = self._newest(name)
        if name not in found:
            raise UnknownNameError(group[:-1], name, found)
        if isinstance(found[name], EntryPoint):
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"{found[name].dist.name if found[name].dist else 'a package'} registers "
                    f"{group[:-1]} {name!r}: names are <name> or <package>/<name> of small "
                    "letters, digits, '-', '_' and '.'"
                )
            found[name] = found[name].load()
        return found[name]

    def _newest(self, stem: str) -> str:
        versions = [
            (int(match["version"]), name)
            for name in self._group("tasks")
            if (match := _VERSION.match(name)) and match["stem"] == stem
        ]
        return max(versions)[1] if versions else stem

    def task(self, name: str) -> Task:
        """A task by id, with or without its version."""
        task: Task = self.get("tasks", name)
        return task

    def algorithm(self, name: str) -> type[Algorithm]:
        """An algorithm's class by id."""
        algorithm: type[Algorithm] = self.get("algorithms", name)
        _require_version(algorithm)
        return algorithm

    def solver(self, name: str) -> type[Solver]:
        """A solver's class by id."""
        solver: type[Solver] = self.get("solvers", name)
        _require_version(solver)
        return solver

    def load_plugin(self, path: Path) -> str:
        """Runs a file of the user's and registers the algorithms, solvers and tasks it defines.

        Args:
            path: A Python file.

        Returns:
            The SHA-256 of the file.

        Raises:
            UsageError: If it cannot be read, raises, or defines nothing to register.
        """
        named, path = path, path.resolve()
        if path in self._plugins:
            return self._plugins[path]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"--plugin {named}: {error.strerror}") from error
        digest = hashlib.sha256(content).hexdigest()
        name = f"irlbench_plugin_{digest[:12]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"--plugin {named}: not a Python file (it should end in .py)")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UsageError(f"--plugin {named} raised {type(error).__name__}: {error}") from error
        found = list(_registrable(module))
        if not found:
            raise UsageError(f"--plugin {named} defines no Algorithm, Solver or Task with an id")
        for _, key, _ in found:
            if not _NAME.fullmatch(key) or "/" not in key:
                raise UsageError(
                    f"--plugin {named}: id {key!r} is not of the form <package>/<name> "
                    "(small letters, digits, '-', '_', '.')"
                )
        for group, key, _ in found:
            if key in self._group(group):
                origin = "another plug-in" if (group, key) in self._origin else "irlbench"
                raise UsageError(
                    f"--plugin {named}: {group[:-1]} {key!r} is {origin}'s already: choose another id"
                )
        for group, key, thing in found:
            self._group(group)[key] = thing
            self._origin[group, key] = digest
        self._plugins[path] = digest
        return digest

    def plugin_hash(self, group: Group, name: str) -> str | None:
        """SHA-256 of the plug-in file that a thing came from, or None."""
        return self._origin.get((group, name))

    @property
    def plugins(self) -> tuple[tuple[str, str], ...]:
        """The plug-in files that were loaded, each with its SHA-256."""
        return tuple((str(path), digest) for path, digest in self._plugins.items())


def _registrable(module: Any) -> Iterator[tuple[Group, str, Any]]:
    for value in vars(module).values():
        if isinstance(value, Task):
            yield "tasks", value.id, value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            if issubclass(value, Algorithm) and hasattr(value, "id"):
                yield "algorithms", value.id, value
            elif issubclass(value, Solver) and hasattr(value, "id"):
                yield "solvers", value.id, value


def _require_version(thing: type[Algorithm] | type[Solver]) -> None:
    """Records keep the version, and refuse any other kind of it."""
    if type(thing.version) is not int or not 0 <= thing.version < 2**63:
        raise UsageError(f"the version of {thing.id} must be a whole number, got {thing.version!r}")


@cache
def registry() -> Registry:
    """The registry of this process."""
    return Registry()


def why_not(algorithm: type[Algorithm], task: Task, track: str | None = None) -> str | None:
    """Why an algorithm cannot run on a task, or None where it can. Runs nothing.

    Args:
        algorithm: Any.
        task: Any.
        track: One of the algorithm's; None: whichever would do, and the reason is the first's.
    """
    if task.info.lacks is not None:
        return f"{task.id} is not ready: {task.info.lacks}"
    if task.world not in algorithm.worlds:
        return f"{algorithm.id} runs in {', '.join(algorithm.worlds)}, not in {task.world}"
    if task.info.actions not in algorithm.actions:
        return (
            f"{algorithm.id} handles {', '.join(algorithm.actions)} actions, "
            f"{task.id} has {task.info.actions} ones"
        )
    absent = [name for name in algorithm.requires if importlib.util.find_spec(name) is None]
    if absent:
        return (
            f"{algorithm.id} imports {', '.join(absent)}, not installed here"
            f"{algorithm.installation and ': '}{algorithm.installation}"
        )
    if track is None:
        reasons = [why_not(algorithm, task, each) for each in algorithm.tracks]
        return None if None in reasons else reasons[0]
    if track not in algorithm.tracks:
        return f"{algorithm.id} is in {', '.join(algorithm.tracks)}, not in track {track}"
    needs = algorithm.needs_for(task.world, track)
    beyond = (needs | algorithm.optional) - resources_of(track)
    if beyond:
        return (
            f"{algorithm.id} takes {', '.join(sorted(beyond))}, which track {track!r} does not "
            "give: declare the track that does"
        )
    missing = needs - task.info.supplies
    if missing:
        return f"{algorithm.id} needs {', '.join(sorted(missing))}, which {task.id} does not supply"
    return None


def tracks_on(algorithm: type[Algorithm], task: Task) -> tuple[str, ...]:
    """The tracks in which an algorithm can run on a task, its default there first."""
    return tuple(track for track in algorithm.tracks if why_not(algorithm, task, track) is None)


def granted(algorithm: type[Algorithm], task: Task, track: str) -> frozenset[str]:
    """The resources that an algorithm gets of a task: what it needs, and what else it can use."""
    return algorithm.needs_for(task.world, track) | (algorithm.optional & task.info.supplies)


def require_pair(algorithm: type[Algorithm], task: Task, track: str | None = None) -> None:
    """Refuses a pair that cannot run.

    Args:
        algorithm: Any.
        task: Any.
        track: The one that was asked for, or None.

    Raises:
        UnsupportedPairError: With the reason, and which algorithms would do.
    """
    reason = why_not(algorithm, task, track)
    if reason is None:
        return
    others = [registry().algorithm(name) for name in registry().names("algorithms")]
    would_do = [
        other.id
        for other in others
        if "reference" not in other.tracks
        and (track is None or track in other.tracks)
        and why_not(other, task, track) is None
    ]
    possible = ", ".join(tracks_on(algorithm, task))
    parts = [
        reason,
        f"{algorithm.id} runs there in {possible}" if possible else "",
        f"{task.id} takes {', '.join(would_do)}" if would_do else "",
        "`irlbench list matrix` shows what goes together",
    ]
    raise UnsupportedPairError("; ".join(part for part in parts if part))


def _no_suite(name: str) -> UnknownNameError:
    found = registry()
    return UnknownNameError("suite or task", name, [*found.names("suites"), *found.names("tasks")])


def require_known(name: str) -> Literal["suites", "tasks"]:
    """Whether a name is a suite's or a task's.

    Raises:
        UnknownNameError: If it is neither.
    """
    found = registry()
    if name in found.names("suites"):
        return "suites"
    try:
        found.task(name)
    except UnknownNameError:
        raise _no_suite(name) from None
    return "tasks"
