from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import Strop

APPLICATION = """
import numpy as np
import strop

model = strop.compile("classifier.onnx", engine="onnxruntime", threads=1)
name = model.inputs[0].name


def items():
    return range(50)


def app(number):
    with strop.stage("decode"):
        image = np.random.default_rng(number).normal(size=(1, 3, 16, 16)).astype(np.float32)
        with strop.stage("scale"):
            image = image * 2
    with strop.stage("run"):
        scores = model({name: image})
    with strop.stage("postprocess"):
        return int(next(iter(scores.values())).argmax())
"""


def test_an_application_is_broken_down_by_its_stages(strop: Strop, classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    ran = strop("breakdown", "application.py:app", "--seconds", 0.5, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    assert document["schema"] == "strop.breakdown/1"
    names = [row["name"] for row in document["stages"]]
    assert names == ["next item", "decode", "decode > scale", "run", "postprocess", "Python overhead"]
    assert document["sum_off"] < 0.02
    assert abs(sum(row["ms"] for row in document["stages"]) / document["item_ms"] - 1) < 0.02
    assert document["gap"]["app_per_second"] > 0
    assert document["overlap"]["measured_per_second"] > 0
    assert "the benchmark says" in ran.stderr
    assert "█" in ran.stderr


def test_a_model_with_data_is_broken_down_into_all_its_stages(strop: Strop, classifier: Path) -> None:
    words = ("breakdown", classifier, "--data", "data.npz", "--engine", "onnxruntime:threads=1", "--seconds", 0.5)
    ran = strop(*words, "--json")
    assert ran.code == 0, ran.stderr
    document = ran.document
    wanted = ["decode", "preprocess", "queue", "copy in", "run", "copy out", "postprocess"]
    assert [row["name"] for row in document["stages"]] == ["next item", *wanted, "Python overhead"]
    assert document["sum_off"] < 0.02
    assert document["settings"]["threads"] == 1
    benchmark = document["benchmark"]
    assert benchmark["reused"]["per_second"] > 0 and benchmark["fresh"]["inputs"] > 1
    assert document["gap"]["benchmark_per_second"] == benchmark["reused"]["per_second"]


@pytest.mark.long  # README's commands do so, too
def test_a_model_of_images_is_broken_down(strop: Strop, tmp_path: Path) -> None:
    from onnx import helper
    from PIL import Image

    from strop.testing.models import Weights
    from strop.testing.models import model as build

    weights = Weights(0)
    weights.add("w", 4, 3, 4, 4)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[4, 4])]
    proto = build(nodes, {"x": (1, 3, 224, 224)}, {"y": (1, 4, 56, 56)}, weights)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(random.integers(0, 256, (240, 260, 3)).astype(np.uint8)).save(
            tmp_path / "images" / f"{number}.jpg"
        )
    words = ("--data", "images", "--preprocess", "imagenet", "--engine", "onnxruntime", "--seconds", 0.5)
    ran = strop("breakdown", "model.onnx", *words, "--json")
    assert ran.code == 0, ran.stderr
    taken = {row["name"]: row["ms"] for row in ran.document["stages"]}
    assert taken["decode"] > taken["queue"]
    assert taken["preprocess"] > taken["queue"]


def test_data_are_needed_for_a_model(strop: Strop, classifier: Path) -> None:
    ran = strop("breakdown", classifier)
    assert ran.code == 2
    assert "--data" in ran.stderr
