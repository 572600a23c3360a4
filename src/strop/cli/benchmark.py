"""`strop benchmark MODEL`: one engine's latency, its throughput under load, or the curve of both."""

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
    seconds: Annotated[
        float | None, typer.Option("--seconds", "-t", help="how long (default: 5; with --curve, each point: 2)")
    ] = None,
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
    curve: Annotated[
        bool, typer.Option("--curve", help="throughput and latency over streams, batch and requests in flight")
    ] = False,
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", help="with --curve: mark the most throughput within p90=10ms")
    ] = None,
    streams: Annotated[str | None, typer.Option("--streams", help="with --curve: which ones, as 1,2,4")] = None,
    batches: Annotated[str | None, typer.Option("--batches", help="with --curve: which ones, as 1,4,16")] = None,
    tune: Tune = False,
    json_: Json = False,
) -> int:
    """Benchmark one engine on one model."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.model.batch import with_batch
    from strop.model.load import load_model
    from strop.model.shapes import parse_shapes
    from strop.optimize.benchmark_curve import benchmark_curve, check_curve_options, parse_counts
    from strop.optimize.benchmarking import benchmark_model
    from strop.optimize.choices import checked_objective
    from strop.optimize.engine_list import chosen_engine
    from strop.optimize.latency_limit import parse_latency_limit
    from strop.optimize.sample_inputs import inputs_for
    from strop.optimize.tuning import tune_first
    from strop.report.curve import curve_notes, curve_table
    from strop.report.text import benchmark_table

    only_with = {"--max-latency": max_latency, "--streams": streams, "--batches": batches}
    load = {"--requests": requests, "--rate": rate, "--poisson": poisson, "--iterations": iterations}
    never_with = {**load, "--batch": batch if batch > 1 else None, "--first-inference": first_inference}
    check_curve_options(curve, only_with=only_with, never_with=never_with)
    loaded = load_model(model, shapes=parse_shapes(shape or []))
    if batch > 1:
        loaded = with_batch(loaded, batch)
    names, settings = chosen_engine(engine, loaded, threads=threads, objective=checked_objective(objective))
    with progress() as show:
        if tune:
            settings = tune_first(loaded, names, settings, on_event=show)
        if curve:
            document = benchmark_curve(
                loaded,
                inputs_for(loaded, input_),
                engines=names,
                settings=settings,
                limit=parse_latency_limit(max_latency) if max_latency else None,
                streams=parse_counts("--streams", streams),
                batches=parse_counts("--batches", batches),
                seconds=seconds,
                command=command_line(),
                on_event=show,
            )
        else:
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
    console = errors_console()
    for warning in document["warnings"]:
        console.print(f"warning: {warning}", markup=False)
    console.print(curve_table(document) if curve else benchmark_table(document))
    for note in curve_notes(document["curve"]) if curve else ():
        console.print(note, markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 0
