"""What the fits of an audit say, compared to the bit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from irlbench.checking.fitting import Outcome
from irlbench.checking.processes import Trouble
from irlbench.checking.verdicts import Check, beside, failed, held, unclear
from irlbench.checking.watch import Channel
from irlbench.problem import Budget
from irlbench.task import Task

#: The hidden rewards that a fit must not tell from the true one.
REWARDS = ("negated", "noise", "nan", "unreadable")
_TITLES = {
    "negated": ("hidden reward negated", "the hidden reward is negated"),
    "noise": ("hidden reward noise", "the hidden reward is independent noise"),
    "nan": ("hidden reward NaN", "the hidden reward is NaN"),
    "unreadable": ("hidden reward unreadable", "the hidden reward raises when it is read"),
    "files": ("hidden files altered", "expert, references and recordings have other contents"),
}
_WATCHED: Mapping[str, tuple[Channel, str]] = {
    "no environment of its own": ("environment", "no task's environment was made"),
    "no look at the task": ("task", "task, evaluator, expert and true reward were left alone"),
    "no hidden file opened": ("file", "recordings, expert and references stayed closed"),
}


def place(world: str, track: str) -> str:
    """Name of the trial in a world and track."""
    return f"{world}, {track}"


def differences(first: Outcome, second: Outcome, *, saves: bool = True) -> list[str]:
    """What is not equal to the bit, in words."""
    found = [] if first.policy == second.policy else ["policy"]
    if first.reward != second.reward:
        found.append("recovered reward")
    if saves and first.saves != second.saves and first.policy == second.policy:
        found.append("policies handed in")
    names = sorted({*first.counters, *second.counters})
    for name in names:
        values = [each.counters.get(name, 0) for each in (first, second)]
        if values[0] != values[1]:
            found.append(f"{name.replace('_', ' ')} ({values[0]:,} and {values[1]:,})")
    return found


def idle(outcome: Outcome | Trouble, needs: Collection[str]) -> bool:
    """Whether a fit takes an environment, but has not come to take a step in it."""
    return isinstance(outcome, Outcome) and "interaction" in needs and not outcome.paid


def judge(
    found: Mapping[str, Any], budgets: tuple[Budget, Budget], needs: Collection[str]
) -> list[Check]:
    """The checks on one task and track.

    Args:
        found: Name of a fit to its `Outcome` or `Trouble`: "reference", "again", those of
            `REWARDS`, "files", "half", and where it can be killed, "killed" and "resumed".
        budgets: What the fits were granted, and what "half" was.
        needs: What the algorithm declares.
    """
    reference = found["reference"]
    if isinstance(reference, Trouble):
        return _nothing_to_compare(reference)
    outcomes = [each for each in found.values() if isinstance(each, Outcome)]
    same = _same_twice(reference, found["again"])
    checks = [_needs(outcomes, needs), same]
    for name, (title, words) in _TITLES.items():
        if same.verdict != "held":
            checks.append(unclear(title, "not even the same reward twice gives the same"))
        else:
            checks.append(_unmoved(title, words, reference, found, name, needs))
    checks += [
        _watched(title, channel, words, outcomes) for title, (channel, words) in _WATCHED.items()
    ]
    return [
        *checks,
        _budget(found, budgets),
        _finite(reference),
        _saving(reference),
        _resuming(reference, found),
    ]


def _nothing_to_compare(reference: Trouble) -> list[Check]:
    titles = [title for title, _ in _TITLES.values()]
    if reference.message.startswith("ResourceError"):
        first = failed("declared needs", f"they are not enough: {reference.message}")
    else:
        first = failed("fit", reference.message)
    nothing = "it could not be fitted: there is nothing to compare"
    return [first, *(unclear(title, nothing) for title in ("same seed twice", *titles))]


def _same_twice(reference: Outcome, again: Outcome | Trouble) -> Check:
    title = "same seed twice"
    if isinstance(again, Trouble):
        return failed(title, f"the second time: {again.message}")
    wrong = differences(reference, again)
    if wrong:
        return failed(title, f"not the same bits: {', '.join(wrong)}")
    steps = reference.counters.get("steps", 0)
    spent = f"{steps:,} steps, {reference.counters['gradient_steps']:,} gradient steps"
    return held(title, f"the same bits ({spent})")


def _unmoved(
    title: str,
    words: str,
    reference: Outcome,
    found: Mapping[str, Any],
    name: str,
    needs: Collection[str],
) -> Check:
    """Whether one fit came to the same as the reference."""
    other = found[name]
    if name == "files" and "expert_policy" in needs:
        return beside(title, "it declares expert_policy: it is a reference row")
    if isinstance(other, Trouble):
        if other.kind == "timeout":
            return unclear(title, f"it {other.message} where {words}")
        return failed(title, f"where {words}, it fails: {other.message}")
    wrong = differences(reference, other)
    if not wrong and name != "files" and idle(other, needs):
        return unclear(title, "it took no step in an environment: give it more by --budget")
    if not wrong:
        return held(title, _looked_at(name, other, needs))
    copy = found.get("copy")
    if name == "files" and (not isinstance(copy, Outcome) or differences(reference, copy)):
        return unclear(title, "another process gives other bits, whatever is in the files")
    return failed(title, f"it learns otherwise where {words}: {', '.join(wrong)}")


def _looked_at(name: str, other: Outcome, needs: Collection[str]) -> str:
    if name == "files":
        return f"the same bits with other contents (files altered: {other.files})"
    if "interaction" not in needs:
        return "the same bits (it takes no environment)"
    return f"the same bits over {other.paid:,} rewards"


def _watched(title: str, channel: Channel, words: str, outcomes: Iterable[Outcome]) -> Check:
    reports = {r: None for each in outcomes for r in each.reports if r.channel == channel}
    if not reports:
        return held(title, words)
    told = [f"{report.what} ({report.where})" for report in reports]
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return failed(title, f"it {'; '.join(told[:3])}{more}")


def _needs(outcomes: Iterable[Outcome], needs: Collection[str]) -> Check:
    title = "declared needs"
    reports = [r for each in outcomes for r in each.reports if r.channel == "resource"]
    through = {name for each in outcomes for name in each.let_through}
    if reports:
        return failed(title, f"it {reports[0].what} ({reports[0].where})")
    if through:
        return failed(title, f"undeclared, and not refused: {', '.join(sorted(through))}")
    return held(title, f"{', '.join(sorted(needs)) or 'nothing'}: enough, all else is refused")


def _budget(found: Mapping[str, Any], budgets: tuple[Budget, Budget]) -> Check:
    title, told = "budget", []
    for name, budget in zip(("reference", "half"), budgets, strict=True):
        outcome = found[name]
        granted = {k: v for k, v in asdict(budget).items() if v is not None and k != "seconds"}
        words = ", ".join(f"{v:,} {k.replace('_', ' ')}" for k, v in granted.items())
        if isinstance(outcome, Trouble):
            verdict = unclear if outcome.kind == "timeout" else failed
            return verdict(title, f"granted {words}: {outcome.message}")
        for key, most in granted.items():
            used = outcome.counters.get(key, 0)
            if used > most:
                return failed(title, f"{used:,} {key.replace('_', ' ')} of {most:,} granted")
        told.append(words)
    return held(title, f"kept to {told[0] or 'no limit'}; and to half of it")


def _finite(reference: Outcome) -> Check:
    if reference.not_finite:
        return failed("finite", f"NaN or an infinity in {', '.join(reference.not_finite)}")
    return held("finite", "policy, recovered reward and logged scalars")


def _saving(reference: Outcome) -> Check:
    title = "saving"
    if reference.lost:
        return failed(title, f"not as it was once saved and loaded: {', '.join(reference.lost)}")
    policy, reward = reference.verifiable
    kept = [word for word, can in (("policy", policy), ("recovered reward", reward)) if can]
    if not kept:
        return beside(title, "policy and reward are of kinds of its own: shown as not verifiable")
    acts = {"policy": "acts", "recovered reward": "pays"}
    does = " and ".join(f"the {word} {acts[word]}" for word in kept)
    return held(title, f"once saved and loaded, {does} as before")


def _resuming(reference: Outcome, found: Mapping[str, Any]) -> Check:
    title = "going on after a kill"
    if "killed" not in found:
        return beside(title, "it is not declared resumable")
    if "resumed" not in found:
        return _never_killed(title, found["killed"])
    resumed = found["resumed"]
    if isinstance(resumed, Trouble):
        verdict = unclear if resumed.kind == "timeout" else failed
        return verdict(title, f"going on: {resumed.message}")
    if not resumed.resumed:
        return failed(title, "it begins anew: `run.restored` was never read, or is unusable")
    wrong = differences(reference, resumed, saves=False)
    if wrong:
        return failed(title, f"killed at a checkpoint, it comes to other bits: {', '.join(wrong)}")
    return held(title, "killed at a checkpoint, it comes to the same bits")


def _never_killed(title: str, outcome: Outcome | Trouble) -> Check:
    if isinstance(outcome, Trouble):
        verdict = unclear if outcome.kind == "timeout" else failed
        return verdict(title, f"where checkpoints are kept: {outcome.message}")
    return beside(title, "it keeps no checkpoint within this budget: a kill begins it anew")


def judge_elsewhere(
    found: Mapping[str, Any],
    tried: Mapping[tuple[str, str], Task],
    missing: Mapping[tuple[str, str], str],
) -> list[Check]:
    """The checks in every other world and track that is declared.

    Args:
        found: `place` of each to its `Outcome` or `Trouble`.
        tried: World and track to the task.
        missing: World and track to why there is no task.
    """
    checks = []
    for (world, track), task in tried.items():
        outcome, title = found[place(world, track)], place(world, track)
        if isinstance(outcome, Trouble):
            verdict = unclear if outcome.kind == "timeout" else failed
            checks.append(verdict(title, f"on {task.id}: {outcome.message}"))
        elif outcome.not_finite:
            wrong = ", ".join(outcome.not_finite)
            checks.append(failed(title, f"on {task.id}: NaN or an infinity in {wrong}"))
        else:
            checks.append(held(title, f"fits on {task.id}"))
    return checks + [beside(place(*pair), reason) for pair, reason in missing.items()]
