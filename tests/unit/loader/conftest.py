"""A small bundle, made of bytes alone: the loader knows no models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strop.loader.arrays import npy_bytes
from strop.loader.manifest import dump_manifest
from strop.runtime.container import write_container

MODEL = bytes(range(256)) * 40


def _make_members(change: Callable[[dict[str, Any]], object] | None = None, **more: bytes) -> dict[str, bytes]:
    """Returns the members of a small bundle; `change` edits its manifest, `more` are further members."""
    others = {
        "model.onnx": MODEL,
        "tests/0/input-0.npy": npy_bytes(np.arange(8, dtype=np.float32).reshape(1, 2, 4)),
        "tests/0/output-0.npy": npy_bytes(np.float32([[1, 2]])),
        "report.json": b'{"speedup": 2.0}',
        **{name.replace("__", "/").replace("_", "-"): data for name, data in more.items()},
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in others.items()}
    manifest: dict[str, Any] = {
        "format": {"version": 1, "reader": 1},
        "strop": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "model": {"name": "tiny", "sha256": hashes["model.onnx"], "quantized": False},
        "engine": {"name": "onnxruntime", "settings": {"threads": 1}},
        "needs": {"engine": "onnxruntime", "version": "1.20", "isa": []},
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", None, 4]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 2]}],
        "preprocess": None,
        "tests": {
            "tolerance": 1e-3,
            "vectors": [{"inputs": {"x": "tests/0/input-0.npy"}, "outputs": {"y": "tests/0/output-0.npy"}}],
        },
        "native": False,
        "hashes": hashes,
        "metadata": {},
    }
    if change is not None:
        change(manifest)
    return {"manifest.json": dump_manifest(manifest), **others}


@pytest.fixture
def make_members() -> Callable[..., dict[str, bytes]]:
    return _make_members


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    return write_container(tmp_path / "tiny.strop", _make_members())
