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
from strop.model.model import Model

Program = Callable[[Model], ProgramModel | None]
"""Compiles a segment, None where it turns out not to be native after all."""


def make_route(divided: Partition, program: Program, settings: Mapping[str, KnobValue]) -> Route | None:
    """Returns the route, None where the model cannot be cut: a value has no known type, or no node makes an output."""
    model = divided.model
    names = [spec.name for spec in model.outputs]
    if not set(names) <= {name for segment in divided.segments for name in segment.outputs}:
        return None
    extractor = Extractor(model.to_proto())
    steps: list[Step] = []
    try:
        for segment in divided.segments:
            cut = extractor.cut(segment.nodes, inputs=segment.inputs, outputs=segment.outputs)
            part = model.with_proto(cut)
            compiled = program(part) if segment.is_native else None
            if compiled is not None:
                steps.append(ProgramStep(compiled, inputs=segment.inputs, outputs=segment.outputs))
            else:
                steps.append(_on_onnxruntime(cut, segment.inputs, segment.outputs, settings, model.name))
    except KeyError:
        _close(steps)
        return None
    except BaseException:
        _close(steps)
        raise
    return Route(steps, inputs=[spec.name for spec in model.inputs], outputs=names)


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
