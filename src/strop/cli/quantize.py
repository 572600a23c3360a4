"""`strop quantize MODEL --data DATA -o OUT.onnx`: static INT8 as a standard QDQ ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Data, Json, ModelPath, PreprocessText


def command(
    model: ModelPath,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="the ONNX file to write")],
    preprocess: PreprocessText = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="how many samples to calibrate with")] = 300,
    json_: Json = False,
) -> int:
    """Quantize a model to INT8 and say how far its outputs are from the float model's."""
    from strop.cli.options import check_output
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.quantizing import quantize_to_file
    from strop.report.text import quantize_table

    check_output(output, keep=(model, data))
    with progress() as show:
        document = quantize_to_file(
            model, data, output, preprocess=preprocess, samples=samples, command=command_line(), on_event=show
        )
    for warning in document["warnings"]:
        errors_console().print(f"warning: {warning}", markup=False, soft_wrap=True)
    errors_console().print(quantize_table(document))
    if json_:
        write_json(document)
    return 0
