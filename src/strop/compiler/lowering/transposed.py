"""Transposed convolutions: a convolution for each phase of the output's pixels, interleaved.

Output pixel o gets w[k] * x[i] wherever o = i * stride + k * dilation - pad. Pixels o of one remainder by the stride
see the same taps k, on neighbouring input pixels: that phase is a plain convolution with stride 1. Where the kernel is
as large as the stride, each phase has one tap and is a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from strop.compiler.expressions import Expression, add, cast, channel, multiply, operand
from strop.compiler.levels import Convolve, Interleave, Slice
from strop.compiler.lowering.convolution import four, pair
from strop.compiler.lowering.quantized import Integers, integer_operands
from strop.compiler.lowering.scope import NotCovered, Scope
from strop.passes.graph import input_at, int_attribute, ints_attribute


@dataclass(frozen=True, slots=True)
class _Phase:
    """One remainder of an axis: which taps it sees, in the order of the input's pixels, and what they are taps of.

    before, after: rows of zeros the input needs (negative: rows it has too many); extent: pixels of the phase.
    """

    taps: tuple[int, ...]
    dilation: int
    before: int
    after: int
    extent: int


@dataclass(frozen=True, slots=True)
class _End:
    """What makes floats of each phase's sums; zero: the image's zero point."""

    epilogue: Expression
    channels: list[np.ndarray]
    zero: int = 0

    @classmethod
    def of(cls, whole: Integers | None, shifts: list[np.ndarray], outputs: int) -> _End:
        """Returns it for integers or floats, and perhaps a bias."""
        if whole is None:
            return cls(add(operand(0), channel(0)) if shifts else operand(0), shifts)
        real = multiply(cast(operand(0, "int32"), "float32"), channel(0))
        unit = np.broadcast_to(whole.unit.astype(np.float32), outputs)
        return cls(add(real, channel(1)) if shifts else real, [unit, *shifts], whole.zero)


def lower_transposed_convolution(node: onnx_ir.Node, scope: Scope) -> None:
    """ConvTranspose of one or two spatial axes with constant weights."""
    groups = int_attribute(node, "group", 1)
    whole = integer_operands(node, scope, outputs=1)
    if whole is not None and (groups == 1 or whole.unit.size == 1):
        image, weights = whole.image, whole.weights
    else:
        image, whole = scope.floats(node.inputs[0]), None
        weights = scope.need_constant(node.inputs[1], "the weights of a convolution")
    is_known = weights.dtype == np.float32 or whole is not None
    if weights.ndim not in (3, 4) or len(image.shape) != weights.ndim or not is_known:
        raise NotCovered(f"a transposed convolution of {weights.ndim - 2} spatial axes")
    spatial = weights.ndim - 2
    source, sizes = image.name, image.shape[2:]
    strides = ints_attribute(node, "strides") or (1,) * spatial
    dilations = ints_attribute(node, "dilations") or (1,) * spatial
    pads, outputs = _extents(node, sizes, weights.shape[2:], strides, dilations)
    if spatial == 1:
        weights, sizes, outputs = weights[:, :, None, :], (1, *sizes), (1, *outputs)
        source = scope.reshape(source, (*image.shape[:2], *sizes))
        strides, dilations, pads = (1, *strides), (1, *dilations), (0, *pads)
    filters = _filters(weights, groups)
    bias = input_at(node, 2)
    shifts = [] if bias is None else [scope.need_constant(bias, "the bias of a convolution")]
    end = _End.of(whole, shifts, filters.shape[0])
    axes = [
        [_phase(r, *each) for r in range(min(each[0], each[4]))]
        for each in zip(strides, dilations, pads, weights.shape[2:], outputs, sizes, strict=True)
    ]
    shape = (image.shape[0], filters.shape[0], *outputs)
    is_one = len(axes[0]) == len(axes[1]) == 1
    direct = node.outputs[0] if is_one and spatial == 2 else None
    names = [_convolve(scope, source, filters, groups, end, (down, across), direct)
             for down in axes[0] for across in axes[1]]  # fmt: skip
    if not is_one:
        core = Interleave((1, 1, *(min(pair) for pair in zip(strides, outputs, strict=True))))
        output = node.outputs[0] if spatial == 2 else None
        names = [scope.add(core, names, shape, output=output)]
    if spatial == 1:
        scope.reshape(names[0], (*shape[:2], shape[3]), output=node.outputs[0])


def _convolve(
    scope: Scope,
    source: str,
    filters: np.ndarray,
    groups: int,
    end: _End,
    phases: tuple[_Phase, _Phase],
    output: onnx_ir.Value | None,
) -> str:
    """Adds the convolution of one phase down and one across, and returns its name."""
    down, across = phases
    weights = filters[:, :, list(down.taps)][:, :, :, list(across.taps)]
    if not weights.size:  # pixels that no tap reaches: zero
        weights = np.zeros((*filters.shape[:2], 1, 1), filters.dtype)
        down, across = (_Phase((0,), 1, 0, each.extent - size, each.extent) for each, size in
                        zip(phases, scope.values[source].shape[2:], strict=True))  # fmt: skip
    source = _cropped(scope, source, (down, across))
    core = Convolve(
        np.ascontiguousarray(weights),
        dilations=pair((down.dilation, across.dilation)),
        pads=four(tuple(max(0, n) for n in (down.before, across.before, down.after, across.after))),
        groups=groups,
        input_zero=end.zero,
    )
    shape = (scope.values[source].shape[0], filters.shape[0], down.extent, across.extent)
    return scope.add(core, [source], shape, output=output, epilogue=end.epilogue, channels=end.channels)


def _cropped(scope: Scope, source: str, phases: Sequence[_Phase]) -> str:
    """Returns the image without the rows and columns that no tap of the phases reaches."""
    shape = scope.values[source].shape
    starts = [max(0, -phase.before) for phase in phases]
    sizes = [size - start - max(0, -phase.after)
             for size, start, phase in zip(shape[2:], starts, phases, strict=True)]  # fmt: skip
    if tuple(sizes) == shape[2:]:
        return source
    if min(sizes) < 1:
        raise NotCovered("a transposed convolution whose padding takes more than the image")
    return scope.add(Slice((0, 0, *starts), (1, 1, 1, 1)), [source], (*shape[:2], *sizes))


def _phase(remainder: int, stride: int, dilation: int, pad: int, kernel: int, output: int, size: int) -> _Phase:
    """Returns the phase of the pixels remainder, remainder + stride ... of an axis."""
    extent = -(-(output - remainder) // stride)
    # Tap k is of input pixel t + (remainder + pad - k * dilation) / stride for the phase's pixel t.
    steps = [(remainder + pad - k * dilation, k) for k in range(kernel)]
    found = sorted((step // stride, k) for step, k in steps if step % stride == 0)
    if not found:
        return _Phase((), 1, 0, 0, extent)
    first, last = found[0][0], found[-1][0]
    between = dilation // math.gcd(stride, dilation)
    return _Phase(tuple(k for _, k in found), between, -first, extent - 1 + last - (size - 1), extent)


def _filters(weights: np.ndarray, groups: int) -> np.ndarray:
    """Returns weights (inputs, outputs / groups, ...) as a convolution's: (outputs, inputs / groups, ...)."""
    inputs, each, *kernel = weights.shape
    grouped = weights.reshape(groups, inputs // groups, each, *kernel)
    return np.ascontiguousarray(grouped.swapaxes(1, 2)).reshape(groups * each, inputs // groups, *kernel)


def _extents(
    node: onnx_ir.Node,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the padding before each axis and the extents of the output."""
    count = len(sizes)
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None else attribute.as_string()
    extra = ints_attribute(node, "output_padding") or (0,) * count
    pads = ints_attribute(node, "pads") or (0,) * (2 * count)
    whole = [
        (size - 1) * stride + more + (taps - 1) * dilation + 1
        for size, stride, more, taps, dilation in zip(sizes, strides, extra, kernel, dilations, strict=True)
    ]
    wanted = ints_attribute(node, "output_shape")[-count:]
    if mode.startswith("SAME") and not wanted:
        wanted = tuple(size * stride for size, stride in zip(sizes, strides, strict=True))
    if not wanted:
        before, after = (pads[:count], pads[count:]) if mode == "NOTSET" else ((0,) * count, (0,) * count)
        outputs = [n - a - b for n, a, b in zip(whole, before, after, strict=True)]
    else:
        outputs = list(wanted)
        total = [max(0, n - want) for n, want in zip(whole, wanted, strict=True)]
        before = tuple(n // 2 if mode == "SAME_UPPER" else n - n // 2 for n in total)
    if min(outputs) < 1:
        raise NotCovered("a transposed convolution without output")
    return before, tuple(outputs)
