"""`irlbench doctor`: what is installed, what the machine offers, and what is wrong."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import typer

from irlbench.cli.options import Verbose
from irlbench.cli.output import complain, heading, say, table
from irlbench.errors import UsageError

#: imitation 1.0.1 and seals declare older gymnasium and stable-baselines3 than they run on, so
#: they are installed without their dependencies. Versions are those that were tested together.
IMITATION: Mapping[str, str] = {"imitation": "1.0.1", "seals": "0.2.1"}
#: What imitation imports beyond what irlbench needs anyway.
IMITATION_NEEDS: Mapping[str, str] = {
    "datasets": "5.2.0",
    "jsonpickle": "4.1.4",
    "scikit-learn": "1.9.1",
    "scipy": "1.17.1",
    "tensorboard": "2.21.0",
    "tqdm": "4.70.1",
}

#: Import names where they are not the package's name.
_MODULES = {"stable-baselines3": "stable_baselines3", "scikit-learn": "sklearn"}
_LEAST_PYTHON = (3, 11)
_LEAST_FREE_BYTES = 2**30


def doctor(verbose: Verbose = False) -> None:
    """Show versions, the machine and the cache folder, and what is wrong with them."""
    import irlbench

    say(f"irlbench {irlbench.__version__}")
    problems: list[str] = []
    for title, section in (
        ("packages", _packages),
        ("machine", _machine),
        ("cache folder", _cache_folder),
        ("registered", _registered),
    ):
        say()
        heading(title)
        table(section(problems))
    say()
    heading("imitation, a package of peers to compare with")
    for line in _imitation(problems):
        say(f"  {line}")
    say()
    if not problems:
        say("nothing is wrong")
        return
    for problem in problems:
        complain(problem)
    raise typer.Exit(1)


def imitation_commands() -> list[str]:
    """The commands that install imitation beside the versions it runs on."""
    needs = " ".join(f"{name}=={v}" for name, v in IMITATION_NEEDS.items())
    peers = " ".join(f"{name}=={v}" for name, v in IMITATION.items())
    return [
        f"python -m pip install {needs}",
        f"python -m pip install --no-deps {peers}",
    ]


def _packages(problems: list[str]) -> Iterator[list[str]]:
    from packaging.requirements import Requirement

    found = platform.python_version()
    if sys.version_info < _LEAST_PYTHON:
        problems.append(f"Python {found}: irlbench needs {'.'.join(map(str, _LEAST_PYTHON))}")
    yield ["python", found, ""]
    for line in requires("irlbench") or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, wanted = requirement.name, str(requirement.specifier)
        try:
            installed = version(name)
        except PackageNotFoundError:
            problems.append(f"{name} is not installed: python -m pip install '{name}{wanted}'")
            yield [name, "missing", ""]
            continue
        told = ""
        if not requirement.specifier.contains(installed, prereleases=True):
            told = f"irlbench needs {wanted}"
            problems.append(f"{name} {installed}: python -m pip install '{name}{wanted}'")
        elif (broken := _import_error(name)) is not None:
            told = "cannot be imported"
            problems.append(
                f"{name} {installed} cannot be imported ({broken}): "
                f"python -m pip install --force-reinstall --no-deps {name}=={installed}"
            )
        yield [name, installed, told]


def _import_error(package: str) -> str | None:
    try:
        importlib.import_module(_MODULES.get(package, package))
    except Exception as error:  # a broken extension raises anything
        return f"{type(error).__name__}: {error}"
    return None


def _machine(problems: list[str]) -> Iterator[list[str]]:
    from irlbench.running.asked import default_jobs
    from irlbench.running.provenance import processor

    yield ["system", f"{platform.system()} {platform.machine()}"]
    yield ["processor", processor()]
    jobs = default_jobs(1)
    yield ["cores", f"{jobs}; as many trials run at a time, one thread each, unless --jobs"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        yield ["memory", f"{memory / 2**30:.1f} GiB"]
    yield ["GPU", _gpu(problems)]


def _gpu(problems: list[str]) -> str:
    if _import_error("torch") is not None:
        return "unknown: torch cannot be imported"
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"{', '.join(names)} (CUDA {torch.version.cuda})"
    if Path("/dev/nvidiactl").exists():
        why = "it is built for the CPU" if torch.version.cuda is None else "the driver is too old?"
        return f"there is one that torch {torch.__version__} cannot use: {why}"
    return f"none that torch {torch.__version__} sees; everything runs on the CPU"


def _cache_folder(problems: list[str]) -> Iterator[list[str]]:
    from irlbench.home import home

    try:
        folder = home()
    except UsageError as error:
        problems.append(str(error))
        yield ["cannot be used", ""]
        return
    free = shutil.disk_usage(folder).free
    source = "IRLBENCH_HOME" if os.environ.get("IRLBENCH_HOME") else "change it by IRLBENCH_HOME"
    yield [str(folder), f"{free / 2**30:.1f} GiB free ({source})"]
    if free < _LEAST_FREE_BYTES:
        problems.append(
            f"the cache folder has {free / 2**20:.0f} MiB left: free some space, or set "
            "IRLBENCH_HOME to a folder on another disk"
        )


def _registered(problems: list[str]) -> Iterator[list[str]]:
    from irlbench.registry import Group, registry

    for group in get_args(Group):
        names = registry().names(group)
        for name in names:
            try:
                registry().get(group, name)
            except Exception as error:  # any package may have registered it
                problems.append(
                    f"{group[:-1]} {name!r} cannot be loaded ({type(error).__name__}: {error}): "
                    "install again the package that brings it"
                )
        yield [group, str(len(names)), ", ".join(names)]


def _imitation(problems: list[str]) -> Iterator[str]:
    if find_spec("imitation") is None:
        yield "not installed; these commands install it:"
        yield from (f"  {command}" for command in imitation_commands())
        return
    found = version("imitation")
    try:
        importlib.import_module("imitation.algorithms.bc")
    except Exception as error:  # it runs on packages newer than those it declares
        problems.append(
            f"imitation {found} cannot be imported ({type(error).__name__}: {error}): "
            f"{' && '.join(imitation_commands())}"
        )
    yield f"{found}, installed"
    absent = [name for name in IMITATION_NEEDS if find_spec(_MODULES.get(name, name)) is None]
    if absent:
        yield f"without {', '.join(absent)}, which some of its algorithms import; this installs them:"
        yield f"  {imitation_commands()[0]}"
