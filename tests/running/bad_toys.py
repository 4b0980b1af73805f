"""A second plug-in file for the tests: algorithms, policies and a task that misbehave.

It is loaded after `toy_plugin.py`, whose task it borrows. Each toy tells of itself in its name:
`claims_much` is `bad/claims-much`. Whatever a toy starts writes its process id into the folder
`where`, so that a test can look for it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import gc
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.policies.table import TablePolicy
from irlbench.policy import Policy
from irlbench.problem import Budget, Problem
from irlbench.registry import registry
from irlbench.rewards.table import TableReward
from irlbench.task import (
    Evaluation,
    Evaluator,
    Prepared,
    ProblemRequest,
    Split,
    Task,
    TaskOptions,
)

STATES, ACTIONS = 3, 2
EVER = 600.0
"""Seconds: longer than any test waits."""


@dataclass(frozen=True)
class BadConfig:
    """What the bad toys can be told."""

    where: str = option("", "A folder that the algorithm may use.")


class Bad(Algorithm):
    """What all bad toys share; it has no id, so it is none itself."""

    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    Config: ClassVar[type[Any]] = BadConfig

    @property
    def where(self) -> Path:
        """The folder that the test gave."""
        return Path(self.config.where)

    def here_is(self, name: str) -> None:
        """Leaves this process's id for the test."""
        (self.where / f"{name}-{os.getpid()}.pid").write_text(str(os.getpid()))


Misbehaviour = Callable[[Any, Run], Any]


def bad(misbehave: Misbehaviour) -> type[Bad]:
    """Makes an algorithm of a function; what it returns is the policy, None a plain one."""

    def fit(self: Bad, problem: Problem, budget: Budget, run: Run) -> Solution:
        found = misbehave(self, run)
        return Solution(plain() if found is None else found)

    name = misbehave.__name__
    about = {"id": f"bad/{name.replace('_', '-')}", "fit": fit, "__doc__": misbehave.__doc__}
    return type(name, (Bad,), {**about, "__module__": __name__})


def plain() -> TablePolicy:
    """A policy that nobody objects to."""
    return TablePolicy(np.zeros((STATES, ACTIONS)))


def other() -> TablePolicy:
    """A policy that gets another score."""
    return TablePolicy(np.tile([0.0, 7.0], (STATES, 1)))


def forever() -> NoReturn:
    """Never comes back."""
    time.sleep(EVER)
    raise AssertionError


def own_folder() -> Path:
    """The trial's working folder, by way of its log."""
    return Path("/proc/self/fd/1").readlink().parent


def own_connection() -> Connection:
    """This process's side of its pipe to the driver."""
    (found,) = [o for o in gc.get_objects() if type(o) is Connection and not o.closed]
    return found


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


def _fork(self: Bad, name: str) -> bool:
    """Forks; True in the child."""
    if os.fork():
        return False
    self.here_is(name)
    return True


@bad
def forks_and_both_return(self: Bad, run: Run) -> Any:
    """Comes back twice, the second time with another policy."""
    if _fork(self, "second"):
        return other()
    time.sleep(0.3)  # the child is the first
    return None


@bad
def forks_and_the_child_returns_late(self: Bad, run: Run) -> Any:
    """Comes back twice, the second time just after the first."""
    if _fork(self, "second"):
        time.sleep(0.05)
        return other()
    return None


@bad
def forks_and_the_child_speaks(self: Bad, run: Run) -> None:
    """Has a child log and save in its place."""
    if _fork(self, "speaker"):
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
    if _fork(self, "child"):
        forever()
    _await(self, 1)


@bad
def leaves_a_program(self: Bad, run: Run) -> None:
    """Finishes while a program that it has started goes on."""
    program = subprocess.Popen(["sleep", str(EVER)])
    (self.where / "program.pid").write_text(str(program.pid))


@bad
def leaves_a_daemon(self: Bad, run: Run) -> None:
    """Finishes while a daemon of its own lives: no parent, no session, no files, deaf."""
    _daemon(self)
    _await(self, 1)


@bad
def leaves_many(self: Bad, run: Run) -> None:
    """Finishes while 60 children live."""
    for _ in range(60):
        if _fork(self, "one"):
            forever()
    _await(self, 60)


@bad
def hangs_with_family(self: Bad, run: Run) -> None:
    """Hangs with a child, a daemon and a program."""
    if _fork(self, "child"):
        forever()
    _daemon(self)
    program = subprocess.Popen(["sleep", str(EVER)], start_new_session=True)
    (self.where / "program.pid").write_text(str(program.pid))
    _await(self, 3)
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


def _await(self: Bad, many: int) -> None:
    while len(list(self.where.glob("*.pid"))) < many:
        time.sleep(0.01)


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


# --- threads


@bad
def raises_in_a_thread_and_waits(self: Bad, run: Run) -> None:
    """Waits for a thread that has died."""
    done = threading.Event()

    def work() -> None:
        raise RuntimeError("lost in a thread")

    threading.Thread(target=work).start()
    done.wait()


@bad
def raises_in_a_thread_and_goes_on(self: Bad, run: Run) -> None:
    """Finishes though a thread has died."""

    def work() -> None:
        raise RuntimeError("lost in a thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@bad
def leaves_a_thread(self: Bad, run: Run) -> None:
    """Finishes while a thread of its own goes on for ever."""
    threading.Thread(target=forever).start()


@bad
def logs_from_threads(self: Bad, run: Run) -> None:
    """Logs from several threads at once."""

    def work(name: str) -> None:
        for step in range(200):
            run.log(step, **{name: float(step)})

    threads = [threading.Thread(target=work, args=(f"of {i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- says too much


@bad
def prints_to_stdout(self: Bad, run: Run) -> None:
    """Prints a gigabyte."""
    line = "x" * 2**20
    for _ in range(1024):
        print(line)
    forever()


@bad
def prints_to_stderr(self: Bad, run: Run) -> None:
    """Prints a gigabyte of errors."""
    line = "x" * 2**20 + "\n"
    for _ in range(1024):
        sys.stderr.write(line)
    forever()


@bad
def writes_to_stdout(self: Bad, run: Run) -> None:
    """Writes a gigabyte as C code does."""
    chunk = b"x" * 2**20
    for _ in range(1024):
        os.write(1, chunk)
    forever()


@bad
def prints_in_a_program(self: Bad, run: Run) -> None:
    """Has a program print without end."""
    program = subprocess.Popen(["yes", "x" * 4000])
    (self.where / "program.pid").write_text(str(program.pid))
    forever()


@bad
def prints_and_ends(self: Bad, run: Run) -> None:
    """Prints more than it may and has ended before anyone looks."""
    os.write(1, b"first\n" + b"x" * (150 * 2**20) + b"\nlast\n")


@bad
def prints_much(self: Bad, run: Run) -> None:
    """Prints a lot, but no more than it may."""
    print("first\n" + "x" * (20 * 2**20) + "\nlast")


@bad
def logs_without_end(self: Bad, run: Run) -> None:
    """Logs the same scalars for ever."""
    scalars = {f"loss {i}": 1.0 for i in range(1000)}
    while True:
        run.log(1, **scalars)


# --- raises what cannot be told


@bad
def raises_without_words(self: Bad, run: Run) -> None:
    """Raises an error that cannot say what it is."""

    class Wordless(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    raise Wordless


@bad
def raises_unpicklable(self: Bad, run: Run) -> None:
    """Raises an error that cannot be pickled."""

    class Local(Exception):
        def __reduce__(self) -> Any:
            raise TypeError("not to be pickled")

    raise Local("cannot travel")


@bad
def raises_a_long_story(self: Bad, run: Run) -> None:
    """Raises an error with a message of 100 MB."""
    raise RuntimeError("in /a/long/path " * (100 * 2**20 // 16))


@bad
def raises_in_a_circle(self: Bad, run: Run) -> None:
    """Raises an error that comes from itself."""
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@bad
def raises_from_an_unspeakable_place(self: Bad, run: Run) -> None:
    """Raises in code whose file has no name that could be written down."""
    eval(compile("int('nothing')", "/some/\udcff/place.py", "eval"))  # noqa: S307


@bad
def raises_keyboard_interrupt(self: Bad, run: Run) -> None:
    """Raises as if somebody had pressed Ctrl-C."""
    raise KeyboardInterrupt


@bad
def raises_generator_exit(self: Bad, run: Run) -> None:
    """Raises what closes generators."""
    raise GeneratorExit


@bad
def raises_a_base_exception(self: Bad, run: Run) -> None:
    """Raises what `except Exception` does not catch."""

    class Base(BaseException):
        pass

    raise Base("of its own kind")


@bad
def raises_out_of_memory(self: Bad, run: Run) -> None:
    """Asks for more memory than there can be."""
    np.ones(2**55)


@bad
def returns_nothing_like_a_solution(self: Bad, run: Run) -> Any:
    """Returns no policy."""
    return "a policy"


@bad
def logs_the_unspeakable(self: Bad, run: Run) -> None:
    """Logs under a name that is no text."""
    run.log(1, **{"half \ud800": 1.0})


@bad
def logs_far_ahead(self: Bad, run: Run) -> None:
    """Logs at a step that no table can hold."""
    run.log(2**70, loss=1.0)


# --- does what is not its to do


@bad
def wanders_off(self: Bad, run: Run) -> None:
    """Changes its directory, and takes that away."""
    there = self.where / f"there-{os.getpid()}"
    there.mkdir()
    os.chdir(there)
    there.rmdir()
    run.save(1, plain())


@bad
def deletes_its_folder(self: Bad, run: Run) -> None:
    """Deletes its working folder."""
    shutil.rmtree(own_folder())


@bad
def deletes_its_folder_and_raises(self: Bad, run: Run) -> None:
    """Deletes its working folder, and fails."""
    shutil.rmtree(own_folder())
    raise RuntimeError("where am I")


@bad
def moves_its_folder(self: Bad, run: Run) -> None:
    """Puts a file where its working folder was."""
    folder = own_folder()
    folder.rename(self.where / folder.name)
    folder.write_text("a file")
    raise RuntimeError("where am I")


@bad
def spoils_its_log(self: Bad, run: Run) -> None:
    """Puts a pipe in place of its log."""
    log = own_folder() / "log.txt"
    log.unlink()
    os.mkfifo(log)


@bad
def leaves_a_folder(self: Bad, run: Run) -> None:
    """Leaves a folder named as a policy's file would be."""
    (own_folder() / "policy.more").mkdir()


@bad
def leaves_a_link(self: Bad, run: Run) -> None:
    """Leaves a link to a file elsewhere, named as a policy's file would be."""
    (self.where / "elsewhere").write_text("not ours")
    (own_folder() / "policy.link").symlink_to(self.where / "elsewhere")


@bad
def sends_bytes(self: Bad, run: Run) -> None:
    """Sends what is no message."""
    own_connection().send_bytes(b"rubbish")
    forever()


@bad
def sends_text(self: Bad, run: Run) -> None:
    """Sends a message of another form."""
    own_connection().send("hello")
    forever()


@bad
def sends_a_lie(self: Bad, run: Run) -> None:
    """Sends what only the evaluator may say."""
    own_connection().send(("evaluated", 5, {"scores": {}}, 0.0))
    forever()


@bad
def sends_half_a_message(self: Bad, run: Run) -> None:
    """Begins to speak, and hangs."""
    os.write(own_connection().fileno(), (2**20).to_bytes(4, "big") + b"begin")
    forever()


@bad
def claims_a_long_message(self: Bad, run: Run) -> None:
    """Says that more is to come than fits any memory, and sends some of it."""
    header = (2**32 - 1).to_bytes(4, "big") + (2**60).to_bytes(8, "big")
    os.write(own_connection().fileno(), header + b"x" * 1000)
    forever()


@bad
def dies_in_the_middle_of_a_message(self: Bad, run: Run) -> None:
    """Is killed while it speaks, and a child of its own still holds the pipe."""
    if _fork(self, "child"):
        forever()
    _await(self, 1)
    os.write(own_connection().fileno(), (2**20).to_bytes(4, "big") + b"begin")
    os.kill(os.getpid(), signal.SIGKILL)


@bad
def kills_the_fork_server(self: Bad, run: Run) -> None:
    """Kills the process that all trials come from."""
    os.kill(os.getppid(), signal.SIGKILL)
    forever()


# --- fills the disk


def _fill(where: Path) -> None:
    """Leaves no room on the disk that the file `full` names, or lets no file be written at all.

    Without that file nothing happens: the same trial can be run again.
    """
    if not (where / "full").exists():
        return
    disk = (where / "full").read_text()
    if disk == "simulated":
        vars(os)["fsync"] = _no_room
        return
    with (Path(disk) / f"ballast-{os.getpid()}").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass


def _no_room(descriptor: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@bad
def fills_before_its_policy(self: Bad, run: Run) -> None:
    """Fills the disk before its final policy is written."""
    _fill(self.where)


@bad
def fills_before_a_save(self: Bad, run: Run) -> None:
    """Fills the disk before a policy along the way is written."""
    _fill(self.where)
    run.save(1, other())


@bad
def fills_before_it_prints(self: Bad, run: Run) -> None:
    """Fills the disk, and prints."""
    _fill(self.where)
    print("x" * 2**14)


@bad
def fills_before_a_checkpoint(self: Bad, run: Run) -> None:
    """Fills the disk before a checkpoint is written, and would go on from the one before."""
    if run.restored is None:
        run.log(1, loss=1.0)
        run.checkpoint({"numbers": np.arange(100)})
    _fill(self.where)
    run.checkpoint({"numbers": np.arange(100_000)})


fills_before_a_checkpoint.resumable = True


@bad
def fills_where_judged_along_the_way(self: Bad, run: Run) -> None:
    """Has the evaluator fill the disk before it keeps what it has found."""
    run.save(1, BadPolicy("fills", self.where))


@bad
def fills_where_judged_in_the_end(self: Bad, run: Run) -> BadPolicy:
    """Has the evaluator fill the disk just before the record is written."""
    return BadPolicy("fills", self.where)


@bad
def takes_its_time(self: Bad, run: Run) -> None:
    """Counts to ten, and keeps its state after each; a file `stop` has it hang after the fifth."""
    state = run.restored or {"count": np.zeros(1), "all": np.arange(5000)}
    count = int(state["count"][0])
    while count < 10:
        count += 1
        run.log(count, loss=float(count), total=float(state["all"].sum()))
        run.checkpoint({**state, "count": np.full(1, float(count))})
        if count == 5 and (self.where / "stop").exists():
            (self.where / "hanging").write_text(str(os.getpid()))
            forever()


takes_its_time.resumable = True


# --- behaves


def _good(number: int) -> type[Bad]:
    """One of several that do nothing wrong, to run among the others."""

    def good(self: Bad, run: Run) -> TablePolicy:
        strength = number + float(run.generator("noise").normal())
        for step in range(3):
            run.log(step, loss=strength / (step + 1))
            run.save(step, TablePolicy(np.tile([0.0, strength * step], (STATES, 1))))
        return TablePolicy(np.tile([0.0, strength], (STATES, 1)))

    good.__name__ = f"good_{number}"
    good.__doc__ = "Does nothing wrong."
    return bad(good)


good_1, good_2, good_3, good_4 = (_good(number) for number in (1, 2, 3, 4))


# --- policies that misbehave where they are judged


class BadPolicy(TablePolicy):
    """A policy that misbehaves when it is asked for a probability, in the evaluator's process."""

    kind: ClassVar[str] = "bad"

    def __init__(self, how: str, where: Path, ballast: int = 0) -> None:
        super().__init__(np.zeros((STATES, ACTIONS)))
        self.how, self.where, self.ballast = how, where, b"x" * ballast

    def log_prob(self, observations: Any, actions: Any) -> Any:
        """See above."""
        if self.how == "hangs":
            forever()
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exits":
            os._exit(0)
        if self.how == "raises":
            raise RuntimeError("lost in the evaluator")
        if self.how == "raises_in_a_thread":
            threading.Thread(target=lambda: 1 / 0).start()
            forever()
        if self.how == "eats":
            held = np.ones(2**27)
            time.sleep(EVER + held[0])
        if self.how == "prints":
            for _ in range(1024):
                os.write(2, b"x" * 2**20)
            forever()
        if self.how == "fills":
            _fill(self.where)
        if self.how == "is_nan":
            return np.full(len(actions), np.nan)
        if self.how == "leaves_a_child" and os.fork() == 0:
            (self.where / f"child-{os.getpid()}.pid").write_text(str(os.getpid()))
            forever()
        return super().log_prob(observations, actions)


def _judged(how: str) -> type[Bad]:
    def hand_in(self: Bad, run: Run) -> BadPolicy:
        return BadPolicy(how, self.where)

    hand_in.__name__ = f"judging_{how}"
    hand_in.__doc__ = f"Hands in a policy; judging it: {how}."
    return bad(hand_in)


judging_hangs = _judged("hangs")
judging_dies = _judged("dies")
judging_exits = _judged("exits")
judging_raises = _judged("raises")
judging_raises_in_a_thread = _judged("raises_in_a_thread")
judging_eats = _judged("eats")
judging_prints = _judged("prints")
judging_is_nan = _judged("is_nan")
judging_leaves_a_child = _judged("leaves_a_child")


@bad
def hands_in_much(self: Bad, run: Run) -> BadPolicy:
    """Hands in a policy of an own kind that is larger than any pipe holds."""
    return BadPolicy("", self.where, ballast=2**25)


@bad
def hands_in_the_unpicklable(self: Bad, run: Run) -> BadPolicy:
    """Hands in a policy that cannot travel."""
    policy = BadPolicy("", self.where)
    policy.secret = lambda: None  # type: ignore[attr-defined]
    return policy


@bad
def hands_in_and_hangs(self: Bad, run: Run) -> None:
    """Hands in a policy that cannot be judged, and stays."""
    run.save(1, BadPolicy("raises", self.where))
    forever()


class LearntReward(Bad):
    """Learns a reward that is not finite."""

    id: ClassVar[str] = "bad/learns-nan"

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See above."""
        return Solution(plain(), TableReward(np.full((STATES, ACTIONS), np.nan)))


# --- tasks that misbehave


class BadEvaluator(Evaluator):
    """Gives what it was made with."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def evaluate(self, policy: Policy, split: Split) -> Evaluation:
        """See above."""
        return self._evaluation


class BadTask(Task):
    """The toy task with another evaluator.

    Args:
        name: Its name.
        evaluator: Makes the evaluator.
    """

    def __init__(self, name: str, evaluator: Callable[[], Evaluator]) -> None:
        toy = registry().task("gridworld/toy-v0")
        self.info = dataclasses.replace(toy.info, id=f"gridworld/{name}-v0")
        self._toy, self._make = toy, evaluator

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`."""
        return self._toy.prepare(options, home)

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""
        return self._toy.problem(request, home)

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        return self._make()


class Unprepared(BadTask):
    """Dies while it is prepared, and leaves a child that holds its pipe."""

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`."""
        if os.fork() == 0:
            (Path(str(options.data)) / f"child-{os.getpid()}.pid").write_text(str(os.getpid()))
            forever()
        while not list(Path(str(options.data)).glob("*.pid")):
            time.sleep(0.01)
        os._exit(9)


def _giving(scores: dict[str, Any] | None = None, **more: Any) -> Callable[[], Evaluator]:
    evaluation = Evaluation({"return": 5.0} if scores is None else scores, **more)
    return lambda: BadEvaluator(evaluation)


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"deeper": found}
    return found


UNPREPARED = Unprepared("unprepared", forever)
HANGS_AT_FIRST = BadTask("hangs-at-first", forever)
EXITS_AT_FIRST = BadTask("exits-at-first", lambda: os._exit(0))
NO_SCORE = BadTask("no-score", _giving({"length": 1.0}))
TEXT_SCORE = BadTask("text-score", _giving({"return": "much"}))
HUGE_SCORE = BadTask("huge-score", _giving({"return": 10**400}))
NESTED_SAMPLES = BadTask("nested-samples", _giving(samples=[_nested(80)]))
LARGE_SAMPLES = BadTask("large-samples", _giving(samples=[{"text": "x" * 2**24}]))
ODD_SAMPLES = BadTask("odd-samples", _giving(samples=["no object"]))
UNSPEAKABLE_SAMPLES = BadTask("unspeakable-samples", _giving(samples=[{"text": "\ud800"}]))
