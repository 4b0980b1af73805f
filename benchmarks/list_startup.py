"""How long `irlbench list --json` takes, beside bare Python and one `import gymnasium`.

Run it with the interpreter that irlbench is installed for:

    python benchmarks/list_startup.py [--repeats 15] [--json FILE]

The commands take turns, so that a busy machine slows them alike; medians of wall time are shown.
A first round fills the file cache and is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import gymnasium'": [sys.executable, "-c", "import gymnasium"],
    "irlbench list --json": [str(Path(sys.executable).with_name("irlbench")), "list", "--json"],
}


def wall_time(command: list[str], cwd: str) -> float:
    """Seconds that a command takes, its start included.

    Raises:
        CalledProcessError: If it fails.
    """
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(repeats: int) -> dict[str, list[float]]:
    """Wall times in seconds of each command, `repeats` of each, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as outside:
        for turn in range(repeats + 1):
            for name, command in COMMANDS.items():
                seconds = wall_time(command, outside)
                if turn > 0:
                    times[name].append(seconds)
    return times


def main() -> None:
    """Measures, prints a table and writes the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="runs of each command")
    parser.add_argument("--json", type=Path, help="also write medians and all times here")
    arguments = parser.parse_args()
    times = measure(arguments.repeats)
    print(f"{'command':<32}{'median s':>10}{'min s':>10}{'max s':>10}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:<32}{median:>10.3f}{min(seconds):>10.3f}{max(seconds):>10.3f}")
    if arguments.json is not None:
        medians = {name: statistics.median(seconds) for name, seconds in times.items()}
        report = {"unit": "seconds", "median": medians, "all": times}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
