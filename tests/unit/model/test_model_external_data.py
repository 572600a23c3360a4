"""Weights in other files: read, and refused where they would reach outside the model's folder."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir
import pytest

from strop.errors import ModelError
from strop.model.load import load_model
from strop.testing import models


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    proto = models.convolution_classifier()
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return folder / "m.onnx"


def rename_data(path: Path, location: str) -> None:
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())


def test_external_data_are_loaded(path: Path) -> None:
    assert load_model(path).sha256 == load_model(models.convolution_classifier()).sha256
    inlined = load_model(models.convolution_classifier()).to_proto().graph.initializer
    through_ir = load_model(onnx_ir.load(path)).to_proto().graph.initializer
    assert {t.name: t.raw_data for t in through_ir} == {t.name: t.raw_data for t in inlined}


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "", "sub/../../secret"])
def test_external_data_outside_the_folder_are_refused(path: Path, location: str) -> None:
    (path.parent.parent / "secret").write_bytes(bytes(100_000))
    rename_data(path, location)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        load_model(path)
    assert caught.value.code == "model.external-data"


def test_a_link_that_leads_outside_is_refused(path: Path) -> None:
    (path.parent / "m.data").rename(path.parent.parent / "secret")
    (path.parent / "m.data").symlink_to(path.parent.parent / "secret")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_model(path)


def test_an_onnx_ir_model_whose_data_file_is_gone_is_refused(path: Path) -> None:
    ir = onnx_ir.load(path)
    (path.parent / "m.data").unlink()
    with pytest.raises(ModelError, match="cannot be read") as caught:
        load_model(ir)
    assert caught.value.code == "model.external-data"
