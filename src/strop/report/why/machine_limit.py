"""How near the operations are to what the machine can do at all."""

from __future__ import annotations

from strop.report.layers import sound_layers
from strop.report.phrases import percent, significant, times_as
from strop.report.record import Record
from strop.report.why.contract import Explanation

NEAR = 0.7


def explain(record: Record) -> Explanation | None:
    """Says how much of the machine's rate is used, where the study has the limit of most operations."""
    layers = sound_layers(record)
    if layers is None or layers.limit_ms is None or not layers.known_ms:
        return None
    used = layers.limit_ms / layers.known_ms
    evidence = (
        f"operations of {significant(layers.known_ms)} ms would take {significant(layers.limit_ms)} ms "
        "at the machine's full rate",
        f"that is {percent(used)} of the limit, weighted by time",
    )
    if used >= NEAR:
        return Explanation(
            "machine limit",
            "The machine is nearly at its limit: little is left to gain with the same arithmetic.",
            evidence,
            "less arithmetic (a smaller or pruned model, a smaller input, INT8), or another machine",
        )
    return Explanation(
        "machine limit",
        f"There is room: the same arithmetic at the machine's full rate would be {times_as(1 / used)} as fast.",
        evidence,
        "better kernels for the longest rows of the table; the rows below half of the limit are where to look",
    )
