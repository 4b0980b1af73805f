"""Text generation as a token-level MDP."""

from __future__ import annotations

from typing import Any

_PLACE = "irlbench.envs.text.environments"

#: What `import irlbench` registers with Gymnasium; strings only, imported when made.
ENVIRONMENTS: tuple[dict[str, Any], ...] = (
    {
        "id": "irlbench/Arithmetic-v0",
        "entry_point": f"{_PLACE}:make_arithmetic",
        "vector_entry_point": f"{_PLACE}:make_arithmetic_batch",
    },
    {
        "id": "irlbench/GSM8K-v0",
        "entry_point": f"{_PLACE}:make_gsm8k",
        "vector_entry_point": f"{_PLACE}:make_gsm8k_batch",
    },
)
