"""Operators that move data, resize images or spread them, at every level of the compiler, against the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from strop.compiler.levels import Interleave, Slice
from strop.compiler.lower import lower, prepare
from strop.model.load import load_model
from strop.testing.models import Weights
from tests.numerics.compiler.levels import check_levels, planned

Shapes = Mapping[str, tuple[int, ...]]


def model(
    nodes: list[onnx.NodeProto],
    inputs: Shapes,
    outputs: Sequence[str],
    weights: Weights,
    types: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """Returns the model of these nodes, the shapes of its outputs inferred."""
    kinds = types or {}
    given = [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), s) for n, s in inputs.items()]
    made = [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in outputs]
    graph = helper.make_graph(nodes, "tiny", given, made, weights.tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred)
    return inferred


def one_node(
    operator: str,
    inputs: list[str | np.ndarray],
    shape: tuple[int, ...] = (1, 5, 4, 6),
    **attributes: object,
) -> onnx.ModelProto:
    """A node between two others, so that its operand and result are laid out as images are inside of networks."""
    weights = Weights()
    names = [each if isinstance(each, str) else weights.constant(f"i{number}", each)
             for number, each in enumerate(inputs)]  # fmt: skip
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["before"], alpha=0.5),
        helper.make_node(operator, ["before", *names], ["behind"], "node", **attributes),
        helper.make_node("LeakyRelu", ["behind"], ["y"], alpha=0.5),
    ]
    return model(nodes, {"x": shape}, ["y"], weights)


def convolved(operator: str, inputs: list[str | np.ndarray], channels: int, **attributes: object) -> onnx.ModelProto:
    """A node between convolutions."""
    weights = Weights()
    names = [each if isinstance(each, str) else weights.constant(f"i{number}", each)
             for number, each in enumerate(inputs)]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", weights.add("a", 8, 3, 3, 3)], ["before"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["before", *names], ["behind"], "node", **attributes),
        helper.make_node("Conv", ["behind", weights.add("b", 4, channels, 3, 3)], ["y"], pads=[1, 1, 1, 1]),
    ]
    return model(nodes, {"x": (1, 3, 6, 4)}, ["y"], weights)


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> onnx.ModelProto:
    weights = Weights(draw(st.integers(0, 9)))
    spatial = draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 3)), draw(st.integers(1, 4))
    axes = []
    for _ in range(spatial):
        size, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 4, 3, 2))
        before, after = (draw(st.integers(0, kernel - 1)) for _ in range(2))
        extra = draw(st.integers(0, stride - 1))
        extent = (size - 1) * stride + extra + (kernel - 1) * dilation + 1 - before - after
        axes.append((size, kernel, stride, dilation, before, after, extra, extent))
    sizes, kernels, strides, dilations, before, after, extra, extents = zip(*axes, strict=True)
    names = ["x", weights.add("w", inputs, outputs, *kernels)]
    if draw(st.booleans()):
        names.append(weights.add("b", groups * outputs))
    if min(extents) < 1:
        before = after = (0,) * spatial
    nodes = [
        helper.make_node("ConvTranspose", names, ["t"], strides=strides, dilations=dilations, pads=[*before, *after],
                         output_padding=extra, group=groups),
        helper.make_node("Relu", ["t"], ["y"]),
    ]  # fmt: skip
    return model(nodes, {"x": (draw(st.integers(1, 2)), inputs, *sizes)}, ["y"], weights)


@settings(max_examples=40)
@given(transposed_convolutions())
def test_transposed_convolutions_are_convolutions_of_phases(proto: onnx.ModelProto) -> None:
    check_levels(proto)


@pytest.mark.parametrize(
    "attributes",
    [
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
        {"output_shape": [9, 13], "strides": [2, 2]},
        {"auto_pad": "VALID", "strides": [1, 1]},
    ],
)
def test_a_transposed_convolution_works_out_its_padding(attributes: dict[str, object]) -> None:
    weights = Weights()
    node = helper.make_node("ConvTranspose", ["x", weights.add("w", 3, 4, 3, 3)], ["y"], **attributes)
    check_levels(model([node], {"x": (1, 3, 4, 6)}, ["y"], weights))


def test_a_kernel_as_large_as_its_stride_is_one_product_a_phase_written_where_it_belongs() -> None:
    weights = Weights()
    nodes = [
        helper.make_node("Conv", ["x", weights.add("a", 8, 3, 3, 3)], ["skip"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["skip"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["half", weights.add("t", 8, 6, 2, 2)], ["up"], strides=[2, 2]),
        helper.make_node("Relu", ["up"], ["r"]),
        helper.make_node("Concat", ["r", "skip"], ["both"], axis=1),
        helper.make_node("Conv", ["both", weights.add("b", 4, 14, 3, 3)], ["y"], pads=[1, 1, 1, 1]),
    ]
    proto = model(nodes, {"x": (1, 3, 8, 6)}, ["y"], weights)
    check_levels(proto)
    plan = planned(proto)
    kinds = [type(operation.core).__name__ for operation in plan.views.graph.operations]
    assert kinds.count("Convolve") == 6 and kinds.count("Interleave") == 1 and "Compute" not in kinds
    copies = [step.name for step in plan.views.steps if step.is_copy]
    assert not [name for name in copies if "y" not in name], copies


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    "rule", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
)
@pytest.mark.parametrize("size", [(8, 12), (5, 9), (3, 2), (1, 1)])
def test_images_are_resized_by_every_rule(mode: str, rule: str, size: tuple[int, int]) -> None:
    sizes = np.array([1, 5, *size])
    rules = {"mode": mode, "coordinate_transformation_mode": rule}
    check_levels(one_node("Resize", ["", "", sizes], **rules))


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_nearest_neighbours_are_rounded_as_asked(rounding: str) -> None:
    scales = np.array([1, 1, 2.5, 0.6], np.float32)
    check_levels(one_node("Resize", ["", scales], mode="nearest", nearest_mode=rounding))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("shape", "sizes"), [((4, 6), (9, 3)), ((2, 3, 5), (2, 3, 8)), ((1, 4, 6, 3), (1, 7, 9, 3))])
def test_resizes_find_their_axes(mode: str, shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    check_levels(one_node("Resize", ["", "", np.array(sizes)], shape, mode=mode))


def test_an_image_between_convolutions_is_resized_into_its_halo() -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    rules = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    check_levels(convolved("Resize", ["", scales], 8, **rules))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(0, 0, 2, 1, 0, 0, 1, 3), (0, 2, 0, 0, 0, 1, 0, 3), (0, 0, -1, 2, 0, 0, 1, -2)])
def test_padding_shows_what_its_mode_says(mode: str, pads: tuple[int, ...]) -> None:
    check_levels(one_node("Pad", [np.array(pads)], mode=mode))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("numbers", [[1], 0, [0, 2, -1, 0], [[3, 1], [0, -4]], [0, 1, 2]])
def test_constant_places_are_gathered_along_any_axis(axis: int, numbers: object) -> None:
    check_levels(one_node("Gather", [np.array(numbers)], (4, 5, 4, 6), axis=axis))


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_places_may_be_computed(kind: int) -> None:
    weights = Weights()
    nodes = [
        helper.make_node("Gather", [weights.add("table", 7, 19), "i"], ["rows"]),
        helper.make_node("GatherElements", ["rows", "e"], ["some"], axis=2),
        helper.make_node("GatherND", ["rows", "t"], ["y"], batch_dims=1),
        helper.make_node("Relu", ["some"], ["z"]),
    ]
    shapes = {"i": (2, 5), "e": (2, 3, 4), "t": (2, 3, 1)}
    proto = model(nodes, shapes, ["z", "y"], weights, types=dict.fromkeys("ie", kind) | {"t": TensorProto.INT64})
    check_levels(proto)


@pytest.mark.parametrize("steps", [(-1, 1), (1, -2), (-2, -1), (2, -1)])
def test_slices_go_backwards(steps: tuple[int, int]) -> None:
    bounds = [
        np.array([-1 if step < 0 else 0 for step in steps]),
        np.array([-99 if step < 0 else 99 for step in steps]),
    ]
    check_levels(one_node("Slice", [*bounds, np.array([1, 3]), np.array(steps)]))


@pytest.mark.parametrize("shape", [(5, 4, 6), (3, 1, 5, 4, 6), (1, 5, 1, 1)])
def test_expanding_repeats(shape: tuple[int, ...]) -> None:
    check_levels(one_node("Expand", [np.array(shape)], (1, 4, 6) if len(shape) == 3 else (1, 5, 4, 6)))


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (2, 1, 1, 3), (1, 3, 2, 1)])
def test_tiling_repeats_the_whole(counts: tuple[int, ...]) -> None:
    check_levels(one_node("Tile", [np.array(counts)]))


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("offset", [-2, 0, 1, 9])
def test_triangles_are_kept(upper: int, offset: int) -> None:
    check_levels(one_node("Trilu", [np.array(offset)], upper=upper))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_is_hot(axis: int) -> None:
    weights = Weights()
    names = [weights.constant("depth", np.array(5)), weights.constant("values", np.array([-1.5, 2], np.float32))]
    node = helper.make_node("OneHot", ["i", *names], ["y"], axis=axis)
    check_levels(model([node], {"i": (3, 4)}, ["y"], weights, types={"i": TensorProto.INT64}))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("channels", [4, 12])
def test_blocks_of_channels_become_blocks_of_pixels(mode: str, channels: int) -> None:
    check_levels(one_node("DepthToSpace", [], (2, channels, 3, 5), blocksize=2, mode=mode))


def test_blocks_between_convolutions() -> None:
    check_levels(convolved("DepthToSpace", [], 2, blocksize=2))
    check_levels(convolved("SpaceToDepth", [], 32, blocksize=2))


@pytest.mark.parametrize(
    "kind", [TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE]
)
def test_data_of_any_type_is_moved(kind: int) -> None:
    weights = Weights()
    bounds = [weights.constant(f"b{i}", np.array([n])) for i, n in enumerate((-1, -9, 2, -1))]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["t", *bounds], ["s"]),
        helper.make_node("Concat", ["t", "s"], ["c"], axis=2),
        helper.make_node("Gather", ["c", weights.constant("i", np.array([2, 0, 2]))], ["g"], axis=2),
        helper.make_node("Reshape", ["g", weights.constant("r", np.array([-1, 3]))], ["y"]),
        helper.make_node("Tile", ["x", weights.constant("n", np.array([1, 2, 1]))], ["z"]),
    ]  # fmt: skip
    check_levels(model(nodes, {"x": (2, 5, 20)}, ["y", "z"], weights, types=dict.fromkeys(("x", "y", "z"), kind)))


def test_halves_that_are_joined_again_are_not_copied() -> None:
    weights = Weights()

    def conv(source: str, target: str, outputs: int, inputs: int) -> onnx.NodeProto:
        return helper.make_node(
            "Conv", [source, weights.add(target, outputs, inputs, 3, 3)], [target[1:]], pads=[1] * 4
        )

    bounds = [[weights.constant(f"{name}{b}", np.array([n])) for name, n in (("b", b), ("e", e), ("a", 1))]
              for b, e in ((0, 4), (4, 8))]  # fmt: skip
    nodes = [
        conv("x", "wc", 8, 3),
        helper.make_node("Slice", ["c", *bounds[0][:2], bounds[0][2]], ["low"]),
        helper.make_node("Slice", ["c", *bounds[1][:2], bounds[1][2]], ["high"]),
        conv("high", "wd", 4, 4),
        helper.make_node("Concat", ["low", "high", "d"], ["all"], axis=1),
        conv("all", "wy", 5, 12),
    ]
    proto = model(nodes, {"x": (1, 3, 6, 5)}, ["y"], weights)
    check_levels(proto)
    views = planned(proto).views
    assert [step.name for step in views.steps if step.is_copy and not step.output.buffer.startswith("output")] == []
    assert sum(isinstance(operation.core, Slice) for operation in views.graph.operations) == 1


def test_shapes_that_are_worked_out_leave_nothing_to_run() -> None:
    weights = Weights()
    two, axis = weights.constant("two", np.array([2])), weights.constant("axis", np.array(2))
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", axis], ["h"]),
        helper.make_node("Unsqueeze", ["h", weights.constant("zero", np.array([0]))], ["hs"]),
        helper.make_node("Mul", ["hs", two], ["twice"]),
        helper.make_node("Cast", ["twice"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Floor", ["f"], ["ff"]),
        helper.make_node("Cast", ["ff"], ["n"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["n"], ["zeros"]),
        helper.make_node("Concat", ["n", weights.constant("rest", np.array([-1]))], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    proto = model(nodes, {"x": (1, 3, 4, 6)}, ["y"], weights)
    check_levels(proto)
    lowered = lower(prepare(load_model(proto)))
    assert len(lowered.graph.operations) == 2


def test_phases_of_an_axis_shorter_than_the_stride() -> None:
    assert Interleave((1, 1, 3, 2)).starts((1, 4, 2, 5)) == [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 1, 1)]
