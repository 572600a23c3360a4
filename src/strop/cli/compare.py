"""`strop compare MODEL --engines A,B`: several engines on one model, side by side in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json, ModelPath, Shapes, Threads


def command(
    model: ModelPath,
    engines: Annotated[
        str, typer.Option("--engines", help="the baseline first; settings after a colon: openvino:threads=2,streams=1")
    ] = "onnxruntime,openvino,native",
    precision: Annotated[str, typer.Option("--precision", help="f32, or int8 for a quantized model")] = "f32",
    threads: Threads = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="of the turns together (default: 2.5 for each engine)")
    ] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help=".npz with one array per input (default: random)")
    ] = None,
    shape: Shapes = None,
    first_inference: Annotated[
        bool, typer.Option("--first-inference/--no-first-inference", help="in five fresh processes an engine")
    ] = True,
    json_: Json = False,
) -> int:
    """Compare engines: latency and verdict, agreement of outputs, first inference, memory."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.model.load import load_model
    from strop.model.shapes import parse_shapes
    from strop.optimize.choices import checked_precision
    from strop.optimize.comparison import compare_engines, enough_ran
    from strop.optimize.engine_list import split_engines
    from strop.optimize.sample_inputs import inputs_for
    from strop.report.text import comparison_notes, comparison_table

    loaded = load_model(model, shapes=parse_shapes(shape or []))
    with progress() as show:
        document = compare_engines(
            loaded,
            split_engines(engines),
            inputs_for(loaded, input_),
            precision=checked_precision(precision),
            threads=threads,
            seconds=seconds,
            first_inference=first_inference,
            command=command_line(),
            on_event=show,
        )
    for warning in document["warnings"]:
        errors_console().print(f"warning: {warning}", markup=False)
    errors_console().print(comparison_table(document))
    for note in comparison_notes(document):
        errors_console().print(note, markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 0 if enough_ran(document) else 3
