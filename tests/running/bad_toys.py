"""A plug-in file for the tests: trials that eat memory, hang, fork, or end without a word."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.algorithm import Run

sys.path.append(str(Path(__file__).parent))  # a plug-in file is in no package

from misbehaving import EVER, Bad, await_others, bad, forever, fork, other, plain  # type: ignore[import-not-found]

# --- memory


@bad
def eats_quickly(self: Bad, run: Run) -> None:
    """Takes 4 GB as fast as it can."""
    held = [np.ones(2**24) for _ in range(32)]
    time.sleep(EVER + len(held))


@bad
def eats_slowly(self: Bad, run: Run) -> None:
    """Takes 2 GB, a little at a time."""
    held = []
    for _ in range(80):
        held.append(np.ones(25 * 2**17))
        time.sleep(0.02)
    forever()


@bad
def eats_in_children(self: Bad, run: Run) -> None:
    """Forks children, each of which takes less than the trial may."""
    for _ in range(6):
        if os.fork() == 0:
            self.here_is("eater")
            held = np.ones(25 * 2**20)
            time.sleep(EVER + held[0])
    forever()


@bad
def eats_in_a_daemon(self: Bad, run: Run) -> None:
    """Has a child of a child, in a session of its own, take too much."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            self.here_is("eater")
            held = np.ones(2**27)
            time.sleep(EVER + held[0])
        os._exit(0)
    forever()


@bad
def shares_memory(self: Bad, run: Run) -> None:
    """Holds 300 MB that four children see too: what is shared counts once."""
    held = np.ones(75 * 2**19)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            seen = held.sum()
            time.sleep(1.0 + 0 * seen)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


@bad
def claims_much(self: Bad, run: Run) -> None:
    """Maps 64 GiB and touches next to none of it."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    claimed = mmap.mmap(-1, 2**36, flags=flags)
    claimed[2**35] = 1
    time.sleep(0.6)  # two looks at the memory
    claimed.close()


# --- never comes back


@bad
def hangs(self: Bad, run: Run) -> None:
    """Sleeps."""
    forever()


@bad
def hangs_deaf(self: Bad, run: Run) -> None:
    """Sleeps in C, holding the interpreter's lock, with every signal blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(int(EVER))


@bad
def stops_itself(self: Bad, run: Run) -> None:
    """Is stopped, as by Ctrl-Z."""
    os.kill(os.getpid(), signal.SIGSTOP)


@bad
def spins(self: Bad, run: Run) -> None:
    """Computes for ever, and deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


# --- forks


@bad
def forks_and_both_return(self: Bad, run: Run) -> Any:
    """Comes back twice, the second time with another policy."""
    if fork(self, "second"):
        return other()
    time.sleep(0.3)  # the child is the first
    return None


@bad
def forks_and_the_child_returns_late(self: Bad, run: Run) -> Any:
    """Comes back twice, the second time just after the first."""
    if fork(self, "second"):
        time.sleep(0.05)
        return other()
    return None


@bad
def forks_and_the_child_speaks(self: Bad, run: Run) -> None:
    """Has a child log and save in its place."""
    if fork(self, "speaker"):
        for attempt in (
            lambda: run.log(1, loss=7.0),
            lambda: run.save(1, other()),
        ):
            try:
                attempt()
            except RuntimeError as error:
                (self.where / f"refused-{time.monotonic_ns()}").write_text(str(error))
        os._exit(0)
    os.wait()
    run.log(1, loss=1.0)
    run.save(1, plain())


@bad
def leaves_a_child(self: Bad, run: Run) -> None:
    """Finishes while a forked child sleeps on."""
    if fork(self, "child"):
        forever()
    await_others(self, 1)


@bad
def leaves_a_program(self: Bad, run: Run) -> None:
    """Finishes while a program that it has started goes on."""
    program = subprocess.Popen(["sleep", str(EVER)])
    (self.where / "program.pid").write_text(str(program.pid))


@bad
def leaves_a_daemon(self: Bad, run: Run) -> None:
    """Finishes while a daemon of its own lives: no parent, no session, no files, deaf."""
    _daemon(self)
    await_others(self, 1)


@bad
def leaves_many(self: Bad, run: Run) -> None:
    """Finishes while 60 children live."""
    for _ in range(60):
        if fork(self, "one"):
            forever()
    await_others(self, 60)


@bad
def hangs_with_family(self: Bad, run: Run) -> None:
    """Hangs with a child, a daemon and a program."""
    if fork(self, "child"):
        forever()
    _daemon(self)
    program = subprocess.Popen(["sleep", str(EVER)], start_new_session=True)
    (self.where / "program.pid").write_text(str(program.pid))
    await_others(self, 3)
    (self.where / "hanging").write_text(str(os.getpid()))
    forever()


def _daemon(self: Bad) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.chdir("/")
            self.here_is("daemon")
            os.closerange(0, 4096)
            time.sleep(EVER)
        os._exit(0)
    os.wait()


# --- ends without a word


@bad
def exits_0(self: Bad, run: Run) -> None:
    """Ends its process as if all were well."""
    os._exit(0)


@bad
def exits_3(self: Bad, run: Run) -> None:
    """Ends its process."""
    os._exit(3)


@bad
def sys_exits(self: Bad, run: Run) -> None:
    """Calls sys.exit."""
    sys.exit("enough")


@bad
def segfaults(self: Bad, run: Run) -> None:
    """Reads where nothing is."""
    ctypes.string_at(0)


@bad
def aborts(self: Bad, run: Run) -> None:
    """Aborts."""
    os.abort()


@bad
def overflows_the_stack(self: Bad, run: Run) -> None:
    """Recurses through C until the stack is used up."""

    class Endless:
        def __repr__(self) -> str:
            return repr([self, Endless()])

    sys.setrecursionlimit(2**30)
    repr(Endless())


@bad
def recurses(self: Bad, run: Run) -> None:
    """Recurses through Python, as far as that goes."""
    self.fit(None, None, run)  # type: ignore[arg-type]


@bad
def kills_itself(self: Bad, run: Run) -> None:
    """Is killed as by the system."""
    os.kill(os.getpid(), signal.SIGKILL)


@bad
def kills_its_session(self: Bad, run: Run) -> None:
    """Kills its whole process group."""
    os.killpg(0, signal.SIGKILL)


@bad
def kills_its_evaluator(self: Bad, run: Run) -> None:
    """Kills whoever else has its log open."""
    log = Path("/proc/self/fd/1").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            theirs = (process / "fd/1").readlink()
        except OSError:
            continue
        if theirs == log and int(process.name) != os.getpid():
            os.kill(int(process.name), signal.SIGKILL)
    forever()


@bad
def closes_everything(self: Bad, run: Run) -> None:
    """Closes every file that it has."""
    os.closerange(0, 4096)


@bad
def closes_everything_and_hangs(self: Bad, run: Run) -> None:
    """Closes every file that it has, and stays."""
    os.closerange(0, 4096)
    forever()


@bad
def takes_the_numbers(self: Bad, run: Run) -> None:
    """Closes every file, as daemons do, and opens others under their numbers."""
    os.closerange(0, 4096)
    for _ in range(100):
        os.open(os.devnull, os.O_RDWR)
    run.log(1, loss=1.0)
