"""Every level of the compiler, and its machine code, computes what ONNX says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from strop.compiler.fuse import fuse
from strop.compiler.levels import Convolve
from strop.compiler.lower import lower, prepare
from strop.loader.cpu import isa_levels
from strop.model.batch import with_batch
from strop.model.load import load_model
from strop.model.oracle import run_unoptimized
from strop.model.random_inputs import make_inputs
from strop.testing import models
from tests.numerics.compiler import graphs
from tests.numerics.compiler.levels import check_levels, compare, compiled, runs

HOUSE = (
    models.convolution_classifier,
    models.multilayer_perceptron,
    models.depthwise_network,
    models.unfused_batch_norm,
)


@pytest.mark.parametrize("build", graphs.BY_HAND, ids=lambda build: build.__name__)
def test_every_level_computes_the_model(build: Callable[[], onnx.ModelProto]) -> None:
    check_levels(build())


@pytest.mark.parametrize("build", HOUSE, ids=lambda build: build.__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_level_computes_models_of_the_house(build: Callable[[int], onnx.ModelProto], batch: int) -> None:
    check_levels(build(batch))


@given(graphs.graphs())
def test_every_level_in_numpy_computes_random_graphs(proto: onnx.ModelProto) -> None:
    check_levels(proto, code=False)


@settings(max_examples=12)
@given(graphs.graphs())
def test_machine_code_computes_random_graphs(proto: onnx.ModelProto) -> None:
    model = load_model(proto)
    inputs = make_inputs(model)
    expected = run_unoptimized(model, inputs)
    one = compiled(model, inputs, isa_levels()[0])
    compare(isa_levels()[0], one, expected)
    for name, array in compiled(model, inputs, isa_levels()[0], threads=3).items():
        np.testing.assert_array_equal(array, one[name], err_msg="three threads")


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("zero", [0, 121])
def test_a_quantized_convolution_is_one_operation_on_integers(relu: bool, zero: int, depthwise: bool) -> None:
    model = load_model(graphs.quantized_convolution(relu=relu, zero=zero, depthwise=depthwise))
    graph = lower(prepare(model)).graph
    (core,) = (operation.core for operation in graph.operations if isinstance(operation.core, Convolve))
    assert (core.accumulator, core.input_zero) == ("int32", zero)
    inputs = make_inputs(model)
    expected = run_unoptimized(model, inputs)
    levels = dict(runs(model, inputs)) | {level: compiled(model, inputs, level) for level in isa_levels()}
    reference = levels["operations"]["y8"]
    assert np.max(np.abs(reference.astype(int) - expected["y8"].astype(int))) <= 1  # ties are rounded from elsewhere
    for level, outputs in levels.items():
        np.testing.assert_array_equal(outputs["y8"], reference, err_msg=level)


@pytest.mark.parametrize(("gemm", "flatten"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("zero", [0, 121])
def test_a_quantized_matrix_product_is_one_operation_on_integers(gemm: bool, flatten: bool, zero: int) -> None:
    model = load_model(graphs.quantized_rows(gemm=gemm, flatten=flatten, zero=zero))
    graph = lower(prepare(model)).graph
    (core,) = (operation.core for operation in graph.operations if isinstance(operation.core, Convolve))
    assert (core.accumulator, core.input_zero) == ("int32", zero)
    inputs = make_inputs(model)
    expected = run_unoptimized(model, inputs)
    levels = dict(runs(model, inputs)) | {level: compiled(model, inputs, level) for level in isa_levels()}
    for level, outputs in levels.items():
        np.testing.assert_allclose(outputs["c"], expected["c"], rtol=1e-5, atol=1e-5, err_msg=level)
        steps = np.abs(outputs["y8"].astype(int) - expected["y8"].astype(int))
        assert np.max(steps) <= 1 and np.mean(steps > 0) < 0.02, level


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize(("zero", "scales"), [(0, 6), (121, 1)])
def test_a_quantized_transposed_convolution_and_what_is_joined_with_it_stay_bytes(
    kernel: int, zero: int, scales: int
) -> None:
    model = load_model(graphs.quantized_transposed_convolution(kernel=kernel, zero=zero, scales=scales))
    graph = fuse(lower(prepare(model)).graph)
    floats = [name for name, value in graph.values.items() if value.dtype == "float32" and name not in graph.inputs]
    assert not floats
    inputs = make_inputs(model)
    expected = run_unoptimized(model, inputs)["y8"].astype(int)
    levels = dict(runs(model, inputs)) | {level: compiled(model, inputs, level) for level in isa_levels()}
    for level, outputs in levels.items():
        steps = np.abs(outputs["y8"].astype(int) - expected)
        assert np.max(steps) <= 1 and np.mean(steps > 0) < 0.02, level


@pytest.mark.parametrize("name", ["cifar10_resnet20", "cifar10_resnet20_raw", "ad_autoencoder", "mnist_cnn"])
def test_models_of_the_zoo_are_right_at_every_level(zoo: Path, name: str) -> None:
    model = load_model(zoo / "models" / f"{name}.onnx")
    static = model if all(spec.is_static for spec in model.inputs) else with_batch(model, 1)
    check_levels(static.to_proto())
