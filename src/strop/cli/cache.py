"""`strop cache`: what is kept between runs, where, and how often it helped; or empties it."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    clear: Annotated[bool, typer.Option("--clear", help="remove every entry")] = False,
    json_: Json = False,
) -> int:
    """Show or clear what is kept between runs: compiled models, machine code, notes of checked bundles."""
    from strop.cli.output import command_line, errors_console, write_json
    from strop.compiler.cache_folder import clear_cache, describe_cache
    from strop.report.text import cache_table

    cleared = clear_cache() if clear else None
    document = {**describe_cache(), "cleared": cleared, "command": command_line()}
    if cleared is not None:
        errors_console().print(f"removed {cleared['entries']} entries, {cleared['bytes'] / 2**20:.1f} MiB")
    errors_console().print(cache_table(document))
    if json_:
        write_json(document)
    return 0
