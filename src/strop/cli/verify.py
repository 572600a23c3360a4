"""`strop verify A B --data DATA`: how much accuracy B lost against A."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import DecodeText, Groups, Json, Labels, MaxDrop, MetricText, OptionalData, PreprocessText, Task


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="the original: an ONNX file or a bundle")],
    b: Annotated[str, typer.Argument(metavar="B", help="the other: an ONNX file or a bundle")],
    data: OptionalData = None,
    task: Task = None,
    labels: Labels = None,
    groups: Groups = None,
    preprocess: PreprocessText = None,
    decode: DecodeText = None,
    metric: MetricText = None,
    max_drop: MaxDrop = None,
    relative: Annotated[bool, typer.Option("--relative", help="the drop is a share of A's value")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="run 200 samples, and say how many it takes to certify --max-drop")
    ] = False,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="run no more samples than prove the drop within --max-drop, or beyond")
    ] = False,
    json_: Json = False,
) -> int:
    """Compare the accuracy of two models, paired on the same samples."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.verification import exceeds, verify
    from strop.report.text import flips_table, verify_notes, verify_table

    with progress() as show:
        document = verify(
            a,
            b,
            data,
            task=task,
            labels=labels,
            groups=groups,
            preprocess=preprocess,
            decode=decode,
            metric=metric,
            max_drop=max_drop,
            relative=relative,
            plan=plan,
            stop_early=stop_early,
            command=command_line(),
            on_event=show,
        )
    console = errors_console()
    for warning in document["warnings"]:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    console.print(verify_table(document))
    if document["flips"]["rows"]:
        console.print(flips_table(document["flips"]))
    for line in verify_notes(document):
        console.print(line, markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 1 if exceeds(document) else 0
