"""`strop advise MODEL|STUDY`: what to do next, each sentence with the figures measured for it on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import DecodeText, Json, Labels, MaxDrop, MetricText, PreprocessText, Shapes


def command(
    target: Annotated[str, typer.Argument(metavar="MODEL|STUDY", help="an ONNX file, or the study of a search")],
    data: Annotated[
        str | None, typer.Option("--data", help="as for optimize; 8 bits are then judged on it, not only timed")
    ] = None,
    labels: Labels = None,
    preprocess: PreprocessText = None,
    decode: DecodeText = None,
    metric: MetricText = None,
    max_drop: MaxDrop = None,
    objective: Annotated[
        str, typer.Option("--objective", help="latency, throughput, mixed, first-inference or memory")
    ] = "latency",
    training: Annotated[bool, typer.Option("--training", help="the model can be trained again")] = False,
    time: Annotated[str | None, typer.Option("--time", help="how long optimizing may take: 10m, 2h")] = None,
    shape: Shapes = None,
    json_: Json = False,
) -> int:
    """Say what to do next with a model, and what not, with measured evidence."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.errors import UsageError
    from strop.model.shapes import parse_shapes
    from strop.optimize.advice.advise import advise
    from strop.optimize.advice.from_study import advise_from_study, is_study
    from strop.report.advice import advice_lines

    if is_study(target):
        given = {"--data": data, "--labels": labels, "--max-drop": max_drop, "--time": time, "--training": training}
        idle = [name for name, value in given.items() if value]
        if idle:
            hint = "leave it out: a study knows what its run was given"
            raise UsageError("usage.bad-option", f"{idle[0]} does nothing here", got=idle[0], hint=hint)
        document = advise_from_study(target, command=command_line())
    else:
        with progress() as show:
            document = advise(
                target,
                data=data,
                labels=labels,
                preprocess=preprocess,
                decode=decode,
                metric=metric,
                max_drop=max_drop,
                goal=objective,
                training=training,
                time=time,
                shapes=parse_shapes(shape or []),
                command=command_line(),
                on_event=show,
            )
    console = errors_console()
    for warning in document["warnings"]:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    for line in advice_lines(document):
        console.print(line, markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 0
