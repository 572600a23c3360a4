"""A model and a data set as an application with its stages marked, and the model's benchmark in both conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from strop.engines.contract import CompiledModel
from strop.errors import InputError
from strop.machine import machine
from strop.measure.blocks import Block, block
from strop.measure.clock import SYSTEM, Clock
from strop.measure.comparison import compare_blocks
from strop.measure.stages import stage
from strop.measure.turns import LocalTurn
from strop.quality.contract import Decode
from strop.quality.data import Data
from strop.quality.decoders.scores import class_scores, first_output
from strop.quality.sources.contract import Raw

Arrays = Mapping[str, np.ndarray]
STAGES = ("decode", "preprocess", "queue", "copy in", "run", "copy out", "postprocess")
RUN = "run"
MOST_FRESH = 64
FRESH_BYTES = 256 << 20


class ModelApplication:
    """What an application around a model does, a stage each.

    decode: the next sample as its source has it (an image file becomes pixels); preprocess: the model's input from
    that; queue: wait for a free pair of buffers; copy in: into the buffer that the model reads; run: the model, from
    buffer to buffer; copy out: results that the caller owns; postprocess: what the decoder makes of them.

    A model whose outputs have another shape for every input gives fresh arrays itself: its copies count to run.
    """

    def __init__(self, compiled: CompiledModel, data: Data, decode: Decode | None):
        self._compiled, self._data, self._decode = compiled, data, decode
        self._raws: Iterator[tuple[int, Raw]] = iter(())
        self._shapes: dict[tuple[object, ...], dict[str, tuple[tuple[int, ...], np.dtype[Any]]] | None] = {}
        self._buffers: SimpleQueue[dict[str, np.ndarray]] = SimpleQueue()
        for _ in range(int(compiled.settings.get("streams", 1)) + 1):
            self._buffers.put({})

    def __call__(self, item: object) -> object:
        """Takes one sample all the way; which one, the data set says."""
        with stage("decode"):
            index, raw = self._next()
        with stage("preprocess"):
            sample = self._data.build(index, raw).inputs
        with stage("queue"):
            buffers = self._buffers.get()
        try:
            with stage("copy in"):
                inputs = _copied_in(sample, buffers)
            outputs = self._run(inputs, buffers)
        finally:
            self._buffers.put(buffers)
        with stage("postprocess"):
            return self._postprocessed(outputs, sample)

    def _next(self) -> tuple[int, Raw]:
        for found in self._raws:
            return found
        self._raws = self._data.raws()
        return next(self._raws)

    def _run(self, inputs: Arrays, buffers: dict[str, np.ndarray]) -> Arrays:
        key = tuple(array.shape for array in inputs.values())
        shapes = self._shapes.get(key)
        if shapes is None:
            with stage(RUN):
                outputs = self._compiled(inputs)
            if key not in self._shapes:
                self._shapes[key] = {name: (array.shape, array.dtype) for name, array in outputs.items()}
            return outputs
        results = {name: _buffer(buffers, f"output {name}", *form) for name, form in shapes.items()}
        try:
            with stage(RUN):
                self._compiled.run_into(inputs, results)
        except InputError:  # the outputs' shapes follow the inputs' values
            self._shapes[key] = None
            with stage(RUN):
                return self._compiled(inputs)
        with stage("copy out"):
            return {name: array.copy() for name, array in results.items()}

    def _postprocessed(self, outputs: Arrays, sample: Arrays) -> object:
        if self._decode is not None:
            return self._decode(outputs, sample)
        first = first_output(outputs)
        scores = None if first is None else class_scores(np.asarray(first))
        return outputs if scores is None else int(np.argmax(scores))


def benchmark_both_ways(
    compiled: CompiledModel, samples: Sequence[Arrays], *, seconds: float, clock: Clock = SYSTEM
) -> dict[str, Any]:
    """Returns the model's latency with the same input every time and with fresh ones that are copied in, by turns.

    The first is what benchmarks mostly measure: its input lies in the caches. The second copies another sample into
    the buffer for every call, and the results out of it.
    """
    pool = _fresh(samples)
    place = 0
    buffers: dict[str, np.ndarray] = {}

    def fresh() -> None:
        nonlocal place
        inputs = _copied_in(pool[place % len(pool)], buffers)
        place += 1
        for array in compiled(inputs).values():
            array.copy()

    reused: Block = block(lambda: compiled(samples[0]), clock)
    turns = {"reused": LocalTurn(reused, clock), "fresh": LocalTurn(block(fresh, clock), clock)}
    compared = compare_blocks(turns, seconds=seconds, clock=clock)
    figures = {name: one.estimate.scaled(1e3).to_json() for name, one in compared.items()}
    ratio = compared["fresh"].speedup.ratio
    return {
        "reused": {"latency_ms": figures["reused"], "per_second": 1 / compared["reused"].estimate.point},
        "fresh": {
            "latency_ms": figures["fresh"],
            "per_second": 1 / compared["fresh"].estimate.point,
            "inputs": len(pool),
        },
        "fresh_takes_times": {"point": 1 / ratio.point, "low": 1 / ratio.high, "high": 1 / ratio.low},
    }


def threads_of(compiled: CompiledModel) -> int:
    """Returns how many cores one request keeps busy."""
    threads, streams = (int(compiled.settings.get(name, 1)) for name in ("threads", "streams"))
    return min(max(1, threads // max(streams, 1)), machine().cores)


def _fresh(samples: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """Returns inputs at addresses of their own; with few samples, the same ones again, elsewhere in memory."""
    each = sum(array.nbytes for array in samples[0].values())
    count = max(2, min(MOST_FRESH, FRESH_BYTES // max(each, 1)))
    return [
        {name: array.copy() for name, array in samples[number % len(samples)].items()}
        for number in range(count if len({_shape(one) for one in samples}) == 1 else min(count, len(samples)))
    ]


def _shape(sample: Arrays) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in sample.values())


def _copied_in(sample: Arrays, buffers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    inputs = {}
    for name, array in sample.items():
        inputs[name] = _buffer(buffers, f"input {name}", array.shape, array.dtype)
        np.copyto(inputs[name], array)
    return inputs


def _buffer(buffers: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Returns the buffer of this name, made anew where the last one had another form."""
    kept = buffers.get(name)
    if kept is None or kept.shape != shape or kept.dtype != dtype:
        kept = buffers[name] = np.empty(shape, dtype)
    return kept
