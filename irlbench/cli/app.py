"""The commands, and what happens when one ends: exit codes and error messages."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from irlbench.cli import (
    check,
    data,
    doctor,
    experts,
    export,
    listing,
    models,
    report,
    rescore,
    run,
    status,
    watch,
)
from irlbench.cli.options import Quiet, Verbose
from irlbench.cli.output import VERBOSITY, complain, say
from irlbench.errors import IrlbenchError, UsageError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 130, 141
_HELP = {"help_option_names": ["--help", "-h"]}


def _group(name: str | None, help: str, **settings: Any) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=help,
        context_settings=_HELP,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        invoke_without_command=True,
        **settings,
    )


def _help_if_alone(context: typer.Context) -> None:
    """Without a command there is nothing to do but say which there are."""
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(EXIT_USAGE)


app = _group(
    "irlbench",
    "A benchmark for inverse reinforcement learning and imitation: gridworlds, control, text.",
    epilog="Begin with: irlbench run smoke\n\nthen: irlbench report runs/smoke",
)
data_app = _group(
    "data", "Demonstrations and preferences: what there is, making more, bringing your own."
)
models_app = _group("models", "The language models that ship.")
experts_app = _group("experts", "The experts that demonstrate the tasks.")


def _show_version(value: bool) -> None:
    if value:
        import irlbench

        say(f"irlbench {irlbench.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="The version."),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """A benchmark for inverse reinforcement learning and imitation: gridworlds, control, text."""
    _help_if_alone(context)


_RUNNING, _LOOKING, _MAKING = "Benchmark", "Look", "Prepare"
app.command("run", rich_help_panel=_RUNNING, epilog=run.EXAMPLES)(run.run)
app.command("status", rich_help_panel=_RUNNING)(status.status)
app.command("report", rich_help_panel=_RUNNING)(report.report)
app.command("export", rich_help_panel=_RUNNING)(export.export)
app.command("rescore", rich_help_panel=_RUNNING)(rescore.rescore)
app.command("check", rich_help_panel=_RUNNING, epilog=check.EXAMPLES)(check.check)
app.command("list", rich_help_panel=_LOOKING, epilog=listing.EXAMPLES)(listing.list_command)
app.command("watch", rich_help_panel=_LOOKING, epilog=watch.EXAMPLES)(watch.watch)
app.command("doctor", rich_help_panel=_LOOKING)(doctor.doctor)
data_app.command("list")(data.list_command)
data_app.command("build", epilog=data.BUILD_EXAMPLES)(data.build_command)
data_app.command("import", epilog=data.IMPORT_EXAMPLES)(data.import_command)
data_app.command("export", epilog=data.EXPORT_EXAMPLES)(data.export_command)
models_app.command("train")(models.train)
experts_app.command("train", epilog=experts.EXAMPLES)(experts.train)
experts_app.command("evaluate")(experts.evaluate)
for _child in (data_app, models_app, experts_app):
    _child.callback()(_help_if_alone)
    app.add_typer(_child, rich_help_panel=_MAKING)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and turns what it raised into a message and an exit code.

    Args:
        arguments: What follows `irlbench`; None takes the process's own.

    Returns:
        The exit code.
    """
    _open_what_was_closed()
    _replace_what_cannot_be_written()
    VERBOSITY.verbose = VERBOSITY.quiet = VERBOSITY.complained = False
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = typer.main.get_command(app).main(
            args=given, prog_name="irlbench", standalone_mode=False
        )
        sys.stdout.flush()
    except IrlbenchError as error:
        _explain(error, str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except SystemExit as ended:
        # Typer ends the process itself where a pipe was closed, and for shell completion.
        if isinstance(ended.__context__, OSError) and ended.__context__.errno == errno.EPIPE:
            return _broken_pipe()
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            return EXIT_FAILED
        _explain_usage(error)
        return int(getattr(error, "exit_code", EXIT_USAGE))
    if code == EXIT_INTERRUPTED and not VERBOSITY.complained:
        complain("interrupted")
    return code if isinstance(code, int) else 0


def _explain(error: BaseException, message: str) -> None:
    if VERBOSITY.verbose:
        traceback.print_exception(error)
    complain(message)


def _explain_usage(error: Any) -> None:
    """Prints an error of the argument parser in the form of our own."""
    message = error.format_message()
    possible = getattr(error, "possibilities", None)
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        message = f"unknown option {error.option_name!r}"
        if possible:
            message += f"; did you mean {' or '.join(repr(p) for p in sorted(possible))}?"
    _explain(error, message)
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"`{context.command_path} --help` shows what there is\n")


def _broken_pipe() -> int:
    """Whoever read the output has closed it: nothing more can be said, at exit neither."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):
            continue
    return EXIT_PIPE


def _open_what_was_closed() -> None:
    """Leads standard streams that the caller has closed nowhere; else a file takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _replace_what_cannot_be_written() -> None:
    """Letters that a stream's encoding lacks become question marks instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
