"""The figure of a gridworld task: what each algorithm found, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irlbench.envs.gridworld.drawing.sheet import Card, draw
from irlbench.envs.gridworld.drawing.shown import Judged, Shown
from irlbench.envs.gridworld.reward_evaluation import World
from irlbench.envs.gridworld.tabular_model import TabularModel
from irlbench.errors import UsageError
from irlbench.policy import Policy
from irlbench.task import ShownSolution, TaskFigure, TaskInfo


def task_figure(
    info: TaskInfo, model: TabularModel, expert: Policy, solutions: Sequence[ShownSolution]
) -> TaskFigure:
    """Draws a task; see `Task.figure`.

    Args:
        info: The task.
        model: Its world.
        expert: Its demonstrator.
        solutions: What algorithms found.
    """
    # Those by which policies and rewards are scored.
    seeds = info.protocol["test_seed"] + np.arange(info.protocol["test_episodes"])
    judged = Judged(World(model, model.dynamics(info.horizon, info.discount)), seeds)
    cards, left_out = [], {}
    for place, solution in enumerate(solutions):
        try:
            # Numbers that are too large to square are finite, and still no reward to look at.
            with np.errstate(over="raise", invalid="raise"):
                shown = judged.shown(solution.policy, solution.reward)
        except (UsageError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            left_out[place] = f"{type(error).__name__}: {error}"
        else:
            detail = _detail(solution.score, shown)
            cards.append(Card(solution.label, detail, shown, solution.note))
    truth = Card("expert", "canonical true reward", judged.truth(expert))
    names = ", ".join(card.label for card in cards)
    return TaskFigure(draw(model, f"{info.id}: truth, expert, {names}", truth, cards), left_out)


def _detail(score: float | None, shown: Shown) -> str:
    parts = {"score": score, "reward distance": shown.distance}
    # Rounded first, and then 0 added: no figure reads -0.00.
    return ", ".join(f"{k} {round(v, 2) + 0.0:.2f}" for k, v in parts.items() if v is not None)
