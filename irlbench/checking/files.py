"""Copies of what a learner must not read, with other contents."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import irlbench

#: Every digit for another, and none but 0 for 0, so that JSON stays JSON.
_OTHER_DIGITS = bytes.maketrans(b"12345678", b"21436587")


def copy_package(folder: Path) -> None:
    """Copies this package, the worlds and algorithms in it, so that its files can be altered.

    Args:
        folder: Where the folder `irlbench` is made.
    """
    shutil.copytree(Path(irlbench.__file__).parent, folder / "irlbench")


def copy_home(home: Path, hidden: Iterable[Path], folder: Path) -> Path:
    """Copies the hidden part of the cache folder.

    Args:
        home: The cache folder.
        hidden: Files and folders; those elsewhere are left out.
        folder: Where the copy is made.

    Returns:
        The copy.
    """
    copy = folder / "home"
    copy.mkdir()
    for path in hidden:
        if path.is_relative_to(home) and path.exists():
            shutil.copytree(path, copy / path.relative_to(home))
    return copy


def alter(hidden: Iterable[Path], within: Path) -> int:
    """Gives hidden files other contents: of the same form where the form is known.

    Args:
        hidden: Files and folders.
        within: The folder of copies; nothing outside is touched.

    Returns:
        How many files there were.
    """
    count = 0
    for place in hidden:
        if not place.resolve().is_relative_to(within.resolve()):
            continue
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                path.chmod(0o600)  # an installed package may be read-only
                _alter_file(path)
                count += 1
    return count


def _alter_file(path: Path) -> None:
    if path.suffix == ".hdf5":
        _alter_hdf5(path)
        return
    content = bytearray(path.read_bytes())
    if path.suffix == ".safetensors":
        # Its header stays. Of 32-bit floats this is the sign.
        start = 8 + int.from_bytes(content[:8], "little")
        content[start + 3 :: 4] = bytes(byte ^ 0x80 for byte in content[start + 3 :: 4])
        path.write_bytes(content)
    else:
        path.write_bytes(content.translate(_OTHER_DIGITS))


def _alter_hdf5(path: Path) -> None:
    import h5py

    def alter_array(name: str, found: object) -> None:
        if isinstance(found, h5py.Dataset) and found.shape and found.dtype.kind in "fiu":
            values = found[...]
            found[...] = 1 - values if found.dtype.kind == "f" else values[::-1]

    with h5py.File(path, "r+") as file:
        file.visititems(alter_array)
