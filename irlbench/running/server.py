"""What the fork server does beyond forking. It alone imports this: importing changes the process.

It outlives a driver that is killed just long enough to end what that driver's trials have started:
their processes, and whatever those started, in whichever session and however far down.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
import warnings
from contextlib import suppress

import psutil

from irlbench.running import kernel

PID = os.getpid()
_PATIENCE = 10.0


def _end_descendants(server: int) -> None:
    if os.getpid() != server:
        return  # a child that ends in good order
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # only the kernel knows: who looks for them may just miss one
            return
        with suppress(psutil.Error):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    process.kill()
        time.sleep(0.005)


os.setsid()  # not of the driver's group: who kills that leaves this one to clear up
kernel.adopt_orphans()
# It ends when nobody can ask it for children any more, not when it is asked to.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
# An orphan that it has adopted and buried is "unexpected" to the standard library.
warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
atexit.register(_end_descendants, PID)
