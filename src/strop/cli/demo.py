"""`strop demo`: reads text from images, faster, no character lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the folder to write out.strop, result.json and out.html to")
    ] = Path("demo"),
    json_: Json = False,
) -> int:
    """Run the main job on a real text recognizer and 400 rendered lines."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.demo import run_demo
    from strop.measure.clock import process_started
    from strop.report.opening import open_record
    from strop.report.page import page
    from strop.report.text import before_after_table, trials_table, verdict_sentence
    from strop.runtime.whole_file import write_whole

    with progress() as show:
        document = run_demo(output, started=process_started(), command=command_line(), on_event=show)
    console = errors_console()
    console.print(trials_table(document["trials"]))
    console.print(before_after_table(document))
    if json_:
        write_json(document)
    page_of_study = output / "out.html"
    write_whole(page_of_study, [page(open_record(document["study"]), study=document["study"]).encode()])
    written = f"{output / 'out.strop'}, {output / 'result.json'} and {page_of_study}"
    console.print(f"written: {written}", markup=False, soft_wrap=True)
    console.print(verdict_sentence(document), markup=False, soft_wrap=True)
    return 0
