"""Operations that wait for memory, not for arithmetic."""

from __future__ import annotations

from strop.report.layers import sound_layers
from strop.report.phrases import counted, percent, significant
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_SHARE = 0.25


def explain(record: Record) -> Explanation | None:
    """Speaks up where operations whose limit is memory take at least a quarter of the time."""
    layers = sound_layers(record)
    if layers is None:
        return None
    waiting = [row for row in layers.rows if row.bound == "memory"]
    share = layers.share(waiting)
    if share < LEAST_SHARE:
        return None
    longest = waiting[0]
    return Explanation(
        "memory bandwidth",
        f"{percent(share)} of the time goes to operations that move more than they compute.",
        (
            f"{counted(len(waiting), 'operation')} of {len(layers.rows)} would wait for bytes even at the full rate",
            f"the longest: {longest.name}, {significant(longest.ms)} ms",
        ),
        "fewer bytes: INT8 weights and activations, fusing with what is before and behind, a smaller batch that stays "
        "in cache; more threads help little",
    )
