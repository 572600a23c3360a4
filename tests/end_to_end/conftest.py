"""Commands as users run them: in a process of their own, on files in a folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strop.engines.compile import compile as compile_model
from strop.testing.models import convolution_classifier


@dataclass(frozen=True)
class Ran:
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found


Strop = Callable[..., Ran]


@pytest.fixture
def strop(tmp_path: Path) -> Strop:
    """Runs `strop` with these words in the test's folder."""

    def run(*words: object, timeout: float = 240) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "strop.cli", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "140"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A tiny classifier, and beside it `data.npz`: 60 images with the labels that it mostly gives itself."""
    path = tmp_path / "classifier.onnx"
    model = convolution_classifier()
    path.write_bytes(model.SerializeToString())
    generator = np.random.default_rng(0)
    images = generator.normal(size=(60, 3, 16, 16)).astype(np.float32)
    compiled = compile_model(model, engine="onnxruntime", threads=1)
    labels = compiled(images)[compiled.outputs[0].name].argmax(1)
    compiled.close()
    labels[::10] = (labels[::10] + 1) % 5
    np.savez(tmp_path / "data.npz", **{compiled.inputs[0].name: images, "labels": labels})
    return path
