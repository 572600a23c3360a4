"""What becomes of a model on the engine `native`: its segments, and kernel, time and limit of every operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from strop.engines.native.extract import Extractor
from strop.engines.native.onnxruntime_step import OnnxRuntimeStep, segment_options
from strop.engines.source import as_model
from strop.loader.cpu import isa_levels
from strop.machine import cache_directory, usable_cores
from strop.measure.clock import now
from strop.model.batch import with_batch
from strop.model.load import Source, load_model
from strop.model.random_inputs import make_inputs

if TYPE_CHECKING:
    from strop.compiler.partition import Partition, Segment
    from strop.compiler.program import CompileSettings, Program
    from strop.model.model import Model

SCHEMA = "strop.explain/1"
_SECONDS = 0.5  # spent on timing a segment, about
_TUNE_SECONDS = 30.0


def explain(
    model: Source,
    *,
    isa: str | None = None,
    winograd: Literal["auto", "off"] = "auto",
    threads: int = 1,
    show: str | None = None,
    tune: bool = False,
) -> dict[str, Any]:
    """Returns a JSON document: `native_share` (of nodes and of time), `segments` (nodes, reason), `operations`.

    Each operation has name, nodes, kernel, tile, ms, percent_of_limit, flops, bytes. A free batch is 1. Times are of
    random inputs on `threads` threads; the limit is what one thread of this machine attains, measured here.
    show: a level whose text is to be there too, under "text": operations, fused, views, plan, llvm, assembly.
    tune: whether kernels are chosen by measuring them first.
    Raises NotSupportedError where sizes other than the batch are free.
    """
    from strop.compiler.partition import partition
    from strop.compiler.probe import attainable
    from strop.compiler.program import CompileSettings

    settings = CompileSettings(isa or isa_levels()[0], winograd)
    static = _static(load_model(model))
    parts = partition(static, isa=settings.isa, winograd=winograd)
    limits = attainable()
    segments: list[dict[str, Any]] = []
    operations: list[dict[str, Any]] = []
    texts: list[str] = []
    for segment, program, seconds in _timed(parts, make_inputs(static), settings, threads, tune):
        ms = float(np.sum(seconds)) * 1e3
        reasons = dict.fromkeys(segment.reasons.values())
        segments.append(
            {
                "engine": "native" if segment.is_native else "onnxruntime",
                "nodes": list(segment.nodes),
                "reason": "; ".join(reasons),
                "reasons": dict(segment.reasons),
                "ms": ms,
            }
        )
        if program is not None:
            from strop.compiler.explain import operation_rows
            from strop.compiler.explain import show as text_of

            operations += operation_rows(program, [float(each) for each in seconds], limits)
            texts += [text_of(program, show)] if show else []
    native = sum(segment["ms"] for segment in segments if segment["engine"] == "native")
    total = sum(segment["ms"] for segment in segments)
    return {
        "schema": SCHEMA,
        "model": {"name": static.name, "nodes": sum(len(segment["nodes"]) for segment in segments)},
        "engine": "native",
        "isa": settings.isa,
        "threads": threads,
        "ms": total,
        "native_share": {"nodes": parts.native_share, "time": native / total if total else 1.0},
        "segments": segments,
        "operations": operations,
        "attainable": limits.to_json(),
        **({"text": "\n".join(texts)} if show else {}),
    }


def _static(model: Model) -> Model:
    return model if all(spec.is_static for spec in model.inputs) else with_batch(as_model(model), 1)


def _timed(
    parts: Partition, inputs: dict[str, np.ndarray], settings: CompileSettings, threads: int, tune: bool
) -> list[tuple[Segment, Program | None, np.ndarray]]:
    """Returns for each segment its program, where it is native, and the seconds of each of its tasks."""
    values = dict(inputs)
    cutter = Extractor(parts.model.to_proto())
    rows: list[tuple[Segment, Program | None, np.ndarray]] = []
    for segment in parts.segments:
        whole = len(parts.segments) == 1
        cut = parts.model.to_proto()
        if not whole:
            cut = cutter.cut(segment.nodes, inputs=segment.inputs, outputs=segment.outputs)
        given = {name: values[name] for name in (parts.model_inputs if whole else segment.inputs)}
        if segment.is_native:
            program, seconds, outputs = _run_native(parts.model.with_proto(cut), given, settings, threads, tune)
            rows.append((segment, program, seconds))
        else:
            seconds, outputs = _run_foreign(cut.SerializeToString(), segment, given, threads)
            rows.append((segment, None, seconds))
        values.update(outputs)
    return rows


def _run_native(
    model: Model, inputs: dict[str, np.ndarray], settings: CompileSettings, threads: int, tune: bool
) -> tuple[Program, np.ndarray, dict[str, np.ndarray]]:
    from strop.compiler.program import compile_program
    from strop.engines.native.build import Caches
    from strop.engines.native.tuning import measured
    from strop.loader.native import NativeProgram

    records = measured(model, settings, Caches(cache_directory()), _TUNE_SECONDS) if tune else None
    program = compile_program(model, settings, records=records)
    with NativeProgram(program.image, threads=threads, cores=usable_cores()) as run:
        start = now()
        outputs = run(inputs)
        repeats = int(min(200, max(3, _SECONDS / max(now() - start, 1e-6))))
        return program, np.median(run.profile(inputs, repeats, now), axis=0), outputs


def _run_foreign(
    content: bytes, segment: Segment, inputs: dict[str, np.ndarray], threads: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    from contextlib import nullcontext

    step = OnnxRuntimeStep(
        lambda: nullcontext(content),
        inputs=tuple(inputs),
        outputs=segment.outputs,
        options=segment_options(threads, 1),
        where=f"segment of {len(segment.nodes)} nodes",
    )
    try:
        times: list[float] = []
        outputs: list[np.ndarray] = []
        begin = now()
        while len(times) < 4 or (now() - begin < _SECONDS and len(times) < 200):
            start = now()
            outputs = step.run(list(inputs.values()))
            times.append(now() - start)
        return np.array([np.median(times[1:])]), dict(zip(segment.outputs, outputs, strict=True))
    finally:
        step.close()
