"""A network like YOLOv8n (Ultralytics 2023) for 320 x 320 images, with the head that decodes boxes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx

from benchmarks.networks.builder import NetworkBuilder
from benchmarks.networks.inputs import images

IMAGE, CLASSES, BINS = 320, 80, 16
STRIDES = (8, 16, 32)
BOXES = sum((IMAGE // stride) ** 2 for stride in STRIDES)


def yolov8n_320() -> onnx.ModelProto:
    """Returns the detector: per box its centre, width, height in pixels and 80 scores."""
    net = NetworkBuilder("yolov8n_320", seed=100)
    x = _conv(net, net.example_input("input", images(IMAGE)), 16, 3, scope="0", stride=2)
    x = _conv(net, x, 32, 3, scope="1", stride=2)
    x = _conv(net, _split_block(net, x, 32, 1, scope="2"), 64, 3, scope="3", stride=2)
    fine = _split_block(net, x, 64, 2, scope="4")
    middle = _split_block(net, _conv(net, fine, 128, 3, scope="5", stride=2), 128, 2, scope="6")
    coarse = _split_block(net, _conv(net, middle, 256, 3, scope="7", stride=2), 256, 1, scope="8")
    coarse = _pyramid_pooling(net, coarse, 256, scope="9")
    middle_up = net.concat([_twice_as_large(net, coarse), middle])
    middle_up = _split_block(net, middle_up, 128, 1, scope="12", residual=False)
    fine = net.concat([_twice_as_large(net, middle_up), fine])
    fine = _split_block(net, fine, 64, 1, scope="15", residual=False)
    middle = net.concat([_conv(net, fine, 64, 3, scope="16", stride=2), middle_up])
    middle = _split_block(net, middle, 128, 1, scope="18", residual=False)
    coarse = net.concat([_conv(net, middle, 128, 3, scope="19", stride=2), coarse])
    coarse = _split_block(net, coarse, 256, 1, scope="21", residual=False)
    maps = (fine, middle, coarse)
    distances = _flat_predictions(net, maps, width=64, channels=4 * BINS, scope="box")
    scores = _flat_predictions(net, maps, width=80, channels=CLASSES, scope="class")
    return net.finish(_decoded(net, distances, scores), (1, 4 + CLASSES, BOXES))


def _conv(net: NetworkBuilder, x: str, channels: int, kernel: int, *, scope: str, stride: int = 1) -> str:
    with net.scope(scope):
        return net.silu(net.conv(x, channels, kernel, scope="conv", stride=stride))


def _split_block(net: NetworkBuilder, x: str, channels: int, count: int, *, scope: str, residual: bool = True) -> str:
    """Adds the block that splits its channels in two and keeps what each of its bottlenecks gives."""
    with net.scope(scope):
        parts = _halves(net, _conv(net, x, channels, 1, scope="cv1"))
        for number in range(count):
            y = _conv(net, parts[-1], channels // 2, 3, scope=f"m.{number}.cv1")
            y = _conv(net, y, channels // 2, 3, scope=f"m.{number}.cv2")
            parts.append(net.sum(parts[-1], y) if residual else y)
        return _conv(net, net.concat(parts), channels, 1, scope="cv2")


def _halves(net: NetworkBuilder, x: str) -> list[str]:
    """Adds the two halves of the channels as exporters write `chunk`: counted at run time."""
    shape, axis = net.node("Shape", x), net.constant([1])
    count = net.node("Gather", shape, axis, axis=0)
    begin, one = net.constant([0]), net.constant([1])
    half = net.node("Div", net.node("Add", count, one), net.constant([2]))
    middle = net.node("Mul", half, net.constant([1]))
    low, high = np.split(net.values[x], 2, axis=1)
    first = net.node("Slice", x, begin, middle, axis, value=low)
    end = net.node("Mul", half, net.constant([2]))
    return [first, net.node("Slice", x, middle, end, axis, value=high)]


def _pyramid_pooling(net: NetworkBuilder, x: str, channels: int, *, scope: str) -> str:
    with net.scope(scope):
        values = [_conv(net, x, channels // 2, 1, scope="cv1")]
        for _ in range(3):
            values.append(net.max_pool(values[-1], 5, stride=1, padding=2))
        return _conv(net, net.concat(values), channels, 1, scope="cv2")


def _twice_as_large(net: NetworkBuilder, x: str) -> str:
    return net.node(
        "Resize",
        x,
        "",
        net.constant([1, 1, 2, 2], np.float32),
        value=net.values[x].repeat(2, axis=2).repeat(2, axis=3),
        coordinate_transformation_mode="asymmetric",
        cubic_coeff_a=-0.75,
        mode="nearest",
        nearest_mode="floor",
    )


def _flat_predictions(net: NetworkBuilder, maps: tuple[str, ...], *, width: int, channels: int, scope: str) -> str:
    """Adds what is predicted on each map, all pixels of all maps behind each other."""
    flat = []
    for number, x in enumerate(maps):
        with net.scope(f"{scope}.{number}"):
            x = _conv(net, _conv(net, x, width, 3, scope="0"), width, 3, scope="1")
            x = net.conv(x, channels, scope="2")
        axis, begin, end = net.constant([0]), net.constant([0]), net.constant([2])
        kept = net.node("Slice", net.node("Shape", x), begin, end, axis)
        flat.append(net.node("Reshape", x, net.node("Concat", kept, net.constant([-1]), axis=0), allowzero=0))
    return net.node("Concat", *flat, axis=2)


def _decoded(net: NetworkBuilder, distances: str, scores: str) -> str:
    """Adds the boxes: a distance to each side is the mean bin under a softmax, from the centre of its pixel."""
    bins = net.node("Reshape", distances, net.constant([1, 4, BINS, BOXES]), allowzero=0)
    shares = net.node("Softmax", net.node("Transpose", bins, perm=[0, 2, 1, 3]), axis=1)
    numbers = net.weight("bins", np.arange(BINS).reshape(1, BINS, 1, 1))
    sides = net.node("ReduceSum", net.node("Mul", shares, numbers), net.constant([1]), keepdims=0)
    ends = (0, 2, np.iinfo(np.int64).max)
    parts = []
    for begin, end in pairwise(ends):
        axis, first, last, step = (net.constant([number]) for number in (1, begin, end, 1))
        parts.append(net.node("Slice", sides, first, last, axis, step))
    centres, sizes = _anchors()
    anchors, strides = net.weight("anchors", centres), net.weight("strides", sizes)
    low, high = net.node("Sub", anchors, parts[0]), net.node("Add", anchors, parts[1])
    middle = net.node("Div", net.node("Add", low, high), net.constant(2.0, np.float32))
    middle = net.node("Mul", middle, strides)
    extent = net.node("Mul", net.node("Sub", high, low), strides)
    return net.node("Concat", middle, extent, net.node("Sigmoid", scores), axis=1)


def _anchors() -> tuple[np.ndarray, np.ndarray]:
    """Returns the centre of each pixel of each map, in units of its stride [1, 2, BOXES], and the strides."""
    centres, strides = [], []
    for stride in STRIDES:
        places = np.arange(IMAGE // stride) + 0.5
        rows, columns = np.meshgrid(places, places, indexing="ij")
        centres.append(np.stack([columns.ravel(), rows.ravel()]))
        strides.append(np.full(rows.size, stride))
    return np.concatenate(centres, axis=1)[None], np.concatenate(strides)[None, None]
