"""Models of how a demonstrator acts on the true reward, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_SOLVERS = {
    "optimal": "soft-value-iteration",
    "boltzmann": "boltzmann",
    "maximum-causal-entropy": "soft-value-iteration",
}


@dataclass(frozen=True)
class ExpertModel:
    """How a demonstrator acts. All of them plan for ever, with known dynamics.

    Attributes:
        name: "optimal" takes an action of greatest value; "boltzmann" takes actions with
            probability proportional to exp(Q*(s, a) / tau), Q* the optimal values;
            "maximum-causal-entropy" maximises E[sum_t gamma^t (r_t + tau H(pi(.|s_t)))].
        temperature: tau; 0 for the optimal one, and only for it.
        discount: By which it plans, where that is not the task's.
        believes: Parameters of the world as it believes it to be, where it is mistaken: it plans
            with those dynamics, for the true reward, and demonstrates in the true world.
    """

    name: Literal["optimal", "boltzmann", "maximum-causal-entropy"]
    temperature: float = 0.0
    discount: float | None = None
    believes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in _SOLVERS:
            raise ValueError(f"an expert is {', '.join(_SOLVERS)}, got {self.name!r}")
        if (self.temperature > 0) != (self.name != "optimal") or self.temperature < 0:
            raise ValueError(
                "an optimal expert has temperature 0, every other one above it; "
                f"got {self.temperature} for {self.name!r}"
            )

    def recipe(self) -> dict[str, Any]:
        """What makes it, as a task's recipe says it; what does not apply is left out."""
        mistaken = {"discount": self.discount, "believes": dict(self.believes)}
        return {
            "solver": _SOLVERS[self.name],
            "settings": {"temperature": self.temperature},
            **{name: value for name, value in mistaken.items() if value not in (None, {})},
        }
