"""Depthwise, elementwise and moving operations: much time for little arithmetic."""

from __future__ import annotations

import re

from strop.report.layers import sound_layers
from strop.report.phrases import counted, percent, significant
from strop.report.record import Record
from strop.report.why.contract import Explanation

LEAST_SHARE = 0.25
_LIGHT = re.compile(
    r"depthwise|groupconv|^(add|mul|sub|div|relu|clip|sigmoid|tanh|pow|sqrt|erf|softmax|eltwise|fakequantize|"
    r"quantizelinear|dequantizelinear|layernorm\w*|batchnorm\w*|mvn|transpose|reshape|concat|slice|split|gather|pad|"
    r"resize|interpolate|reorder\w*|copy|border|pointwise|pool\w*|\w*pool|globalaverage\w*|global_average|reduce\w*|"
    r"math|cast|convert)$",
    re.I,
)


def is_light(kind: str) -> bool:
    """Whether operations of this kind do little arithmetic for each byte.

    Example:
        >>> is_light("Add"), is_light("Conv"), is_light("depthwise"), is_light("Subgraph")
        (True, False, True, False)
    """
    return _LIGHT.search(kind) is not None


def explain(record: Record) -> Explanation | None:
    """Speaks up where such operations take at least a quarter of the time."""
    layers = sound_layers(record)
    if layers is None:
        return None
    light = [row for row in layers.rows if is_light(row.kind)]
    share = layers.share(light)
    if share < LEAST_SHARE:
        return None
    kinds: dict[str, float] = {}
    for row in light:
        kinds[row.kind] = kinds.get(row.kind, 0.0) + row.ms
    longest = sorted(kinds.items(), key=lambda pair: -pair[1])[:4]
    return Explanation(
        "small operations",
        f"{percent(share)} of the time goes to depthwise, elementwise and moving operations.",
        (
            f"{counted(len(light), 'operation')} of {len(layers.rows)}, {significant(sum(row.ms for row in light))} ms",
            ", ".join(f"{kind} {significant(ms)} ms" for kind, ms in longest),
        ),
        "an engine that fuses them with their neighbours; in training, blocks with fewer of them",
    )
