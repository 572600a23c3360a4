"""The commands, as one readable list, and what all of them share: errors, exit codes, Ctrl-C."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable

import typer

from strop import __version__
from strop.cli.output import errors_console
from strop.errors import StropError

COMMANDS = (
    "optimize",
    "report",
    "replay",
    "advise",
    "compare",
    "benchmark",
    "quantize",
    "verify",
    "gate",
    "breakdown",
    "inspect",
    "explain",
    "run",
    "doctor",
    "cache",
    "demo",
)
"""Each is `strop.cli.NAME.command`, in the order of the help page."""


def build() -> typer.Typer:
    """Returns the application with every command."""
    app = typer.Typer(
        name="strop",
        help="Takes a trained neural network and gives back its fastest deployable form, with the evidence.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name in COMMANDS:
        command = importlib.import_module(f"strop.cli.{name}").command
        app.command(name)(_guarded(command))
    return app


def _options(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=lambda value: _version(value)),
) -> None:
    """Takes a trained neural network and gives back its fastest deployable form, with the evidence."""


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"strop {__version__}\n")
        raise typer.Exit(0)


def _guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turns errors into a message on stderr (a document with --json) and the exit codes of the house."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            code = command(*arguments, **options) or 0
        except StropError as error:
            if options.get("json_"):
                sys.stdout.write(json.dumps({"schema": "strop.error/1", "error": error.to_json()}) + "\n")
            errors_console().print(
                f"error: {error}\n  code: {error.code}", markup=False, highlight=False, soft_wrap=True
            )
            code = error.exit_code
        except KeyboardInterrupt:
            errors_console().print("interrupted", markup=False)
            code = 130
        raise typer.Exit(code)

    return run
