"""`strop optimize MODEL --data DATA -o OUT.strop`: the main job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from strop.cli.options import (
    DecodeText,
    Groups,
    Json,
    Labels,
    MaxDrop,
    MetricText,
    OptionalData,
    PreprocessText,
    Shapes,
    Task,
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="an ONNX file, or a folder of them")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the bundle to write (.strop); of a folder, a folder")],
    data: OptionalData = None,
    task: Task = None,
    labels: Labels = None,
    groups: Groups = None,
    expect: Annotated[
        str | None,
        typer.Option("--expect", help="the figure the model is known for, 71.9%: refuse where it does not come out"),
    ] = None,
    preprocess: PreprocessText = None,
    decode: DecodeText = None,
    metric: MetricText = None,
    max_drop: MaxDrop = None,
    relative: Annotated[bool, typer.Option("--relative", help="the drop is a share of the baseline's value")] = False,
    min_agreement: Annotated[
        float | None,
        typer.Option("--min-agreement", help="without labels: least share of unchanged top answers (default 0.99)"),
    ] = None,
    max_latency: Annotated[
        list[str] | None,
        typer.Option("--max-latency", help="p99=10ms, p50=5ms or mean=5ms (may be repeated): exit 1 where not kept"),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="of the whole process: 200MB, 1.5GB; exit 1 where not kept")
    ] = None,
    min_throughput: Annotated[
        str | None, typer.Option("--min-throughput", help="inferences per second: 100; exit 1 where not kept")
    ] = None,
    objective: Annotated[str, typer.Option("--objective", "--hint", help="latency or throughput")] = "latency",
    engines: Annotated[str | None, typer.Option("--engines", help="engines to search (default: all installed)")] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="wall time of the whole command: 90s, 3m, 1h")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with the study beside the output: no finished trial is repeated")
    ] = False,
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
    from strop.optimize.several import exit_code, exit_code_of, optimize_folder
    from strop.report.afterwards import afterwards_tables
    from strop.report.text import before_after_table, folder_table, limits_table, trials_table, verdict_sentence

    options: dict[str, Any] = {
        "data": data,
        "task": task,
        "labels": labels,
        "groups": groups,
        "expect": expect,
        "metric": metric,
        "max_drop": max_drop,
        "budget": budget,
        "output": output,
        "decode": decode,
        "preprocess": preprocess,
        "relative": relative,
        "min_agreement": min_agreement,
        "max_latency": max_latency,
        "max_memory": max_memory,
        "min_throughput": min_throughput,
        "objective": checked_objective(objective),
        "engines": split_engines(engines) if engines else None,
        "resume": resume,
        "shapes": parse_shapes(shape or []),
        "started": process_started(),
        "command": command_line(),
    }
    console = errors_console()
    if Path(model).is_dir():
        with progress() as show:
            document = optimize_folder(Path(model), **options, on_event=show)
        console.print(folder_table(document))
        if json_:
            write_json(document)
        return exit_code(document)
    check_output(output, keep=(model, *([data] if data else ())))
    with progress() as show:
        result = optimize(model, **options, on_event=show)
    console.print(trials_table(result.document["trials"]))
    console.print(before_after_table(result.document))
    if result.document["limits"]:
        console.print(limits_table(result.document))
    for table in afterwards_tables(result.document):
        console.print(table)
    for name in ("flips", "slices"):
        if result.document.get(name):
            console.print(result.document[name]["words"], markup=False, soft_wrap=True)
    console.print(f"written: {result.bundle} and {result.study}", markup=False, soft_wrap=True)
    console.print(f"a page of it: {shlex.join(['strop', 'report', str(result.study)])}", markup=False, soft_wrap=True)
    console.print(verdict_sentence(result.document), markup=False, soft_wrap=True)
    if json_:
        write_json(result.document)
    return exit_code_of(result.document)
