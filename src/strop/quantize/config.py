"""How to quantize, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from strop.quantize.ranges import RangeMethod

ReduceRange = Literal["auto", "all", "first-layer", "no"]


@dataclass(frozen=True, slots=True)
class QuantizeConfig:
    """What can be chosen; the defaults were chosen by measurement on real models.

    activations: how the range of an activation is chosen; outliers: the share that "percentile" cuts at each end.
    per_channel: one weight scale per output channel, else one per tensor.
    reduce_range: weights in 7 bits, because 8-bit products can overflow 16 bits on CPUs without dot-product
      instructions; "auto": everywhere if this machine has such a CPU, else nowhere.
    ignored_names, ignored_types, ignored_patterns: nodes that stay float, by name (or the name of what they compute),
      by operator, by regular expression that matches the whole name.
    every_convolution: quantize the output of each convolution, also where only float operators (SiLU) read it. Only so
      does ONNX Runtime run it on integers; without, OpenVINO is faster and the model more accurate.
    first_layer, last_layer: whether heavy operators that come first, or last, are quantized like all others.
    memory_bytes: how much the observed tensors of one run may take together, at most (one tensor may be larger).

    Example:
        >>> QuantizeConfig(ignored_types=("Gemm",)).activations
        'percentile'
    """

    activations: RangeMethod = "percentile"
    outliers: float = 1e-4
    per_channel: bool = True
    reduce_range: ReduceRange = "auto"
    ignored_names: tuple[str, ...] = ()
    ignored_types: tuple[str, ...] = ()
    ignored_patterns: tuple[str, ...] = ()
    every_convolution: bool = False
    first_layer: bool = True
    last_layer: bool = True
    memory_bytes: int = 512 << 20

    def to_json(self) -> dict[str, object]:
        """Returns all fields as a JSON object."""
        return asdict(self)


_BY_ENGINE = {"onnxruntime": QuantizeConfig(every_convolution=True)}
"""ONNX Runtime runs a convolution on integers only where its output is quantized too; others need not pay for that."""


def config_for(engine: str) -> QuantizeConfig:
    """Returns how to quantize for the engine of this name."""
    return _BY_ENGINE.get(engine, QuantizeConfig())
