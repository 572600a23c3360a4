from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strop.errors import NotSupportedError
from strop.optimize import compile_cache as module
from strop.optimize.trial import TrialSpec


class Remote:
    def __init__(self, settings: dict[str, object]):
        self.settings = settings

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def found(monkeypatch: pytest.MonkeyPatch, *, keeps: bool | None, cached_ms: float, left: float = math.inf) -> Any:
    """Returns the finding of an engine that keeps a cache, does not say so, or (None) refuses; 400 ms without."""

    def open_remote(path: Path, engine: str, settings: Any, **options: object) -> Remote:
        if keeps is None:
            raise NotSupportedError("unsupported.feature", "it keeps no compile cache", hint="leave `cache` out")
        return Remote({"cache": settings.cache} if keeps else {})

    def first(path: Path, engine: str, settings: Any, **options: object) -> Any:
        return SimpleNamespace(total_ms=cached_ms if settings.cache else 400.0)

    monkeypatch.setattr(module, "open_remote", open_remote)
    monkeypatch.setattr(module, "measure_first_inference", first)
    spec = TrialSpec("m", "d", "openvino", "f32", "latency", {"threads": 2})
    job: Any = SimpleNamespace(
        timed_inputs=[{}],
        budget=SimpleNamespace(remaining=left, patience=1.0),
        saved=lambda model: Path("m.onnx"),
        opening_seconds=lambda engine: 1.0,
    )
    return module.compile_cache(job, SimpleNamespace(form=SimpleNamespace(spec=spec, model=None)))  # type: ignore[arg-type]


def test_a_cache_that_shortens_the_first_inference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = found(monkeypatch, keeps=True, cached_ms=200.0)
    assert finding["first_inference_ms"] == {"without": 400.0, "with": 200.0}
    assert "200 ms with it and 400 ms without" in finding["words"]


@pytest.mark.parametrize(
    "options",
    [
        {"keeps": True, "cached_ms": 390.0},
        {"keeps": False, "cached_ms": 100.0},
        {"keeps": None, "cached_ms": 100.0},
        {"keeps": True, "cached_ms": 100.0, "left": 5.0},
    ],
)
def test_where_a_cache_is_no_gain_nothing_is_said(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    assert found(monkeypatch, **options) is None
