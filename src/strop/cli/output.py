"""Where the command line writes: data on stdout, talk on stderr."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from strop.documents import to_text
from strop.optimize.events import Event, Listener

WIDTH_OF_FILES = 140
"""Tables that go to a file or a pipe are not squeezed into the 80 columns of a terminal nobody has."""


@functools.cache
def errors_console() -> Console:
    """Returns the console on stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console


def write_json(document: Mapping[str, object]) -> None:
    """Writes one document on stdout."""
    sys.stdout.write(to_text(document, indent=1) + "\n")
    sys.stdout.flush()


def command_line() -> str:
    """Returns the line that runs this command again."""
    return shlex.join(["strop", *sys.argv[1:]])


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Listener]:
    """Shows events while the body runs: a moving line on a terminal, plain lines elsewhere."""
    console = errors_console()
    if quiet:
        yield lambda event: None
        return
    if not console.is_terminal:
        yield lambda event: _line(console, event)
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0, left="")

        def show(event: Event) -> None:
            left = "" if event.remaining_seconds is None else f"{event.remaining_seconds:.0f} s left"
            if event.kind in ("stage", "progress"):
                bar.update(task, description=event.message, completed=event.fraction or 0.0, left=left)
            else:
                _line(console, event)

        yield show


def _line(console: Console, event: Event) -> None:
    if event.kind != "progress":
        mark = {"warning": "warning: ", "decision": "  ", "plan": "", "stage": ""}[event.kind]
        console.print(f"{mark}{event.message}", markup=False, soft_wrap=True)
