"""`strop breakdown file.py:app`: why is my application slower than the benchmark?"""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import Json, Threads


def command(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="file.py:app, its stages marked by strop.stage; or a model and --data"),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", help="a folder, .npz, .npy or file.py:name (default: items() beside app)"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="the model inside app: it is timed alone, as the benchmark")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="for an ONNX file; settings after a colon")] = "auto",
    threads: Threads = None,
    preprocess: Annotated[str | None, typer.Option("--preprocess", help="for images: a preset or resize=...")] = None,
    decode: Annotated[
        str | None,
        typer.Option("--decode", help="postprocessing: argmax, threshold, ctc:FILE, file.py:function"),
    ] = None,
    run: Annotated[str, typer.Option("--run-stage", help="the name of app's stage that runs the model")] = "run",
    seconds: Annotated[float, typer.Option("--seconds", "-t", help="of each of the three parts")] = 5.0,
    items: Annotated[
        int | None, typer.Option("--items", "-n", min=1, help="how many items, whatever time they take")
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap/--no-overlap", help="also run several items at once, one a stage")
    ] = True,
    json_: Json = False,
) -> int:
    """Break an application's time down by stage, and say what overlapping them gives."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.breakdown import breakdown
    from strop.report.breakdown import breakdown_lines, breakdown_table

    with progress() as show:
        document = breakdown(
            target,
            data=data,
            model=model,
            engine=engine,
            threads=threads,
            preprocess=preprocess,
            decode=decode,
            run=run,
            seconds=seconds,
            items=items,
            overlap=overlap,
            command=command_line(),
            on_event=show,
        )
    for warning in document["warnings"]:
        errors_console().print(f"warning: {warning}", markup=False, soft_wrap=True)
    errors_console().print(breakdown_table(document))
    for line in breakdown_lines(document):
        errors_console().print(line, markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 130 if document["interrupted"] else 0
