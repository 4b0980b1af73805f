"""Maximum causal entropy inverse reinforcement learning on known finite dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irlbench.algorithm import Algorithm, Run, Solution, option
from irlbench.errors import UsageError
from irlbench.problem import Budget, Problem
from irlbench.tabular.demonstrations import demonstrated_occupancy, unexplained_flow
from irlbench.tabular.dynamics import TabularDynamics
from irlbench.tabular.planning import finite_horizon_value_iteration
from irlbench.tabular.policy_iteration import soft_policy_iteration

if TYPE_CHECKING:
    from torch import Tensor

FORMS = ("state", "state-action", "features")
_LOG_EVERY = 10


@dataclass(frozen=True)
class MCEIRLConfig:
    """Hyperparameters of maximum causal entropy IRL."""

    reward: str = option("state", "Form of the reward: state, state-action, or features (linear).")
    temperature: float = option(1.0, "Weight tau of the entropy: the recovered reward's scale.")
    finite_horizon: bool = option(
        False, "The expert plans for the task's horizon (a policy of time), not for ever."
    )
    l2: float = option(
        0.1, "Precision of a Gaussian prior on the reward's parameters, in units of temperature."
    )
    gradient_steps: int = option(500, "Most L-BFGS iterations, unless the budget grants fewer.")
    tolerance: float = option(1e-6, "Gradient norm (of normalised occupancies) that is enough.")

    def __post_init__(self) -> None:
        if self.reward not in FORMS:
            raise ValueError(f"reward is one of {', '.join(FORMS)}, got {self.reward!r}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not self.l2 >= 0:
            raise ValueError(f"l2 must not be negative, got {self.l2}")
        if self.gradient_steps < 1:
            raise ValueError(f"gradient_steps must be at least 1, got {self.gradient_steps}")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}")


@dataclass(frozen=True, eq=False)
class Recovered:
    """What matching an occupancy measure finds, in units of the temperature.

    Attributes:
        reward: r / tau, float64 `[states]` or `[states, actions]`.
        logits: Of the soft-optimal policy, `[states, actions]` or `[horizon, states, actions]`.
        occupancy: Of that policy, from the same beginnings, `[states, actions]`.
        gradient_norm: Euclidean norm of the gradient in the reward's parameters.
        steps: L-BFGS iterations.
    """

    reward: NDArray[np.float64]
    logits: NDArray[np.float64]
    occupancy: NDArray[np.float64]
    gradient_norm: float
    steps: int


class OccupancyMatching:
    """The likelihood of an expert's occupancy under the soft-optimal policy of a reward.

    With rho the expert's occupancy and d its unexplained flow (of an exact occupancy measure: the
    initial distribution), the loss -sum rho log pi is <d, V> - <rho, r> in units of temperature.
    Its gradient in r is the occupancy that pi has from d on, less rho.

    Args:
        dynamics: S states, A actions.
        expert: rho, `[states, actions]` over an infinite horizon, or
            `[horizon, states, actions]` over a finite one.
        form: One of `FORMS`.
        features: `[states, features]`, for the form that is linear in them.
        l2: Weight of half the squared norm of the parameters.

    Raises:
        UsageError: If a shape does not fit the dynamics, or features are missing or not finite.
    """

    def __init__(
        self,
        dynamics: TabularDynamics,
        expert: NDArray[np.float64],
        form: str = "state",
        *,
        features: NDArray[np.float64] | None = None,
        l2: float = 0.0,
    ) -> None:
        table = (dynamics.states, dynamics.actions)
        if expert.shape not in (table, (dynamics.horizon, *table)):
            raise UsageError(
                f"an expert's occupancy here has shape {table}, or {(dynamics.horizon, *table)} "
                f"over a finite horizon, got {expert.shape}"
            )
        self._dynamics, self._finite, self._l2 = dynamics, expert.ndim == 3, l2
        self._source = unexplained_flow(dynamics, expert)
        self._expert = expert.sum(axis=0) if self._finite else expert
        self.parameters, self._reward = _reward_form(dynamics, form, features)
        self._of_states = form != "state-action"
        self._plan: NDArray[np.float64] | None = None  # Q, from which the next plan begins
        self._last: tuple[NDArray[np.float64], Recovered] | None = None

    def __call__(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss, and its gradient.

        Args:
            parameters: float64 `[parameters]`.

        Returns:
            The loss in nats per normalised step, and float64 `[parameters]`.
        """
        import torch

        from irlbench.baselines.objectives.mce_irl import mce_irl_loss

        leaf = torch.from_numpy(parameters.copy()).requires_grad_()
        reward = self._reward(leaf)
        table = reward.detach().numpy()
        value, logits, learner = (self._over_time if self._finite else self._for_ever)(table)
        both = (learner, self._expert)
        pair = [torch.from_numpy(m.sum(axis=1) if self._of_states else m) for m in both]
        mce_irl_loss(reward, pair[0], pair[1]).backward()
        assert leaf.grad is not None
        gradient = leaf.grad.numpy() + self._l2 * parameters
        earned = (self._expert * (table[:, None] if self._of_states else table)).sum()
        loss = value - float(earned) + self._l2 / 2 * float(parameters @ parameters)
        norm = float(np.linalg.norm(gradient))
        self._last = (parameters.copy(), Recovered(table, logits, learner, norm, 0))
        return loss, gradient

    def solve(
        self, steps: int, tolerance: float, report: Callable[[int, float, Recovered], bool]
    ) -> Recovered:
        """Minimises the loss by L-BFGS, from the reward 0.

        Args:
            steps: Most iterations.
            tolerance: Gradient norm at which it ends.
            report: Told of each iteration: its number, the loss and what is found; whether to end.

        Returns:
            What the last iteration found. It is short of the tolerance where the steps did not
            suffice, or rounding ends the search.
        """
        from scipy.optimize import minimize

        done = 0

        def after_each(intermediate_result: Any) -> None:
            nonlocal done
            done += 1
            found = self._at(intermediate_result.x)
            if report(done, float(intermediate_result.fun), found) or (
                found.gradient_norm <= tolerance
            ):
                raise StopIteration

        point = np.zeros(self.parameters)
        if self._at(point).gradient_norm > tolerance and steps > 0:
            # Only the callback's criterion ends it: L-BFGS-B's own are relative to other numbers.
            limits = {"maxiter": steps, "maxfun": 20 * steps + 20, "ftol": 0.0, "gtol": 0.0}
            point = minimize(
                self, point, jac=True, method="L-BFGS-B", callback=after_each, options=limits
            ).x
        return replace(self._at(point), steps=done)

    def _at(self, parameters: NDArray[np.float64]) -> Recovered:
        """What is found there: nothing new at the last point, where a line search has ended."""
        if self._last is None or not np.array_equal(self._last[0], parameters):
            self(parameters)
        assert self._last is not None
        return self._last[1]

    def _for_ever(
        self, reward: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """<d, V>, logits, and the occupancy `[states, actions]`."""
        plan, chain = soft_policy_iteration(self._dynamics, reward, 1.0, begin=self._plan)
        self._plan = plan.Q
        occupancy = chain.visits(self._source)[:, None] * plan.policy
        return float(self._source @ plan.V), plan.Q, occupancy

    def _over_time(
        self, reward: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """As `_for_ever`, over the horizon."""
        dynamics = self._dynamics
        flow = dynamics.expectation(np.float64).flow
        plan = finite_horizon_value_iteration(dynamics, reward, 1.0)
        state, taken = self._source[0], np.zeros((dynamics.actions, dynamics.states))
        for step in range(dynamics.horizon):
            chosen = state * plan.policy[step].T
            taken += chosen
            if step + 1 < dynamics.horizon:
                entered = dynamics.after(flow(chosen))
                state = self._source[step + 1] + dynamics.discount * entered
        return float((self._source * plan.V).sum()), plan.Q, taken.T


def _reward_form(
    dynamics: TabularDynamics, form: str, features: NDArray[np.float64] | None
) -> tuple[int, Callable[[Tensor], Tensor]]:
    """How many parameters a reward has, and the reward as a function of them."""
    import torch

    states, actions = dynamics.states, dynamics.actions
    if form == "state":
        return states, lambda parameters: parameters
    if form == "state-action":
        return states * actions, lambda parameters: parameters.reshape(states, actions)
    if features is None:
        raise UsageError("a reward that is linear in features needs them: give `features`")
    if features.ndim != 2 or len(features) != states or not np.isfinite(features).all():
        raise UsageError(
            f"features are finite numbers of shape ({states}, features), got {features.shape}"
        )
    matrix = torch.from_numpy(np.array(features, dtype=np.float64))
    return matrix.shape[1], lambda parameters: matrix @ parameters


class MCEIRL(Algorithm):
    """The reward whose soft-optimal policy makes the demonstrations most likely.

    Nothing is kept for going on after a kill: a fit takes seconds at most.
    """

    id: ClassVar[str] = "mce-irl"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "maximum causal entropy IRL: occupancy matching with known dynamics"
    paper: ClassVar[str] = "Ziebart, Bagnell and Dey (2010)"
    worlds: ClassVar[tuple[str, ...]] = ("gridworld",)
    actions: ClassVar[tuple[str, ...]] = ("discrete",)
    needs: ClassVar[frozenset[str]] = frozenset({"demonstrations", "dynamics", "features"})
    tracks: ClassVar[tuple[str, ...]] = ("demonstrations+dynamics",)
    Config: ClassVar[type[Any]] = MCEIRLConfig

    def fit(self, problem: Problem, budget: Budget, run: Run) -> Solution:
        """See `Algorithm.fit`.

        Raises:
            DataError: If a demonstration is one that the dynamics cannot produce.
            UsageError: If the discount is 1 without a finite horizon.
        """
        from irlbench.policies.table import TablePolicy, TimeDependentTablePolicy
        from irlbench.rewards.table import TableReward

        config: MCEIRLConfig = self.config
        dynamics: TabularDynamics = problem.resource("dynamics")
        if dynamics.discount >= 1 and not config.finite_horizon:
            raise UsageError(
                f"an infinite horizon needs a discount below 1, got {dynamics.discount}: "
                "set finite_horizon"
            )
        expert, most = demonstrated_occupancy(
            dynamics, problem.demonstrations, finite_horizon=config.finite_horizon
        )
        linear = config.reward == "features"
        matching = OccupancyMatching(
            dynamics,
            expert,
            config.reward,
            features=problem.resource("features") if linear else None,
            # Beside the mean over steps a prior weighs the less, the more steps there are.
            l2=config.l2 / most,
        )

        def report(step: int, loss: float, found: Recovered) -> bool:
            run.spend(gradient_steps=1)
            if step % _LOG_EVERY == 0:
                run.log(step, loss=loss, gradient_norm=found.gradient_norm)
            return run.exhausted

        steps = config.gradient_steps
        if budget.gradient_steps is not None:
            steps = min(steps, budget.gradient_steps)
        found = matching.solve(steps, config.tolerance, report)
        run.log(found.steps, gradient_norm=found.gradient_norm)
        policy = TimeDependentTablePolicy if config.finite_horizon else TablePolicy
        reward = TableReward(
            config.temperature * found.reward, dynamics.discount, config.temperature
        )
        return Solution(policy(found.logits), reward)
