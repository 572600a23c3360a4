"""`strop inspect MODEL`: what a model is: inputs, outputs, operators, cost, and what is special about it."""

from __future__ import annotations

from strop.cli.options import Json, ModelPath, Shapes


def command(model: ModelPath, shape: Shapes = None, json_: Json = False) -> int:
    """Show a model's inputs, outputs, operators and cost, and what will matter when it is optimized."""
    from strop.cli.output import command_line, errors_console, write_json
    from strop.model.inspect import inspect_model
    from strop.model.load import load_model
    from strop.model.shapes import parse_shapes
    from strop.report.text import inspect_tables

    loaded = load_model(model, shapes=parse_shapes(shape or []))
    document = {**inspect_model(loaded).to_json(), "command": command_line()}
    for table in inspect_tables(document):
        errors_console().print(table)
    if json_:
        write_json(document)
    return 0
