"""`strop explain MODEL --engine native`: which kernel computes what, how fast, and what is not native and why."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strop.cli.options import Json, ModelPath, Shapes, Tune


def command(
    model: ModelPath,
    engine: Annotated[str, typer.Option("--engine", help="the engine to explain: native")] = "native",
    show: Annotated[
        str | None, typer.Option("--show", help="print a level: operations, fused, views, plan, llvm or assembly")
    ] = None,
    isa: Annotated[str | None, typer.Option("--isa", help="the ISA level (default: the best of this CPU)")] = None,
    winograd: Annotated[str, typer.Option("--winograd", help="auto or off")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, help="threads")] = 1,
    tune: Tune = False,
    shape: Shapes = None,
    json_: Json = False,
) -> int:
    """Show what the engine makes of a model: kernel, tile, time and share of the machine's rate, per operation."""
    from strop.cli.output import command_line, errors_console, write_json
    from strop.engines.native.explain import explain
    from strop.errors import UsageError
    from strop.model.load import load_model
    from strop.model.shapes import parse_shapes
    from strop.report.explain import explain_notes, explain_table

    if engine != "native":
        raise UsageError(
            "usage.bad-option",
            "only the engine native can be explained",
            got=engine,
            expected="native",
            hint="strop compare MODEL shows other engines' times",
        )
    if winograd not in ("auto", "off"):
        raise UsageError(
            "usage.bad-option", "winograd is either used or not", got=winograd, expected="auto or off", hint="auto"
        )
    loaded = load_model(model, shapes=parse_shapes(shape or []))
    document = explain(
        loaded, isa=isa, winograd="off" if winograd == "off" else "auto", threads=threads, show=show, tune=tune
    )
    if show and not json_:
        sys.stdout.write(f"{document['text']}\n")
        return 0
    console = errors_console()
    console.print(explain_table(document))
    for line in explain_notes(document):
        console.print(line, markup=False)
    if json_:
        write_json({**document, "command": command_line()})
    return 0
