"""`strop report STUDY -o page.html`: what a search found, as a page of its own or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli.options import Json


def command(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="the .study.db file that `strop optimize` wrote")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the page to write (default: beside the study, NAME.report.html)"),
    ] = None,
    json_: Json = False,
) -> int:
    """Write the page of a study: verdict, what was gained by what, accuracy, every trial, how to rerun every number."""
    from strop.cli.options import check_output
    from strop.cli.output import errors_console, write_json
    from strop.report.document import report_document
    from strop.report.opening import page_path, study_contents
    from strop.report.page import page
    from strop.report.record import record_of
    from strop.report.sections.verdict import verdict
    from strop.runtime.whole_file import write_whole

    contents = study_contents(study)
    record = record_of(contents)
    if output is not None or not json_:
        target = output or page_path(study)
        check_output(target, keep=(str(study),))
        write_whole(target, [page(record, study=str(study)).encode()])
        errors_console().print(f"written: {target}", markup=False, soft_wrap=True)
    errors_console().print(verdict(record).sentence, markup=False, soft_wrap=True)
    if json_:
        write_json(report_document(record, contents, study=str(study)))
    return 0
