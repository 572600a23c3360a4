"""A segment on ONNX Runtime: what our compiler has no kernel for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from strop.engines.base import run_error
from strop.engines.contract import OperationTime
from strop.engines.onnxruntime import FLOAT32_ONLY, OnnxRuntimeEngine, open_session

if TYPE_CHECKING:
    from strop.engines._onnxruntime_door import Options, Session

Source = Callable[[], AbstractContextManager[Path | bytes]]
"""Gives the segment as ONNX; called again only for a profile, so that nothing has to be kept for it."""


class OnnxRuntimeStep:
    """A session. Its workers never spin: between its turns the cores belong to the compiled segments."""

    def __init__(
        self, source: Source, *, inputs: tuple[str, ...], outputs: tuple[str, ...], options: Options, where: str
    ):
        self.inputs, self.outputs = inputs, outputs
        self._source, self._options = source, options
        with source() as content:
            self._session: Session | None = open_session(content, options, where=where)

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs."""
        assert self._session is not None
        try:
            return self._session.run(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        except Exception as error:
            raise run_error("native (on ONNX Runtime)", error) from error

    def profile(self, arrays: list[np.ndarray], repeats: int) -> list[OperationTime]:
        """Returns a row for each node that ONNX Runtime ran; the caller knows what the nodes came from."""
        from strop.engines import _onnxruntime_door as door

        feeds = dict(zip(self.inputs, arrays, strict=True))
        with self._source() as content:
            times = door.profile(content, self._options, self.outputs, feeds, repeats)
        return [
            OperationTime(node.name, node.kind, "EXECUTED", node.provider, node.microseconds / repeats / 1000)
            for node in times
        ]

    def close(self) -> None:
        """Drops the session."""
        self._session = None


def segment_options(threads: int, streams: int) -> Options:
    """Returns how sessions are opened that share `threads` with compiled code: as many, and none that spins."""
    OnnxRuntimeEngine().load()
    from strop.engines import _onnxruntime_door as door

    return door.Options(
        provider="CPUExecutionProvider",
        intra_op_threads=threads - streams + 1,
        inter_op_threads=1,
        optimization="all",
        arena=True,
        memory_pattern=True,
        entries=FLOAT32_ONLY | {"session.intra_op.allow_spinning": "0"},
    )
