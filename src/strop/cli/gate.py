"""`strop gate MODEL --baseline FILE`: did this change make the model slower? For a user's CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json, Shapes, Threads, check_output


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="an ONNX file or a bundle")],
    baseline: Annotated[Path, typer.Option("--baseline", help="the file that keeps the old form and its figures")],
    update: Annotated[bool, typer.Option("--update", help="measure MODEL and make it the baseline")] = False,
    margin: Annotated[str, typer.Option("--margin", help="how much slower still passes: 5% or 0.05")] = "5%",
    engine: Annotated[
        str | None, typer.Option("--engine", help="for an ONNX file; settings after a colon (default: the baseline's)")
    ] = None,
    threads: Threads = None,
    objective: Annotated[str | None, typer.Option("--objective", help="latency or throughput")] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help=".npz with one array per input (default: the baseline's)")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help=".npz, .npy, a folder of images, or file.py:name; a few are timed")
    ] = None,
    preprocess: Annotated[str | None, typer.Option("--preprocess", help="for images: a preset or resize=...")] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="how many of the data are timed")] = 8,
    shape: Shapes = None,
    seconds: Annotated[float, typer.Option("--seconds", help="of the first run's turns")] = 5.0,
    strict_outputs: Annotated[
        bool, typer.Option("--strict-outputs", help="changed outputs fail, too; otherwise they are a warning")
    ] = False,
    json_: Json = False,
) -> int:
    """Compare a model with its baseline: exit 0 as fast, 1 slower, 4 cannot tell."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.errors import UsageError
    from strop.model.shapes import parse_shapes
    from strop.optimize.choices import checked_objective
    from strop.optimize.gate import gate, update_baseline
    from strop.optimize.gate_candidate import EngineChoice, Timed
    from strop.optimize.gate_verdict import EXIT_CODES, Outcome, parse_margin
    from strop.report.gate import gate_table

    if input_ is not None and data is not None:
        raise UsageError("usage.bad-option", "--input and --data exclude each other", hint="give one of them")
    if update:
        check_output(baseline)  # before anything is measured
    chosen = None if objective is None else checked_objective(objective)
    common = {
        "choice": EngineChoice(engine, threads, chosen),
        "timed": Timed(input_, data, preprocess, samples),
        "shapes": parse_shapes(shape or []),
        "seconds": seconds,
        "command": command_line(),
    }
    share = parse_margin(margin)
    with progress() as show:
        if update:
            document = update_baseline(model, baseline, on_event=show, **common)  # type: ignore[arg-type]
        else:
            document = gate(model, baseline, margin=share, on_event=show, **common)  # type: ignore[arg-type]
    for warning in document["warnings"]:
        errors_console().print(f"warning: {warning}", markup=False, soft_wrap=True)
    if not update:
        errors_console().print(gate_table(document))
    errors_console().print(document["words"], markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    code = EXIT_CODES[Outcome(document["verdict"])]
    changed = document.get("outputs") is not None and not document["outputs"]["same"]
    return 1 if strict_outputs and changed else code
