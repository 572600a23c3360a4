"""`strop doctor`: what this machine is, which engines work, and whether it is quiet enough to measure."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="of the noise self-test; 0 leaves it out")
    ] = 10.0,
    rates: Annotated[
        bool, typer.Option("--rates", help="measure what one thread attains: operations and bytes a second")
    ] = False,
    json_: Json = False,
) -> int:
    """Show the machine, the engines, and how noisy it is here."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.diagnosis import diagnose
    from strop.report.text import doctor_tables

    with progress() as show:
        document = {**diagnose(noise_seconds=seconds, rates=rates, on_event=show), "command": command_line()}
    for table in doctor_tables(document):
        errors_console().print(table)
    if json_:
        write_json(document)
    return 0
