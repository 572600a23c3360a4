"""`strop run BUNDLE --input x.npz`: runs a bundle once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    bundle: Annotated[Path, typer.Argument(help="a .strop file")],
    input_: Annotated[Path, typer.Option("--input", "-i", help=".npz with one array per input")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".npz to write the outputs to")] = None,
    json_: Json = False,
) -> int:
    """Run a bundle on one set of inputs."""
    from strop.cli.options import check_output
    from strop.cli.output import command_line, errors_console, write_json
    from strop.report.outputs import describe_outputs
    from strop.report.text import run_table
    from strop.runtime.run import run_bundle

    if output is not None:
        check_output(output, keep=(str(bundle), str(input_)))
    document = describe_outputs(run_bundle(bundle, input_, output=output)) | {"command": command_line()}
    errors_console().print(run_table(document))
    if json_:
        write_json(document)
    return 0
