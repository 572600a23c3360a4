"""Each error of model and frontends: its code, message and hint."""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from strop.errors import DataError, FileError, InputError, ModelError, NotSupportedError, StropError, UsageError
from strop.frontends.torch import to_onnx
from strop.model import read, save
from strop.model.load import load_model
from strop.model.oracle import run_reference, run_unoptimized
from strop.model.preprocess import Preprocess
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.shapes import parse_shapes, with_batch, with_shapes
from strop.model.specs import TensorSpec
from strop.testing import models

CLASSIFIER = models.convolution_classifier()
CONTENT = CLASSIFIER.SerializeToString()


def error_of(call: Callable[[], object], kind: type[StropError], code: str) -> StropError:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind and caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


def load_content(folder: Path, content: bytes, name: str = "model.onnx") -> Callable[[], object]:
    (folder / name).write_bytes(content)
    return lambda: load_model(folder / name)


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "model.pt2", "model.pkl"])
def test_files_that_can_run_code_are_refused_unread(tmp_path: Path, name: str) -> None:
    error = error_of(lambda: load_model(tmp_path / name), UsageError, "usage.refused-file")
    assert "can run code" in str(error) and "torch.onnx.export" in error.hint


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "resnet.onnx").write_bytes(CONTENT)
    error = error_of(lambda: load_model(tmp_path / "resent.onnx"), ModelError, "model.missing-file")
    assert "resnet.onnx" in error.hint
    error = error_of(lambda: load_model("nowhere/model.onnx"), ModelError, "model.missing-file")
    assert "check the path" in error.hint


@pytest.mark.parametrize(
    ("content", "name", "got", "hint"),
    [
        (b"this is text, not a model\n", "model.onnx", "text that begins 'this is text", "give an ONNX file"),
        (b"<?xml version='1.0'?><net/>", "model.xml", "text", "from which this OpenVINO model was made"),
        (b"version https://git-lfs.github.com/spec/v1\n", "model.onnx", "Git LFS", "git lfs pull"),
        (b"PK\x03\x04" + bytes(100), "model.onnx", "zip", "unpack it"),
        (b"\x80\x02}q\x00.", "model.onnx", "a pickle", "torch.onnx.export"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "model.tflite", "binary", "tf2onnx"),
        (bytes(range(256)), "model.onnx", "binary data", "give an ONNX file"),
        (b"a", "model.onnx", "text", "give an ONNX file"),
    ],
)
def test_what_is_no_onnx_model_is_called_by_its_name(
    tmp_path: Path, content: bytes, name: str, got: str, hint: str
) -> None:
    error = error_of(load_content(tmp_path, content, name), ModelError, "model.not-onnx")
    assert "this is not an ONNX model" in str(error)
    assert got in str(error.got) and hint in error.hint


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "inside.onnx").write_bytes(CONTENT)
    error = error_of(lambda: load_model(tmp_path), ModelError, "model.not-onnx")
    assert "inside.onnx" in error.hint


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    error = error_of(load_content(tmp_path, b""), ModelError, "model.truncated")
    assert "the model file is empty" in str(error) and "download it again" in error.hint


@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_says_so(tmp_path: Path, part: float) -> None:
    error = error_of(load_content(tmp_path, CONTENT[: int(len(CONTENT) * part)]), ModelError, "model.truncated")
    assert "ends too early or is damaged" in str(error) and "download it again" in error.hint


def test_no_truncation_goes_unnoticed() -> None:
    for length in range(0, len(CONTENT), 37):
        with pytest.raises(ModelError):
            load_model(CONTENT[:length])


def test_damaged_bytes_load_or_are_refused_with_a_strop_error() -> None:
    random = np.random.default_rng(0)
    refused = 0
    for source in (CONTENT, models.branching(opset=12).SerializeToString(), models.quantized().SerializeToString()):
        for _ in range(60):
            damaged = bytearray(source)
            for place in random.integers(0, len(source), 2):
                damaged[place] = random.integers(0, 256)
            try:
                load_model(bytes(damaged))
            except StropError as error:
                refused += error.code in ("model.truncated", "model.invalid", "model.not-onnx")
    assert refused > 40


def test_weights_shorter_than_their_shape_say_so() -> None:
    proto = onnx.ModelProto.FromString(CONTENT)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    error = error_of(lambda: load_model(proto), ModelError, "model.truncated")
    assert "'w1'" in str(error) and "860 bytes" in str(error.got) and "864 bytes" in str(error.expected)


def test_a_file_above_2_gb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31 + 1)  # sparse: takes no room
    error = error_of(lambda: load_model(tmp_path / "huge.onnx"), ModelError, "model.too-large")
    assert "more than 2 GB" in str(error) and "external" in error.hint


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda graph: setattr(graph.node[0], "op_type", "Cnov"), "Cnov"),
        (lambda graph: graph.node[1].input.__setitem__(0, "nowhere"), "nowhere"),
        (lambda graph: graph.node.add(op_type="Relu", input=["x"], output=["c1"]), "c1"),
        (lambda graph: graph.node[0].input.__setitem__(0, "f"), "sorted"),
        (lambda graph: graph.node[0].ClearField("input"), "Conv"),
        (lambda graph: graph.output.append(graph.output[0]), "2 times"),
    ],
    ids=["unknown operator", "missing value", "value made twice", "cycle", "no inputs", "output listed twice"],
)
def test_a_model_against_the_rules_is_refused(change: Callable[[onnx.GraphProto], None], got: str) -> None:
    proto = onnx.ModelProto.FromString(CONTENT)
    change(proto.graph)
    error = error_of(lambda: load_model(proto), ModelError, "model.invalid")
    assert "breaks the rules of ONNX" in str(error) and got in str(error.got)


def test_missing_and_short_external_data_say_so(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(models.convolution_classifier(), path, save_as_external_data=True, location="m.data", size_threshold=0)
    data = (tmp_path / "m.data").read_bytes()
    (tmp_path / "m.data").write_bytes(data[:-100])
    error = error_of(lambda: load_model(path), ModelError, "model.external-data")
    assert "needed" in str(error.got) and "m.data again" in error.hint
    (tmp_path / "m.data").unlink()
    error = error_of(lambda: load_model(path), ModelError, "model.external-data")
    assert "no file 'm.data'" in str(error.got) and "copy m.data beside the model" in error.hint
    error = error_of(lambda: load_model(path.read_bytes()), ModelError, "model.external-data")
    assert "load the model by its path" in error.hint


def test_a_sequence_is_no_tensor() -> None:
    proto = models.multilayer_perceptron()
    del proto.graph.output[:]
    proto.graph.node.append(helper.make_node("SequenceConstruct", ["a", "r"], ["both"]))
    proto.graph.output.append(helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None))
    error = error_of(lambda: load_model(proto), NotSupportedError, "unsupported.model")
    assert "output 'both' is no tensor" in str(error) and "zipmap=False" in error.hint


def test_an_object_that_is_no_model_is_refused() -> None:
    error = error_of(lambda: load_model(3), UsageError, "usage.bad-option")  # type: ignore[arg-type]
    assert error.got == "int" and "PyTorch" in error.hint


@pytest.mark.parametrize("run", [run_unoptimized, run_reference])
def test_operators_of_others_cannot_be_computed(run: Callable[..., object]) -> None:
    model = load_model(models.custom_operator())
    error = error_of(lambda: run(model, make_inputs(model)), ModelError, "model.custom-operator")
    assert error.got == "com.example.Magic"


@pytest.mark.parametrize("run", [run_unoptimized, run_reference])
def test_inputs_a_model_cannot_take_are_an_engine_error(run: Callable[..., object]) -> None:
    model = load_model(models.multilayer_perceptron())
    inputs = {"x": np.zeros((1, 5), np.float32)}
    with pytest.raises(StropError) as caught:
        run(model, inputs)
    assert caught.value.code == "engine.run" and "check" in caught.value.hint


@pytest.mark.parametrize("text", ["x=1,a", "x=0,3", "x=1.5", "x=-2"])
def test_a_shape_that_cannot_be_read_shows_how_to_write_one(text: str) -> None:
    error = error_of(lambda: parse_shapes(text), UsageError, "usage.bad-option")
    assert error.got == text and "--shape x=1,3,48,320" in error.hint


def test_shapes_a_model_cannot_take_are_refused() -> None:
    width = load_model(models.dynamic_width())
    error = error_of(lambda: with_shapes(width, {"z": (1,)}), InputError, "input.unknown")
    assert "no input 'z'" in str(error) and "--shape x=" in error.hint
    error = error_of(lambda: with_shapes(width, {"x": (1, 8, 20)}), ModelError, "model.shape")
    assert "wrong number of dimensions" in str(error) and "the batch first" in error.hint
    fixed = load_model(models.constant_batch_reshape())
    error = error_of(lambda: with_shapes(fixed, {"x": (1, 4, 5)}), ModelError, "model.shape")
    assert "cannot take these shapes" in str(error) and "fixed_reshape" in str(error.got)
    state = load_model(models.stateful())
    shapes = {"x": (2, 4), "state": (3, 4)}
    error = error_of(lambda: with_shapes(state, shapes), ModelError, "model.shape")
    assert "'batch' is one size" in str(error) and "same number" in error.hint


def test_a_model_no_sizes_are_found_for_asks_for_them() -> None:
    weights = models.Weights()
    nodes = [helper.make_node("Reshape", ["a", weights.constant("target", np.array([7, 11, 13]))], ["y"])]
    proto = models.model(nodes, {"a": ("n", "m")}, {"y": (7, 11, 13)}, weights)
    error = error_of(lambda: runnable_inputs(load_model(proto)), ModelError, "model.shape")
    assert "no sizes were found" in str(error) and "--shape a=" in error.hint


def test_a_batch_that_cannot_be_followed_names_the_node() -> None:
    error = error_of(lambda: with_batch(load_model(models.constant_batch_reshape()), 4), ModelError, "model.batch")
    assert "node 'fixed_reshape' (Reshape) is made for 1" in str(error)
    assert "[1, 16]" in str(error.got) and "free batch axis" in error.hint


def test_a_model_without_batch_axis_says_so() -> None:
    proto = models.model([helper.make_node("Neg", ["x"], ["y"])], {"x": ()}, {"y": ()})
    error = error_of(lambda: with_batch(load_model(proto), 4), ModelError, "model.batch")
    assert "no input of the model has a batch axis" in str(error) and "--shape" in error.hint
    error = error_of(lambda: with_batch(load_model(proto), 0), UsageError, "usage.bad-option")
    assert "above 0" in str(error)


@pytest.mark.parametrize("cause", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: int) -> None:
    (tmp_path / "out.onnx").write_bytes(b"old")

    def fail(*_: object) -> int:
        raise OSError(cause, os.strerror(cause))

    monkeypatch.setattr(Path, "write_bytes", fail)
    error = error_of(lambda: load_model(CLASSIFIER).save(tmp_path / "out.onnx"), FileError, "file.write")
    assert os.strerror(cause) in str(error.got)
    assert ("free some space" if cause == errno.ENOSPC else "where you may create files") in error.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.onnx"]
    assert (tmp_path / "out.onnx").read_bytes() == b"old"


def test_saving_into_a_folder_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    error = error_of(lambda: load_model(CLASSIFIER).save(tmp_path / "no" / "out.onnx"), FileError, "file.write")
    assert "mkdir -p" in error.hint


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(CONTENT)

    def fail(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", fail)
    error = error_of(lambda: read.read_file(tmp_path / "model.onnx"), FileError, "file.read")
    assert error.got == "Permission denied" and "rights" in error.hint


def test_a_large_model_does_not_fit_into_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(CLASSIFIER)
    monkeypatch.setattr(save, "PROTO_LIMIT_BYTES", 100)
    error = error_of(model.to_bytes, ModelError, "model.too-large")
    assert "above 2 GB" in str(error) and "Model.save" in error.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("imagnet", "there is no such preset"),
        ("rezise=3", "there is no such option"),
        ("resize=big", "the value of resize cannot be read"),
        ("mean=0.5:0.5", "mean has the wrong number of channels"),
        ("channels=GRAY,std=1:1:1", "std has the wrong number of channels"),
        ("std=0", "must not be 0"),
        ("scale=1/0", "the value of scale cannot be read"),
        ("channels=RBG", "channels has no such value"),
        ("resize=3,letterbox=4", "exclude each other"),
        ("dtype=uint8", "uint8 holds no scaled values"),
    ],
)
def test_preprocessing_that_makes_no_sense_teaches(text: str, what: str) -> None:
    error = error_of(lambda: Preprocess.parse(text), DataError, "data.preprocess")
    assert what in str(error) and error.expected and "--preprocess imagenet" in error.hint


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((300, 300, 3), np.float32), "no RGB image"),
        (np.zeros((300, 300, 4), np.uint8), "no RGB image"),
        (np.zeros((3, 300, 300), np.uint8), "no RGB image"),
        (np.zeros((0, 300, 3), np.uint8), "no RGB image"),
        (np.zeros((300, 100, 3), np.uint8), "smaller than the crop"),
    ],
)
def test_images_that_do_not_fit_are_refused(image: np.ndarray, what: str) -> None:
    error = error_of(lambda: Preprocess.parse("crop=224").apply(image), DataError, "data.preprocess")
    assert what in str(error)


def test_inputs_are_checked_against_their_specification() -> None:
    spec = TensorSpec("x", "float32", ("batch", 4))
    error = error_of(lambda: spec.check(np.zeros((1, 4))), InputError, "input.dtype")
    assert "astype('float32')" in error.hint
    error = error_of(lambda: spec.check(np.zeros(4, np.float32)), InputError, "input.rank")
    assert "batch axis" in error.hint
    error = error_of(lambda: spec.check(np.zeros((1, 5), np.float32)), InputError, "input.shape")
    assert "[batch, 4]" in str(error.expected) and "--shape" in error.hint


def test_pytorch_models_need_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    error = error_of(lambda: to_onnx(object(), ()), NotSupportedError, "unsupported.package-missing")
    assert "needs the package torch" in str(error) and "strop[torch]" in error.hint


@pytest.mark.parametrize("size", [1 << 38, 1 << 62])
def test_shapes_that_need_more_memory_than_there_is(size: int) -> None:
    error = error_of(
        lambda: load_model(models.multilayer_perceptron(), shapes={"x": (size, 16)}), ModelError, "model.shape"
    )
    assert error.what == "the model cannot be run at these shapes here: they need more memory than there is"
    assert error.hint == "give smaller sizes"
