"""Parts that our compiler has no kernel for, and leaves to ONNX Runtime."""

from __future__ import annotations

from strop.report.layers import layers_of
from strop.report.phrases import counted, percent, significant
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_SHARE = 0.05


def explain(record: Record) -> Explanation | None:
    """Speaks up where such parts take at least a twentieth of the time."""
    layers = layers_of(record)
    if layers is None:
        return None
    elsewhere = sum(part.ms for part in layers.foreign)
    if elsewhere < LEAST_SHARE * layers.ms:
        return None
    evidence = tuple(
        f"{counted(part.nodes, 'node')}, {significant(part.ms)} ms on {part.engine}: {part.reason}"
        for part in sorted(layers.foreign, key=lambda part: -part.ms)[:3]
    )
    return Explanation(
        "not native",
        f"{percent(elsewhere / layers.ms)} of the time is spent in parts that are not machine code of our own.",
        evidence,
        "a kernel for what is named, or another operator in the model: `strop explain MODEL --engine native`",
    )
