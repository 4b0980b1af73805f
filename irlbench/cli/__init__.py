"""The command line. Its modules import late, so that `irlbench list` answers at once."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows `irlbench`; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 a trial failed or a check did not hold, 2 unusable arguments,
        130 interrupted.
    """
    from irlbench.cli.app import execute

    return execute(arguments)
