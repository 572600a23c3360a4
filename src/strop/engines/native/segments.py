"""Makes the route through a model's segments: machine code for those that have kernels, ONNX Runtime for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import onnx

from strop.compiler.partition import Partition
from strop.engines.contract import KnobValue
from strop.engines.native.extract import Extractor
from strop.engines.native.onnxruntime_step import OnnxRuntimeStep, segment_options
from strop.engines.native.program_model import ProgramModel
from strop.engines.native.program_step import ProgramStep
from strop.engines.native.route import Route, Step
from strop.model.cost import node_costs
from strop.model.model import Model

_SWITCH_SECONDS = 20e-6
"""What going from one segment to the next costs: a call of each engine, and a value that changes its layout."""
_GAIN = 0.2
"""The share of its time that a segment saves as machine code, carefully guessed."""
_GAIN_PER_NODE = 0.5e-6
"""Seconds that a node saves besides, since nothing is looked up for it."""
_FLOPS_PER_SECOND = 60e9
_BYTES_PER_SECOND = 20e9

Program = Callable[[Model], ProgramModel | None]
"""Compiles a segment, None where it turns out not to be native after all."""


def is_worthwhile(divided: Partition) -> bool:
    """Whether what machine code saves is likely to be more than what going to and fro costs."""
    native = {name for segment in divided.segments if segment.is_native for name in segment.nodes}
    saved = 0.0
    for cost in node_costs(divided.model, None):
        if cost.name in native:
            moved = (cost.bytes_read or 0) + (cost.bytes_written or 0)
            saved += _GAIN * max(2 * (cost.macs or 0) / _FLOPS_PER_SECOND, moved / _BYTES_PER_SECOND) + _GAIN_PER_NODE
    return saved > (len(divided.segments) - 1) * _SWITCH_SECONDS


def make_route(divided: Partition, program: Program, settings: Mapping[str, KnobValue]) -> tuple[Route, float] | None:
    """Returns the route, and the share of nodes that machine code runs.

    None where the model cannot be cut: a value has no known type, or no node makes an output.
    """
    model = divided.model
    names = [spec.name for spec in model.outputs]
    if not set(names) <= {name for segment in divided.segments for name in segment.outputs}:
        return None
    extractor = Extractor(model.to_proto())
    steps: list[Step] = []
    native = 0
    try:
        for segment in divided.segments:
            cut = extractor.cut(segment.nodes, inputs=segment.inputs, outputs=segment.outputs)
            part = model.with_proto(cut)
            compiled = program(part) if segment.is_native else None
            if compiled is not None:
                steps.append(ProgramStep(compiled, inputs=segment.inputs, outputs=segment.outputs))
                native += len(segment.nodes)
            else:
                steps.append(_on_onnxruntime(cut, segment.inputs, segment.outputs, settings, model.name))
    except KeyError:
        _close(steps)
        return None
    except BaseException:
        _close(steps)
        raise
    total = sum(len(segment.nodes) for segment in divided.segments)
    return Route(steps, inputs=[spec.name for spec in model.inputs], outputs=names), native / total


def _on_onnxruntime(
    proto: onnx.ModelProto,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    settings: Mapping[str, KnobValue],
    where: str,
) -> OnnxRuntimeStep:
    return OnnxRuntimeStep(
        partial(_content, proto.SerializeToString()),
        inputs=inputs,
        outputs=outputs,
        options=segment_options(int(settings["threads"]), int(settings["streams"])),
        where=where,
    )


def _content(data: bytes) -> AbstractContextManager[Path | bytes]:
    return nullcontext(data)


def _close(steps: list[Step]) -> None:
    for step in steps:
        step.close()
