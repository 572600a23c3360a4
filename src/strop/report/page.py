"""The page of a study: one self-contained HTML file, without script, font, style or picture from elsewhere.

A pure function of the record: the same study gives the same bytes. Every string of the study is escaped.
"""

from __future__ import annotations

import functools
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from strop.report.record import Record
from strop.report.sections.accuracy import accuracy
from strop.report.sections.attempts import attempts
from strop.report.sections.gains import gains
from strop.report.sections.key_figures import key_figures
from strop.report.sections.limits import limits
from strop.report.sections.load import load
from strop.report.sections.machine import machine_rows, run_rows
from strop.report.sections.rerun import reruns
from strop.report.sections.speed import speeds
from strop.report.sections.starting import starting
from strop.report.sections.verdict import verdict
from strop.report.sections.where import where
from strop.report.why.rules import explanations


def page(record: Record, *, study: str = "") -> str:
    """Returns the page of a record as HTML; study: the path of the study, for the command that writes the page again.

    Example:
        >>> "Unfinished: " in page(Record({"model": {"name": "<b>"}}))
        True
    """
    environment = _environment()
    return environment.get_template("page.html").render(
        style=_style(),
        record=record,
        verdict=verdict(record),
        key_figures=key_figures(record),
        gains=gains(record),
        speeds=speeds(record),
        accuracy=accuracy(record),
        starting=starting(record),
        where=where(record),
        explanations=explanations(record),
        limits=limits(record),
        load=load(record),
        attempts=attempts(record),
        machine=machine_rows(record),
        run=run_rows(record),
        reruns=reruns(record, study),
    )


@functools.cache
def _style() -> Markup:
    return Markup(files("strop.report").joinpath("templates", "style.css").read_text("utf8"))


def _code(words: str) -> Markup:
    """Returns words with what stands between backticks as code; all of it escaped."""
    parts = words.split("`")
    if len(parts) % 2 == 0:
        return escape(words)
    tags = (Markup("<code>{}</code>") if index % 2 else Markup("{}") for index in range(len(parts)))
    return Markup("").join(tag.format(part) for tag, part in zip(tags, parts, strict=True))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("strop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _code
    return environment
