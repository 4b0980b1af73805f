"""What a result was made with: package versions, the commit, the kind of hardware."""

from __future__ import annotations

import errno
import os
import platform
import re
import subprocess
import traceback
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import irlbench

PACKAGES = (
    "gymnasium",
    "imitation",
    "minari",
    "mujoco",
    "numpy",
    "safetensors",
    "scipy",
    "stable-baselines3",
    "tokenizers",
    "torch",
    "transformers",
)
_ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:[^\s/'\":,()]+/)+")


@cache
def versions() -> dict[str, str]:
    """Package name to installed version, for the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def code() -> dict[str, str | bool | None]:
    """irlbench's version, and commit and dirty flag where it runs from a checkout."""
    root = Path(irlbench.__file__).resolve().parent.parent
    commit: str | None = None
    dirty: bool | None = None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain")
        dirty = None if status is None else bool(status)
    return {"version": irlbench.__version__, "commit": commit or None, "dirty": dirty}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def processor() -> str:
    """The kind of processor, as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({platform.machine()})"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def told(*packages: str) -> str:
    """What runs here, in a line: irlbench and its commit, versions, the processor.

    Args:
        packages: Of `PACKAGES`; those that are not installed are left out.
    """
    found, known = code(), versions()
    commit = f" at {str(found['commit'])[:12]}" if found["commit"] else ""
    dirty = " with local changes" if found["dirty"] else ""
    shown = [f"{name} {known[name]}" for name in ("python", *packages) if name in known]
    return ", ".join([f"irlbench {found['version']}{commit}{dirty}", *shown, processor()])


#: Of a longer message, so many letters are kept; of a deeper traceback, so many frames at each end.
_MESSAGE, _FRAMES = 10_000, 50


def describe_error(error: BaseException) -> dict[str, str]:
    """An exception as a record keeps it: type, message, traceback, without absolute paths."""
    lines = ["Traceback (most recent call last):"]
    frames = traceback.extract_tb(error.__traceback__)
    for place, frame in enumerate(frames):
        if _FRAMES <= place < len(frames) - _FRAMES:
            lines += ["  ..."] if place == _FRAMES else []
            continue
        lines.append(f'  File "{_relative(frame.filename)}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line[:_MESSAGE]}")
    name, message = type(error).__name__, _message(error)
    told = "\n".join([*lines, f"{name}: {message}"])
    return {"type": name, "message": message, "traceback": _as_text(told)}


def _message(error: BaseException) -> str:
    """What an error says of itself, as far as it can and within bounds."""
    try:
        told = str(error)
    except Exception as another:
        return f"(it cannot say what is wrong: {type(another).__name__})"
    cut = len(told) > _MESSAGE
    return without_paths(told[:_MESSAGE]) + (f" [... {len(told):,} letters]" if cut else "")


#: The disk is full, the quota used up, the file system read-only.
_STORAGE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def storage_fault(error: BaseException) -> str | None:
    """What the disk refused, where that is why something failed: no fault of the algorithm.

    Args:
        error: An exception; what it came from is looked at too.
    """
    at: BaseException | None = error
    seen: list[BaseException] = []
    while at is not None and all(at is not one for one in seen):  # it may come from itself
        if isinstance(at, OSError) and at.errno in _STORAGE_FAULTS:
            return os.strerror(at.errno)
        seen.append(at)
        at = at.__cause__ or at.__context__
    return None


def without_paths(text: str) -> str:
    """Cuts absolute paths down to their last part, and replaces what is no valid text."""
    return _as_text(_ABSOLUTE.sub("", text))


def _as_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _relative(filename: str) -> str:
    parts = Path(filename).parts
    for anchor in ("site-packages", "irlbench"):
        if anchor in parts:
            start = len(parts) - 1 - parts[::-1].index(anchor)
            return "/".join(parts[start + (anchor == "site-packages") :])
    for index, part in enumerate(parts[:-1]):
        if part.startswith("python3"):
            return "/".join(parts[index + 1 :])
    for anchor in ("envs", "baselines"):
        if anchor in parts:
            return "/".join(["irlbench", *parts[parts.index(anchor) :]])
    return Path(filename).name
