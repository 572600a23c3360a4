"""From a float model and data to a model in 8 bits: the steps in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import ModelError
from strop.machine import machine
from strop.model.model import Model
from strop.passes.base import run_passes
from strop.passes.from_onnx_ir import remove_unused
from strop.passes.pipeline import before_quantization
from strop.quality.contract import DataSet, Run
from strop.quality.split import evenly_spread
from strop.quantize.affine import ActivationScale
from strop.quantize.calibrate import Calibration, Progress, calibrate
from strop.quantize.config import QuantizeConfig
from strop.quantize.edges import first_heavy, last_heavy
from strop.quantize.ignore import find_ignored, verify_ignored
from strop.quantize.insert import insert_pairs
from strop.quantize.operators import HEAVY
from strop.quantize.placement import Placement, place
from strop.quantize.report import ActivationReport, QuantizeReport
from strop.quantize.scales import choose_scales, source

DEFAULT_SAMPLES = 300
FEW_SAMPLES = 50

DOT_PRODUCT_FLAGS = frozenset(["avx512_vnni", "avx_vnni", "amx_int8", "asimddp"])


@dataclass(frozen=True, slots=True)
class Quantized:
    """A model in 8 bits and the report of how it came about."""

    model: Model
    report: QuantizeReport


def quantize_model(
    model: Model,
    data: DataSet,
    *,
    samples: int = DEFAULT_SAMPLES,
    config: QuantizeConfig = QuantizeConfig(),  # noqa: B008  frozen
    on_progress: Progress | None = None,
) -> Quantized:
    """Returns `model` in 8 bits (QDQ), calibrated on `samples` samples of `data`, evenly spread over it.

    Raises ModelError `model.already-quantized` and `quantize.nothing`, DataError `data.empty` and `data.not-finite`.
    Same model, data and configuration: the same bytes.
    """
    if model.is_quantized:
        raise ModelError(
            "model.already-quantized",
            "the model's activations are quantized already",
            where=model.name,
            hint="start from the float model; a quantized one runs as it is, and loses more by a second rounding",
        )
    prepared, rewrites = run_passes(model, before_quantization())
    graph = prepared.fresh_ir()
    ignored = find_ignored(graph, config, rewrites)
    excluded = {**_float_edges(graph, config), **ignored.reasons}
    chosen = evenly_spread(data, samples)
    placement = place(graph, excluded, every_convolution=config.every_convolution)
    _require_something(placement, model)
    calibration = calibrate(
        prepared,
        placement.observed,
        chosen,
        memory_bytes=config.memory_bytes,
        compile_model=_compile,
        on_progress=on_progress,
    )
    placement, scales = choose_scales(graph, placement, excluded, calibration, config)
    _require_something(placement, model)
    seven_bits = _seven_bits(graph, placement, config)
    operators = {str(node.name): node.op_type for node in graph.graph}
    before = _weight_bytes(graph)
    insert_pairs(
        graph, placement, scales, per_channel=config.per_channel, seven_bits=seven_bits, kept=frozenset(excluded)
    )
    remove_unused()(graph)
    verify_ignored(graph, ignored)
    after = _weight_bytes(graph)
    report = QuantizeReport(
        config=config,
        quantized={
            name: kind for name, kind in operators.items() if name in placement.heavy or name in placement.followers
        },
        kept_float=placement.skipped,
        ignored=ignored.rules,
        activations=_activations(placement, calibration, scales),
        samples=calibration.samples,
        data=chosen.name,
        fingerprint=chosen.fingerprint,
        float_weight_bytes=before,
        quantized_weight_bytes=after,
        peak_bytes=calibration.peak_bytes,
        seven_bits=tuple(sorted(seven_bits)),
        warnings=(*ignored.warnings, *_warnings(placement, calibration, before, after)),
    )
    return Quantized(Model.from_ir(graph, like=model), report)


@contextmanager
def _compile(model: Model) -> Iterator[Run]:
    compiled = get_engine("onnxruntime").compile(model, Settings())
    try:
        yield compiled
    finally:
        compiled.close()


def _float_edges(graph: onnx_ir.Model, config: QuantizeConfig) -> dict[str, str]:
    first = [] if config.first_layer else first_heavy(graph)
    last = [] if config.last_layer else last_heavy(graph)
    return dict.fromkeys((*first, *last), "a first or last layer, which was to stay float")


def _require_something(placement: Placement, model: Model) -> None:
    if placement.heavy:
        return
    reasons = [f"{name}: {why}" for name, why in placement.skipped.items()]
    raise ModelError(
        "quantize.nothing",
        "nothing in the model can be quantized",
        where=model.name,
        got="; ".join(reasons[:3])
        or "no convolution or matrix product with constant float32 weights outside If, Loop and Scan",
        expected=f"{', '.join(HEAVY)} with constant float32 weights",
        hint="use the model as it is: recurrent layers and branches stay float; check the ignore rules",
    )


def _seven_bits(graph: onnx_ir.Model, placement: Placement, config: QuantizeConfig) -> frozenset[str]:
    choice = config.reduce_range
    if choice == "auto":
        choice = "no" if DOT_PRODUCT_FLAGS & set(machine().flags) else "all"
    if choice == "first-layer":
        return frozenset(first_heavy(graph)) & frozenset(placement.heavy)
    return frozenset(placement.heavy) if choice == "all" else frozenset()


def _weight_bytes(graph: onnx_ir.Model) -> int:
    values = graph.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)


def _activations(
    placement: Placement, calibration: Calibration, scales: Mapping[str, ActivationScale]
) -> tuple[ActivationReport, ...]:
    return tuple(
        ActivationReport(
            name,
            calibration.observers[name].extremes if name in calibration.observers else None,
            scale,
            source(placement, name) if name in placement.moved else None,
        )
        for name, scale in scales.items()
    )


def _warnings(placement: Placement, calibration: Calibration, before: int, after: int) -> list[str]:
    result = []
    if calibration.samples < FEW_SAMPLES:
        result.append(f"only {calibration.samples} samples to calibrate with; some hundred are better")
    silent = [name for name in placement.observed if calibration.observers[name].extremes.width == 0]
    if silent:
        result.append(
            f"{len(silent)} tensors never changed on these data ({', '.join(silent[:3])} ...): are they typical?"
        )
    if after > 0.5 * before:
        result.append(f"the weights take {after / before:.0%} of what they took: most of them stay float")
    return result
