"""What the faster form costs at its start, and after how many requests that is paid back."""

from __future__ import annotations

import math

from strop.report.phrases import significant
from strop.report.reading import mapping, positive
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_MS = 20.0


def explain(record: Record) -> Explanation | None:
    """Speaks up where the new form's first inference comes later than the old one's."""
    first = mapping(record.confirmation.get("first_inference_ms"))
    before, after = positive(first.get("before")), positive(first.get("after"))
    old, new = record.latency_ms("before"), record.latency_ms("after")
    if not record.gained or before is None or after is None or old is None or new is None:
        return None
    later, saved = after - before, old.point - new.point
    if later < LEAST_MS or saved <= 0:
        return None
    requests = math.ceil(later / saved)
    return Explanation(
        "first inference",
        f"It starts later: the first result comes {significant(later)} ms after the old form's.",
        (
            f"a fresh process takes {significant(before)} ms before, {significant(after)} ms now",
            f"a request saves {significant(saved)} ms, so the start is paid back after {requests:,} requests",
        ),
        "keep the process alive; for short-lived ones the engine `native`, whose bundle maps its machine code",
    )
