"""`irlbench list`: what is registered, in tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from irlbench.algorithm import TRACKS, WORLDS
from irlbench.cli.catalogue import GROUPS, Kind, catalogue, describe
from irlbench.cli.options import Plugins, Verbose, starting
from irlbench.cli.output import heading, hint, say, table
from irlbench.errors import UnknownNameError, UsageError
from irlbench.registry import registry

EXAMPLES = """
irlbench list matrix

irlbench list algorithms bc

irlbench list --json
"""


def list_command(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[tasks|algorithms|solvers|suites|matrix]",
            help="What to list; else all, in short.",
            autocompletion=lambda incomplete: starting(Kind, incomplete),
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="One of them, with everything it declares.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything declared, as JSON.")] = False,
    plugins: Plugins = None,
    verbose: Verbose = False,
) -> None:
    """Show tasks, algorithms, solvers, suites, and which algorithm runs on which task."""
    if what is not None and what not in set(Kind):
        raise UnknownNameError("kind of list", what, [kind.value for kind in Kind])
    kind = None if what is None else Kind(what)
    for path in plugins or ():
        registry().load_plugin(path)
    if name is not None:
        if kind is None or kind is Kind.MATRIX:
            raise UsageError("a name goes with tasks, algorithms, solvers or suites")
        entry = describe(kind, registry().get(GROUPS[kind], name))
        if as_json:
            _say_json(entry)
        else:
            _DETAILS[kind](entry)
        return
    found = catalogue(list(Kind) if kind is None else [kind])
    if as_json:
        _say_json(found)
    elif kind is None:
        _show_all(found)
    else:
        _TABLES[kind](found[kind.value])


def _say_json(value: Any) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False))


def _show_all(found: Mapping[str, list[Any]]) -> None:
    for kind in (Kind.SUITES, Kind.TASKS, Kind.ALGORITHMS, Kind.SOLVERS):
        heading(kind.value)
        table([[entry.get("id") or entry["name"], _line(entry)] for entry in found[kind.value]])
        say()
    runs = sum(pair["runs"] for pair in found["matrix"])
    hint(
        f"{runs} of {len(found['matrix'])} pairs of algorithm and task can run: "
        "`irlbench list matrix`; more of each: `irlbench list tasks`, `irlbench list algorithms bc`"
    )


def _line(entry: Mapping[str, Any]) -> str:
    if entry.get("lacks"):
        return f"{entry['summary']} (not ready)"
    return f"{entry['summary']} (needs --data)" if entry.get("needs_data") else entry["summary"]


def _show_tasks(tasks: list[dict[str, Any]]) -> None:
    header = ("task", "environment", "actions", "horizon", "demonstrations", "score", "about")
    rows = []
    for task in tasks:
        about = [task["summary"], task["note"]]
        about += [f"not ready: {task['lacks']}"] if task["lacks"] else []
        about += [f"needs --data: {task['needs_data']}"] if task["needs_data"] else []
        given = task["demonstrations"]
        rows.append(
            [
                task["id"],
                task["environment"],
                task["actions"],
                str(task["horizon"]),
                "all" if given is None else str(given),
                task["primary"],
                "; ".join(part for part in about if part),
            ]
        )
    table(rows, header, right=(3, 4))


def _show_algorithms(algorithms: list[dict[str, Any]]) -> None:
    header = ("algorithm", "worlds", "tracks", "about")
    table(
        [
            [a["id"], ", ".join(a["worlds"]), ", ".join(a["tracks"]), a["summary"]]
            for a in algorithms
        ],
        header,
    )


def _show_solvers(solvers: list[dict[str, Any]]) -> None:
    header = ("solver", "worlds", "actions", "needs", "about")
    table(
        [
            [
                s["id"],
                ", ".join(s["worlds"]),
                ", ".join(s["actions"]),
                ", ".join(s["needs"]) or "nothing",
                s["summary"],
            ]
            for s in solvers
        ],
        header,
    )


def _show_suites(suites: list[dict[str, Any]]) -> None:
    for suite in suites:
        _show_suite(suite)


def _show_matrix(pairs: list[dict[str, Any]]) -> None:
    tasks = list(dict.fromkeys(pair["task"] for pair in pairs))
    algorithms = list(dict.fromkeys(pair["algorithm"] for pair in pairs))
    runs = {(pair["algorithm"], pair["task"]): pair["runs"] for pair in pairs}
    rows = [[task, *("yes" if runs[a, task] else "-" for a in algorithms)] for task in tasks]
    table(rows, ["task", *algorithms])
    say()
    reasons = list(dict.fromkeys(pair["reason"] for pair in pairs if pair["reason"]))
    for reason in reasons:
        say(f"  - {reason}")


def _show_task(task: dict[str, Any]) -> None:
    heading(task["id"])
    given = task["demonstrations"]
    budget = ", ".join(f"{k} {v:g}" for k, v in task["budget"].items() if v is not None)
    rows = [
        ["about", task["summary"]],
        ["note", task["note"] or ""],
        ["not ready", task["lacks"] or ""],
        ["needs --data", task["needs_data"] or ""],
        ["environment", task["environment"]],
        ["transfer", task["transfer"] or ""],
        ["actions", task["actions"]],
        ["horizon", f"{task['horizon']} steps, discount {task['discount']:g}"],
        ["demonstrations", "all there are" if given is None else str(given)],
        ["preferences", "" if task["preferences"] is None else str(task["preferences"])],
        ["budget", budget or "none"],
        ["supplies", ", ".join(task["supplies"])],
        ["normalised", f"{task['primary']}: 0 is {task['low']}, 1 is {task['high']}"],
    ]
    table([row for row in rows if row[1]])
    say()
    better = {True: "higher is better", False: "lower is better"}
    for title, scores in (("scores", "scores"), ("scores of recovered rewards", "reward_scores")):
        if task[scores]:
            heading(title)
            table(
                [[s["name"], better[s["higher_is_better"]], s["description"]] for s in task[scores]]
            )
            say()
    heading("references")
    table(
        [
            [name, "  ".join(f"{key} {value:.4g}" for key, value in scores.items())]
            for name, scores in task["references"].items()
        ]
    )


def _show_configurable(entry: dict[str, Any]) -> None:
    heading(f"{entry['id']} (version {entry['version']})")
    rows = [
        ["about", entry["summary"]],
        ["paper", entry.get("paper", "")],
        ["worlds", ", ".join(entry["worlds"])],
        ["actions", ", ".join(entry["actions"])],
        ["tracks", "; ".join(f"{t} ({TRACKS.get(t, '')})" for t in entry.get("tracks", ()))],
        ["needs", _needs(entry["needs"])],
        ["can use", ", ".join(entry.get("optional", ()))],
        ["imports", ", ".join(entry.get("requires", ()))],
    ]
    table([row for row in rows if row[1]])
    say()
    heading("hyperparameters")
    changed = [w for w in WORLDS if any(w in h["worlds"] for h in entry["hyperparameters"])]
    rows = [
        [
            h["name"],
            _short(h["default"]),
            *(_short(h["worlds"][w]) if w in h["worlds"] else "" for w in changed),
            h["help"],
        ]
        for h in entry["hyperparameters"]
    ]
    if rows:
        table(rows, ["field", "default", *(f"in {world}" for world in changed), "what it is"])
        if "tracks" in entry:
            hint(f"\nchange one with --set {entry['id']}.{rows[0][0]}={rows[0][1] or 'VALUE'}")
    else:
        say("  none")


def _needs(needs: Any) -> str:
    """What it takes, told apart by track and world only where these differ."""
    if not isinstance(needs, dict):
        return ", ".join(needs) or "nothing"
    shown = {name: _needs(value) for name, value in needs.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return "; ".join(f"{name}: {told}" for name, told in shown.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _show_suite(suite: dict[str, Any]) -> None:
    heading(suite["name"])
    say(f"  {suite['summary']}")
    say(f"  seeds: {', '.join(str(seed) for seed in suite['seeds'])}")
    rows = []
    for entry in suite["entries"]:
        changed = [f"{k}={_short(v)}" for k, v in {**entry["settings"], **entry["budget"]}.items()]
        changed += [
            f"{name} {', '.join(map(str, entry[name]))}"
            for name in ("tracks", "demonstrations")
            if entry[name]
        ]
        rows.append([entry["task"], ", ".join(entry["algorithms"]), " ".join(changed)])
    table(rows)


_TABLES: Mapping[Kind, Callable[[list[dict[str, Any]]], None]] = {
    Kind.TASKS: _show_tasks,
    Kind.ALGORITHMS: _show_algorithms,
    Kind.SOLVERS: _show_solvers,
    Kind.SUITES: _show_suites,
    Kind.MATRIX: _show_matrix,
}
_DETAILS: Mapping[Kind, Callable[[dict[str, Any]], None]] = {
    Kind.TASKS: _show_task,
    Kind.ALGORITHMS: _show_configurable,
    Kind.SOLVERS: _show_configurable,
    Kind.SUITES: _show_suite,
}
