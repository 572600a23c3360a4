"""The typed door to ONNX Runtime: the one file of this room that touches its untyped API. Importing it imports it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

REFUSALS: tuple[type[Exception], ...] = (
    native.NotImplemented,
    native.InvalidGraph,
    native.Fail,
    native.InvalidProtobuf,
)
"""What ONNX Runtime raises for a graph it does not take; everything else is a failure of its own."""

OPTIMIZATIONS: Mapping[str, Any] = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a session is opened with; `entries` are session configuration entries by their key."""

    provider: str
    intra_op_threads: int
    inter_op_threads: int
    optimization: str
    arena: bool
    memory_pattern: bool
    entries: Mapping[str, str] = field(default_factory=dict)


def version() -> str:
    """Returns ONNX Runtime's version."""
    return str(onnxruntime.__version__)


def providers() -> tuple[str, ...]:
    """Returns the execution providers of this build, best first."""
    return tuple(onnxruntime.get_available_providers())


class Session:
    """An inference session: `run(output names, {input name: array})` is its own, with no layer between.

    The layer in Python around the session proper checks names once more and takes a microsecond and a half for it;
    callers of this class have checked their inputs.
    """

    def __init__(self, source: Path | bytes, options: Options, *, profile_prefix: str | None = None):
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = options.intra_op_threads
        chosen.inter_op_num_threads = options.inter_op_threads
        parallel = options.inter_op_threads > 1
        modes = onnxruntime.ExecutionMode
        chosen.execution_mode = modes.ORT_PARALLEL if parallel else modes.ORT_SEQUENTIAL
        chosen.graph_optimization_level = OPTIMIZATIONS[options.optimization]
        chosen.enable_cpu_mem_arena = options.arena
        chosen.enable_mem_pattern = options.memory_pattern
        chosen.log_severity_level = 4  # what it would write to stderr comes as an exception too
        for key, value in options.entries.items():
            chosen.add_session_config_entry(key, value)
        if profile_prefix is not None:
            chosen.enable_profiling = True
            chosen.profile_file_prefix = profile_prefix
        content = source if isinstance(source, bytes) else str(source)
        wanted = list(dict.fromkeys([options.provider, "CPUExecutionProvider"]))
        self._session: Any = onnxruntime.InferenceSession(content, chosen, providers=wanted)
        self._session.disable_fallback()
        inner = getattr(getattr(self._session, "_sess", None), "run", None)
        self.run: Callable[[Sequence[str], Mapping[str, np.ndarray]], list[np.ndarray]] = (
            self._session.run if inner is None else _without_options(inner)
        )

    def provider(self) -> str:
        """Returns the execution provider in force."""
        return str(self._session.get_providers()[0])

    def options_in_force(self, keys: Sequence[str]) -> Options:
        """Returns the options the session reports; of its configuration entries those named by `keys`."""
        read = self._session.get_session_options()
        levels = {value: name for name, value in OPTIMIZATIONS.items()}
        parallel = read.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
        return Options(
            provider=self.provider(),
            intra_op_threads=int(read.intra_op_num_threads),
            inter_op_threads=int(read.inter_op_num_threads) if parallel else 1,
            optimization=levels[read.graph_optimization_level],
            arena=bool(read.enable_cpu_mem_arena),
            memory_pattern=bool(read.enable_mem_pattern),
            entries={key: str(read.get_session_config_entry(key)) for key in keys},
        )

    def run_into(self, feeds: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray]) -> None:
        """Runs with the outputs written straight into `buffers` (C order)."""
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name, buffer in buffers.items():
            binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        self._session.run_with_iobinding(binding)

    def finish_profile(self) -> list[dict[str, Any]]:
        """Returns the profiler's events; the session was opened with a `profile_prefix`."""
        events: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf8"))
        return events


def _without_options(run: Any) -> Callable[[Sequence[str], Mapping[str, np.ndarray]], list[np.ndarray]]:
    """Returns the session proper's `run`, which wants its third argument spelled out."""
    return lambda names, feeds: run(names, feeds, None)


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What the profiler says of one node of the optimized graph: microseconds of all runs together."""

    name: str
    kind: str
    provider: str
    microseconds: float


def profile(
    source: Path | bytes, options: Options, names: Sequence[str], feeds: Mapping[str, np.ndarray], repeats: int
) -> list[NodeTime]:
    """Returns the time of each node over `repeats` runs, after one to warm up, in a session of its own."""
    with tempfile.TemporaryDirectory(prefix="strop-profile-") as folder:
        session = Session(source, options, profile_prefix=str(Path(folder) / "events"))
        for _ in range(repeats + 1):
            session.run(names, feeds)
        events = session.finish_profile()
    warm = min(event["ts"] + event["dur"] for event in events if event["name"] == "model_run")
    times: dict[str, NodeTime] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= warm:
            name, more = event["name"].removesuffix("_kernel_time"), event["args"]
            before = times[name].microseconds if name in times else 0.0
            times[name] = NodeTime(name, str(more["op_name"]), str(more["provider"]), before + event["dur"])
    return list(times.values())
