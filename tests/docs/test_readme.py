"""README's commands and code run, in its order, on a small model that stands in for the reader's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from strop.engines.compile import compile as compile_model
from strop.model.preprocess import Preprocess
from strop.testing.models import Weights
from strop.testing.models import model as build

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.timeout(900)  # every command, one after the other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 224 x 224 images, images, labels that the model mostly agrees with, and one input as .npz."""
    weights = Weights(0)
    weights.add("w", 6, 3, 4, 4)
    weights.add("gemm", 6, 5)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", strides=[4, 4]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "gemm"], ["scores"], "gemm"),
    ]
    proto = build(nodes, {"x": ("batch", 3, 224, 224)}, {"scores": ("batch", 5)}, weights)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "images").mkdir()
    generator, compiled = np.random.default_rng(0), compile_model(proto, engine="onnxruntime", threads=1)
    preprocess, rows = Preprocess.parse("imagenet"), ["path,label"]
    for number in range(24):
        flat = np.full((240, 260, 3), generator.integers(0, 256, 3), np.uint8)
        Image.fromarray(flat).save(tmp_path / "images" / f"{number}.png")
        label = int(compiled({"x": preprocess.apply(flat)[None]})["scores"].argmax())
        rows.append(f"{number}.png,{label}")
    compiled.close()
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3, 224, 224), np.float32))
    return tmp_path


def test_what_the_readme_shows_runs(folder: Path) -> None:
    blocks = re.findall(r"```(console|python)\n(.*?)```", README.read_text(encoding="utf8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["console", "python", "console", "python"]
    ran = []
    for kind, text in blocks:
        if kind == "python":
            _run([sys.executable, "-c", text], folder)
            continue
        for line in text.strip().splitlines():
            words = shlex.split(line)
            assert words[0] == "strop"
            _run([sys.executable, "-m", "strop.cli", *words[1:]], folder)
            ran.append(words[1])
    assert (folder / "model.strop").exists() and (folder / "y.npz").exists()
    from strop.cli.app import COMMANDS

    assert set(ran) == set(COMMANDS) - {"demo"}, "README shows every command"


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, env=os.environ | {"COLUMNS": "140"}, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
