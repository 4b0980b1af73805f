"""A plug-in file for the tests: trials that say too much, or nonsense, or touch what is not theirs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from irlbench.algorithm import Run

sys.path.append(str(Path(__file__).parent))  # a plug-in file is in no package

from misbehaving import Bad, await_others, bad, forever, fork, own_connection, own_folder, plain  # type: ignore[import-not-found]

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
    if fork(self, "child"):
        forever()
    await_others(self, 1)
    os.write(own_connection().fileno(), (2**20).to_bytes(4, "big") + b"begin")
    os.kill(os.getpid(), signal.SIGKILL)


@bad
def kills_the_fork_server(self: Bad, run: Run) -> None:
    """Kills the process that all trials come from."""
    os.kill(os.getppid(), signal.SIGKILL)
    forever()
