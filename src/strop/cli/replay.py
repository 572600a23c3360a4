"""`strop replay STUDY ID`: runs one trial of a study again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    study: Annotated[Path, typer.Argument(help="a .study.db file, as `strop optimize` writes it beside the bundle")],
    name: Annotated[
        str, typer.Argument(metavar="ID", help="a trial's key or its beginning, baseline, or confirmation")
    ],
    model: Annotated[str | None, typer.Option("--model", help="the model, where it is not where it was")] = None,
    data: Annotated[str | None, typer.Option("--data", help="the data, where they are not where they were")] = None,
    task: Annotated[str | None, typer.Option("--task", help="the task, which is code (file.py:Task)")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="the labels, where they are not there")] = None,
    decode: Annotated[str | None, typer.Option("--decode", help="the decoder, where it is code (file.py:name)")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="the metric, where it is code (file.py:name)")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="of the race (default: 6)")] = None,
    json_: Json = False,
) -> int:
    """Run one trial of a study again and compare its figures with the old ones."""
    from strop.cli.output import command_line, errors_console, progress, write_json
    from strop.optimize.replay import replay
    from strop.report.text import replay_table

    with progress() as show:
        document = replay(
            study,
            name,
            seconds=seconds,
            command=command_line(),
            on_event=show,
            model=model,
            data=data,
            task=task,
            labels=labels,
            decode=decode,
            metric=metric,
        )
    console = errors_console()
    console.print(replay_table(document))
    verdict = "agrees" if document["agrees"] else "differs"
    console.print(f"{document['label']} {verdict}: {document['words']}", markup=False, soft_wrap=True)
    if json_:
        write_json(document)
    return 0 if document["agrees"] else 1
