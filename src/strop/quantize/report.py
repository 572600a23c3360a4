"""What was done to a model when it was quantized, and why: for people, for records, for the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strop.quantize.affine import ActivationScale, Range
from strop.quantize.config import QuantizeConfig


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """One quantized tensor: what was seen, what is represented, and by which scale."""

    name: str
    seen: Range | None
    scale: ActivationScale
    same_as: str | None

    def to_json(self) -> dict[str, object]:
        """Returns the figures as a JSON object; `same_as`: the tensor that it only moves, and whose scale it has."""
        return {
            "name": self.name,
            "seen": None if self.seen is None else self.seen.to_json(),
            "represented": self.scale.representable.to_json(),
            "scale": float(self.scale.scale),
            "zero_point": self.scale.zero_point,
            "same_as": self.same_as,
        }


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """The record of one quantization.

    quantized: node name -> operator, all nodes that compute in 8 bits; kept_float: node name -> why it stays float;
    ignored: each ignore rule of the user -> the nodes it matched; samples and fingerprint: the data used;
    float_weight_bytes, quantized_weight_bytes: what all constants take; peak_bytes: the most that observed tensors took
    in one run; seven_bits: the nodes whose weights use 7 bits only.
    """

    config: QuantizeConfig
    quantized: Mapping[str, str]
    kept_float: Mapping[str, str]
    ignored: Mapping[str, tuple[str, ...]]
    activations: tuple[ActivationReport, ...]
    samples: int
    data: str
    fingerprint: str
    float_weight_bytes: int
    quantized_weight_bytes: int
    peak_bytes: int
    seven_bits: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the whole report as a JSON object."""
        return {
            "config": self.config.to_json(),
            "quantized": dict(self.quantized),
            "kept_float": dict(self.kept_float),
            "ignored": {rule: list(names) for rule, names in self.ignored.items()},
            "activations": [activation.to_json() for activation in self.activations],
            "samples": self.samples,
            "data": self.data,
            "fingerprint": self.fingerprint,
            "float_weight_bytes": self.float_weight_bytes,
            "quantized_weight_bytes": self.quantized_weight_bytes,
            "peak_bytes": self.peak_bytes,
            "seven_bits": list(self.seven_bits),
            "warnings": list(self.warnings),
        }
