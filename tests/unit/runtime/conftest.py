"""A bundle of a model that no engine could run, and an engine that only pretends: these tests run no engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strop.engines.base import CompiledBase
from strop.engines.contract import Settings
from strop.engines.source import StoredModel
from strop.errors import NotSupportedError, UsageError
from strop.model.specs import TensorSpec
from strop.runtime.bundle import write_bundle

SPECS = (TensorSpec("x", "float32", ("batch", 3)),)
OUTPUTS = (TensorSpec("y", "float32", ("batch", 3)),)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


class Doubling(CompiledBase[int]):
    def _run(self, slot: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return [array * 2 for array in arrays]


class FakeEngine:
    """Doubles its input; `refuses` and `installed` stand in for what can be missing on a machine."""

    def __init__(self, name: str, *, installed: bool = True, refuses: bool = False) -> None:
        self.name, self.installed, self.refuses = name, installed, refuses
        self.compiled: list[Settings] = []

    def load(self) -> None:
        if not self.installed:
            raise NotSupportedError(
                "unsupported.engine-missing", f"{self.name} is not installed", hint="pip install it"
            )

    def compile(self, model: StoredModel, settings: Settings) -> Doubling:
        if self.refuses:
            raise NotSupportedError("unsupported.device-missing", "there is no such device", hint="use the CPU")
        self.compiled.append(settings)
        return Doubling(
            self.name,
            inputs=model.inputs,
            outputs=model.outputs,
            settings={k: v for k, v in settings.to_json().items() if isinstance(v, (str, int, bool))},
            slots=[0],
            stages={},
        )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeEngine]:
    """The engines that loading finds, by name."""
    found = {name: FakeEngine(name) for name in ("openvino", "onnxruntime")}

    def get_engine(name: str) -> FakeEngine:
        if name not in found:
            raise UsageError("usage.unknown-engine", f"no engine is called {name!r}", hint="take another")
        return found[name]

    monkeypatch.setattr("strop.runtime.by_engine.get_engine", get_engine)
    return found


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        model = StoredModel("tiny", SPECS, OUTPUTS, False, read=lambda: b"not really ONNX")
        arguments: dict[str, Any] = {
            "model": model,
            "engine": "openvino",
            "settings": Settings(threads=1, knobs={"pinning": True}),
            "test_vectors": [({"x": X}, {"y": X * 2})],
            "created": "2026-01-02T03:04:05+00:00",
            **changes,
        }
        return write_bundle(tmp_path / "tiny.strop", **arguments)

    return write
