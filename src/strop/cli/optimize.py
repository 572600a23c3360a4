"""`strop optimize MODEL --data DATA -o OUT.strop`: the main job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import (
    DecodeText,
    Json,
    Labels,
    MaxDrop,
    MetricText,
    ModelPath,
    OptionalData,
    PreprocessText,
    Shapes,
    Task,
)


def command(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="the bundle to write (.strop)")],
    data: OptionalData = None,
    task: Task = None,
    labels: Labels = None,
    preprocess: PreprocessText = None,
    decode: DecodeText = None,
    metric: MetricText = None,
    max_drop: MaxDrop = None,
    relative: Annotated[bool, typer.Option("--relative", help="the drop is a share of the baseline's value")] = False,
    min_agreement: Annotated[
        float | None,
        typer.Option("--min-agreement", help="without labels: least share of unchanged top answers (default 0.99)"),
    ] = None,
    objective: Annotated[str, typer.Option("--objective", "--hint", help="latency or throughput")] = "latency",
    engines: Annotated[str | None, typer.Option("--engines", help="engines to search (default: all installed)")] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="wall time of the whole command: 90s, 3m, 1h")] = None,
    shape: Shapes = None,
    json_: Json = False,
) -> int:
    """Find the fastest form of a model that keeps its accuracy, and prove it."""
    from strop.cli.options import check_output
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.measure.clock import process_started
    from strop.model.shapes import parse_shapes
    from strop.optimize.api import optimize
    from strop.optimize.choices import checked_objective
    from strop.optimize.engine_list import split_engines
    from strop.report.text import before_after_table, trials_table, verdict_sentence

    check_output(output, keep=(model, *([data] if data else ())))
    with progress() as show:
        result = optimize(
            model,
            data,
            task=task,
            labels=labels,
            metric=metric,
            max_drop=max_drop,
            budget=budget,
            output=output,
            decode=decode,
            preprocess=preprocess,
            relative=relative,
            min_agreement=min_agreement,
            objective=checked_objective(objective),
            engines=split_engines(engines) if engines else None,
            shapes=parse_shapes(shape or []),
            started=process_started(),
            command=command_line(),
            on_event=show,
        )
    console = errors_console()
    console.print(trials_table(result.document["trials"]))
    console.print(before_after_table(result.document))
    console.print(f"written: {result.bundle} and {result.study}", markup=False, soft_wrap=True)
    console.print(f"a page of it: {shlex.join(['strop', 'report', str(result.study)])}", markup=False, soft_wrap=True)
    console.print(verdict_sentence(result.document), markup=False, soft_wrap=True)
    if json_:
        write_json(result.document)
    return 0
