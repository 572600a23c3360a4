"""From what was observed to one scale per quantized value: ranges, what is left out, what shares a scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from strop.quantize.affine import ActivationScale, Range
from strop.quantize.calibrate import Calibration
from strop.quantize.config import QuantizeConfig
from strop.quantize.observers import Observer
from strop.quantize.operators import changing_inputs
from strop.quantize.placement import Placement, place
from strop.quantize.ranges import choose_range

VANISHING = 0.9
"""Where this share of a tensor's non-zero numbers would become zero, outliers set its range: no 8 bits there."""

JOINED_AT_MOST = 4.0
"""What is concatenated shares one scale, unless one of the parts would lose more than this factor (two bits)."""


def choose_scales(
    model: onnx_ir.Model,
    placement: Placement,
    excluded: Mapping[str, str],
    calibration: Calibration,
    config: QuantizeConfig,
) -> tuple[Placement, dict[str, ActivationScale]]:
    """Returns the placement without what 8 bits cannot hold, and a scale for each activation that is left."""
    ranges = {
        name: choose_range(observer, config.activations, outliers=config.outliers)
        for name, observer in calibration.observers.items()
    }
    unfit = _unfit(ranges, calibration)
    # A mover's output was not observed: it holds what its source held.
    source_of = {name: source(placement, name) for name in placement.activations}
    reasons = dict(excluded)
    while True:
        new = {}
        for name in placement.activations:
            why = unfit.get(source_of[name])
            if why is not None:
                new.update({node: why for node in _touching(model, placement, name) if node not in reasons})
        if not new:
            break
        reasons.update(new)
        placement = place(model, reasons, every_convolution=config.every_convolution)
    ranges = {name: ranges[source_of[name]] for name in placement.activations}
    _join(placement, ranges)
    return placement, {name: ActivationScale.of(ranges[source(placement, name)]) for name in placement.activations}


def source(placement: Placement, name: str) -> str:
    """Returns the value whose scale `name` has: itself, unless nodes that only move numbers lead back to another."""
    while name in placement.moved:
        name = placement.moved[name]
    return name


def _unfit(ranges: Mapping[str, Range], calibration: Calibration) -> dict[str, str]:
    result = {name: f"{name} is NaN or infinite for sample {key!r}" for name, key in calibration.not_finite.items()}
    for name, values in ranges.items():
        share = _vanishing(calibration.observers[name], ActivationScale.of(values))
        if name not in result and share > VANISHING:
            extremes = calibration.observers[name].extremes
            result[name] = (
                f"{name} has too wide a range for 8 bits ({extremes.low:.3g} to {extremes.high:.3g}: "
                f"{share:.0%} of its numbers would become zero)"
            )
    return result


def _vanishing(observer: Observer, scale: ActivationScale) -> float:
    counts, centers = observer.histogram.counts, observer.histogram.centers
    total = counts.sum()
    return float(counts[np.abs(centers) < float(scale.scale) / 2].sum() / total) if total else 0.0


def _touching(model: onnx_ir.Model, placement: Placement, name: str) -> list[str]:
    """The quantized nodes that read the value, and the one that computes it."""
    value = placement.activations[name].value
    quantized = {*placement.heavy, *placement.followers}
    readers = [
        str(node.name) for node in value.consumers() if node.name in quantized and value in changing_inputs(node)
    ]
    producer = placement.ends.get(name)
    return readers if producer is None else [*readers, producer]


def _join(placement: Placement, ranges: dict[str, Range]) -> None:
    for names in placement.joined:
        roots = {source(placement, name) for name in names}
        union = Range(0.0, 0.0)
        for root in sorted(roots):
            union = union.union(ranges[root])
        if all(ranges[root].width * JOINED_AT_MOST >= union.width for root in roots):
            ranges.update(dict.fromkeys(roots, union))
