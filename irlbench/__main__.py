"""`python -m irlbench`: the command line."""

from __future__ import annotations

import sys

from irlbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
