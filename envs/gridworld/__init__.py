"""Gridworlds: everything can be computed exactly."""

from __future__ import annotations

from typing import Any

ENVIRONMENTS: tuple[dict[str, Any], ...] = ()
