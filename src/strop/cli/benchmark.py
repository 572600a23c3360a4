"""`strop benchmark MODEL`: one engine's latency, or its throughput under load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json, ModelPath, Shapes, Threads, Tune


def command(
    model: ModelPath,
    engine: Annotated[str, typer.Option("--engine", help="engine, with settings after a colon")] = "auto",
    objective: Annotated[str, typer.Option("--objective", "--hint", help="latency or throughput")] = "latency",
    threads: Threads = None,
    requests: Annotated[int | None, typer.Option("--requests", min=1, help="requests in flight")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="requests a second; latency counts from the arrival")
    ] = None,
    poisson: Annotated[bool, typer.Option("--poisson", help="arrivals at random, with --rate")] = False,
    seconds: Annotated[float | None, typer.Option("--seconds", "-t", help="how long (default: 5)")] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", "-n", min=1, help="how many; with --seconds, until both are reached")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "-b", min=1, help="batch size")] = 1,
    input_: Annotated[
        Path | None, typer.Option("--input", help=".npz with one array per input (default: random)")
    ] = None,
    shape: Shapes = None,
    first_inference: Annotated[
        bool, typer.Option("--first-inference", help="also import, read, compile, first run, in fresh processes")
    ] = False,
    tune: Tune = False,
    json_: Json = False,
) -> int:
    """Benchmark one engine on one model."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.model.batch import with_batch
    from strop.model.load import load_model
    from strop.model.shapes import parse_shapes
    from strop.optimize.benchmarking import benchmark_model
    from strop.optimize.choices import checked_objective
    from strop.optimize.engine_list import chosen_engine
    from strop.optimize.sample_inputs import inputs_for
    from strop.optimize.tuning import tune_first
    from strop.report.text import benchmark_table

    loaded = load_model(model, shapes=parse_shapes(shape or []))
    if batch > 1:
        loaded = with_batch(loaded, batch)
    names, settings = chosen_engine(engine, loaded, threads=threads, objective=checked_objective(objective))
    with progress() as show:
        if tune:
            settings = tune_first(loaded, names, settings, on_event=show)
        document = benchmark_model(
            loaded,
            inputs_for(loaded, input_),
            engines=names,
            settings=settings,
            requests=requests,
            rate=rate,
            poisson=poisson,
            seconds=seconds,
            iterations=iterations,
            batch=batch,
            first_inference=first_inference,
            command=command_line(),
            on_event=show,
        )
    for warning in document["warnings"]:
        errors_console().print(f"warning: {warning}", markup=False)
    errors_console().print(benchmark_table(document))
    if json_:
        write_json(document)
    return 0
