from __future__ import annotations

from pathlib import Path

import pytest

from strop.engines.profiles import Origins
from strop.engines.source import StoredModel, readable
from strop.errors import ModelError
from strop.model.load import load_model
from strop.testing import models


def test_a_stored_model_is_read_from_its_own_file(tmp_path: Path) -> None:
    model = load_model(models.multilayer_perceptron())
    stored = StoredModel.at(model.save(tmp_path / "m.onnx"), like=model)
    with readable(stored) as source:
        assert source == tmp_path / "m.onnx"
    assert stored.to_bytes() == model.to_bytes()
    assert stored.save(tmp_path / "copy.onnx").read_bytes() == model.to_bytes()


def test_a_stored_model_survives_json(tmp_path: Path) -> None:
    model = load_model(models.quantized())
    stored = StoredModel.at(model.save(tmp_path / "m.onnx"), like=model)
    again = StoredModel.from_json(stored.to_json(), tmp_path / "m.onnx")
    assert (again.name, again.inputs, again.outputs, again.is_quantized) == (
        model.name,
        model.inputs,
        model.outputs,
        True,
    )


def test_a_model_in_memory_is_read_from_its_bytes() -> None:
    model = load_model(models.multilayer_perceptron())
    with readable(model) as source:
        assert source == model.to_bytes()


def test_a_model_too_large_for_one_message_is_read_from_a_file_that_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model(models.multilayer_perceptron())
    monkeypatch.setattr("strop.model.save.PROTO_LIMIT_BYTES", 100)
    with pytest.raises(ModelError):
        model.to_bytes()
    with readable(model) as source:
        assert isinstance(source, Path)
        assert source.exists()
        assert list(source.parent.glob("*.data")), "the weights lie in a second file"
    assert not source.exists()


def test_an_operation_comes_from_the_longest_name_it_begins_with() -> None:
    origins = Origins(load_model(models.convolution_classifier()))
    names = [row.name for row in origins.with_rest([])]
    assert len(names) > 3
    for name in names:
        for shown in (name, f"{name}_nchwc", f"fused {name}", f"{name}/WithoutBiases"):
            assert origins.of([shown]) == (name,)
    assert origins.of(["Reorder"]) == ()
    assert origins.of([names[0], f"{names[0]}_x", names[1]]) == (names[0], names[1])
