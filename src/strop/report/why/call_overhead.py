"""What a request costs beside its operations: the call, copies, waking threads."""

from __future__ import annotations

from strop.report.layers import sound_layers
from strop.report.phrases import percent, significant
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_SHARE = 0.2


def explain(record: Record) -> Explanation | None:
    """Speaks up where a fifth of a request's median is in none of its operations."""
    layers, latency = sound_layers(record), record.latency_ms("after")
    if layers is None or latency is None:
        return None
    beside = latency.low - layers.ms
    if beside < LEAST_SHARE * latency.low:
        return None
    return Explanation(
        "call overhead",
        f"At least {percent(beside / latency.low)} of a request is spent outside its operations.",
        (
            f"a request takes {significant(latency.point)} ms ({significant(latency.low)} at least)",
            f"its operations take {significant(layers.ms)} ms together, measured apart, one after the other",
        ),
        "several samples in one request, fewer threads for so small a model, or an engine with less work per call: "
        "`strop compare MODEL --engines native,onnxruntime,openvino`",
    )
