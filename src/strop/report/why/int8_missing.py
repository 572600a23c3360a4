"""Engines for which no INT8 form could be made."""

from __future__ import annotations

from strop.report.record import Record
from strop.report.why.contract import Explanation


def explain(record: Record) -> Explanation | None:
    """Speaks up where quantizing failed for another reason than time or accuracy."""
    evidence = [
        one.words
        for one in record.decisions
        if one.words.startswith("INT8 for") and " dropped: " in one.words and "budget" not in one.words
    ]
    if not evidence:
        return None
    return Explanation(
        "INT8 missing",
        "For some engines there is no INT8 form to try.",
        tuple(dict.fromkeys(evidence)),
        "what the reason names; `strop quantize MODEL --data DATA` shows it alone",
    )
