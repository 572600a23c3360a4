"""Runs the float model on the calibration data and lets an observer see each tensor that is to be quantized.

Memory stays bounded whatever the model and the number of samples: tensors are observed in groups whose size is asked
from the model before (one run that gives sizes, not tensors), each is reduced at once, and observers do not grow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import onnx

from strop.errors import DataError
from strop.model.model import Model
from strop.quality.contract import DataSet, Outputs, Run, Sample
from strop.quantize.observers import Observer, finite_extremes

Progress = Callable[[float], None]
"""Told which fraction is done."""

Compile = Callable[[Model], AbstractContextManager[Run]]
"""Opens a model so that it can be run, and closes it."""

OVERRUN = 2
"""A later sample may be larger than the first; from this many times the allowed memory on, its group is divided."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was seen: an observer per tensor; `not_finite`: tensors that took NaN or infinity -> the sample's key.

    peak_bytes: the most that observed tensors took together in one run.
    """

    observers: dict[str, Observer]
    not_finite: dict[str, str]
    samples: int
    peak_bytes: int


def calibrate(
    model: Model,
    values: Sequence[str],
    data: DataSet,
    *,
    memory_bytes: int,
    compile_model: Compile,
    on_progress: Progress | None = None,
) -> Calibration:
    """Returns what observers saw of the float tensors `values` over all samples of `data`.

    Raises DataError `data.empty` and `data.not-finite` (for the data themselves; a tensor inside the model that is not
    finite is noted, not refused: masks are minus infinity).
    """
    first = next(iter(data), None)
    if first is None:
        raise DataError(
            "data.empty",
            "there are no samples to calibrate with",
            where=data.name,
            hint="give some hundred typical inputs; 300 is a good number",
        )
    check_inputs(first, data.name)
    observers = {name: Observer() for name in values}
    not_finite: dict[str, str] = {}
    peak = 0
    work = [(group, 0) for group in groups(tensor_bytes(model, values, first, compile_model), memory_bytes)]
    steps, done = max(len(work), 1) * len(data), 0
    while work:
        group, start = work.pop(0)
        with _runner(model, [name for name in group if name not in first.inputs], compile_model) as run:
            for index, sample in enumerate(islice(data, start, None), start):
                check_inputs(sample, data.name)
                outputs = {**sample.inputs, **run(sample.inputs)}
                for name in group:
                    _observe(name, outputs[name], observers[name], not_finite, sample)
                taken = sum(outputs[name].nbytes for name in group)
                peak, done = max(peak, taken), done + 1
                if on_progress is not None:
                    on_progress(min(done / steps, 1.0))
                if taken > OVERRUN * memory_bytes and len(group) > 1 and index + 1 < len(data):
                    middle = len(group) // 2
                    work[:0] = [(group[:middle], index + 1), (group[middle:], index + 1)]
                    steps += len(data) - index - 1
                    break
    return Calibration(observers, not_finite, len(data), peak)


def tensor_bytes(model: Model, values: Sequence[str], sample: Sample, compile_model: Compile) -> dict[str, int]:
    """Returns how many bytes each float tensor takes for `sample`; the model is run so that it gives sizes only."""
    names = {f"size {index}": value for index, value in enumerate(values) if value not in sample.inputs}
    nodes = [onnx.helper.make_node("Size", [value], [name]) for name, value in names.items()]
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, []) for name in names]
    counts: Outputs = {}
    if names:
        with compile_model(with_outputs(model, outputs, nodes)) as run:
            counts = run(sample.inputs)
    # Inputs are there anyway.
    return {value: 0 for value in values if value in sample.inputs} | {
        value: 4 * int(counts[name]) for name, value in names.items()
    }


def groups(sizes: Mapping[str, int], memory_bytes: int) -> list[list[str]]:
    """Returns the tensors cut into runs of neighbours of at most `memory_bytes` each (one tensor may be larger)."""
    result: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not result or size > room:
            result.append([])
            room = memory_bytes
        result[-1].append(name)
        room -= size
    return result


def with_outputs(model: Model, outputs: Sequence[onnx.ValueInfoProto], nodes: Sequence[onnx.NodeProto] = ()) -> Model:
    """Returns the model with these outputs in place of its own, and further `nodes` behind its own."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.to_proto())
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    return model.with_proto(proto)


def check_inputs(sample: Sample, where: str) -> None:
    """Raises DataError `data.not-finite` where an input holds NaN or infinity."""
    for name, array in sample.inputs.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise DataError(
                "data.not-finite",
                f"input {name!r} of sample {sample.key!r} holds NaN or infinity",
                where=where,
                got=f"{count} of {array.size} values",
                expected="finite numbers",
                hint="look at this sample and at the preprocessing: a division by zero, a wrong type, a damaged file",
            )


def _runner(model: Model, values: Sequence[str], compile_model: Compile) -> AbstractContextManager[Run]:
    if not values:
        return nullcontext(lambda inputs: {})
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values]
    return compile_model(with_outputs(model, outputs))


def _observe(name: str, tensor: np.ndarray, observer: Observer, not_finite: dict[str, str], sample: Sample) -> None:
    extremes = finite_extremes(tensor)
    if extremes is None:
        not_finite.setdefault(name, sample.key)
    else:
        observer.update(tensor, extremes)
