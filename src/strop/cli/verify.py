"""`strop verify A B --data DATA`: how much accuracy B lost against A."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import DecodeText, Json, Labels, MaxDrop, MetricText, OptionalData, PreprocessText, Task


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="the original: an ONNX file or a bundle")],
    b: Annotated[str, typer.Argument(metavar="B", help="the other: an ONNX file or a bundle")],
    data: OptionalData = None,
    task: Task = None,
    labels: Labels = None,
    preprocess: PreprocessText = None,
    decode: DecodeText = None,
    metric: MetricText = None,
    max_drop: MaxDrop = None,
    relative: Annotated[bool, typer.Option("--relative", help="the drop is a share of A's value")] = False,
    json_: Json = False,
) -> int:
    """Compare the accuracy of two models, paired on the same samples."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.verification import exceeds, verify
    from strop.report.text import verify_table

    with progress() as show:
        document = verify(
            a,
            b,
            data,
            task=task,
            labels=labels,
            preprocess=preprocess,
            decode=decode,
            metric=metric,
            max_drop=max_drop,
            relative=relative,
            command=command_line(),
            on_event=show,
        )
    errors_console().print(verify_table(document))
    if json_:
        write_json(document)
    return 1 if exceeds(document) else 0
