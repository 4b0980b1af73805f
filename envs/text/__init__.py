"""Text generation as a token-level MDP."""

from __future__ import annotations

from typing import Any

ENVIRONMENTS: tuple[dict[str, Any], ...] = ()
