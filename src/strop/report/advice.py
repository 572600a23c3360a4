"""Advice for a terminal: what to do, what not to do, what to know; why, and the line that does it."""

from __future__ import annotations

from collections.abc import Iterator

from strop.report.text import Document

_HEADINGS = {"do": "Do", "do not": "Do not", "know": "Know"}


def advice_lines(document: Document) -> Iterator[str]:
    """Yields the lines of `strop advise`."""
    yield f"{document['model'].get('name', 'model')}: advice"
    for kind, heading in _HEADINGS.items():
        chosen = [one for one in document["recommendations"] if one["kind"] == kind]
        if not chosen:
            continue
        yield ""
        yield heading
        for one in chosen:
            yield f"  * {one['text']}"
            if one["reason"]:
                yield f"      why: {one['reason']}"
            for what in ("command", "python"):
                if one[what]:
                    yield f"      {what}: {one[what]}"
    if document.get("path"):
        yield ""
        yield "The way from here, with what you have"
        for number, step in enumerate(document["path"], 1):
            yield f"  {number}. {step['text']}" + (f"\n      {step['command']}" if step["command"] else "")
