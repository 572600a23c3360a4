"""The transforms of Winograd's minimal filtering for 3x3 filters: F(2x2, 3x3) and F(4x4, 3x3).

    y = A^T [ (G w G^T) * (B^T x B) ] A          * element by element; x one tile of (m + 2) x (m + 2) pixels

They come from interpolation (Toom and Cook): a product of polynomials from its values at points. F(2x2) uses 0, 1, -1
and infinity. For F(4x4) the textbook's 0, 1, -1, 2, -2 and infinity make five times the error of 3/4 and 3/2 instead of
1 and 2, which take two operations more a line of the output; all constants are exact in float32. (On the choice: Alam,
Anderson, Barabasz, Gregg: Winograd Convolution for Deep Neural Networks: Efficient Point Selection, 2022.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strop.compiler.emit import Function, Value, constant

A, B = 0.75, 1.5
"""The points of F(4x4) beside 0 and infinity: plus and minus these."""


_PACKED_AT_ONCE = 128
"""Input channels whose filters are transformed at once: their doubles stay in the L2 cache."""


def filter_matrix(size: int) -> np.ndarray:
    """Returns G of F(size x size, 3x3), float64."""
    if size == 2:
        return np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    rows = [[1 / (A**2 * B**2), 0, 0]]
    for point, other in ((A, B), (B, A)):
        scale = 1 / (2 * point**2 * (point**2 - other**2))
        rows += [[scale, scale * point, scale * point**2], [scale, -scale * point, scale * point**2]]
    return np.array([*rows, [0, 0, 1]])


def input_matrix(size: int) -> np.ndarray:
    """Returns B^T of F(size x size, 3x3), float64."""
    if size == 2:
        return np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
    a, b = A**2, B**2
    rows = [[a * b, 0, -(a + b), 0, 1, 0]]
    for point, other in ((A, b), (B, a)):
        rows += [[0, -point * other, -other, point, 1, 0], [0, point * other, -other, -point, 1, 0]]
    return np.array([*rows, [0, a * b, 0, -(a + b), 0, 1]])


def output_matrix(size: int) -> np.ndarray:
    """Returns A^T of F(size x size, 3x3), float64."""
    if size == 2:
        return np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)
    points = np.array([0, A, -A, B, -B])
    rows = [[*(points**power), 0.0] for power in range(4)]
    rows[3][5] = 1.0
    return np.array(rows)


def transform_filters(weights: np.ndarray, size: int) -> np.ndarray:
    """Returns G w G^T of filters (..., 3, 3) in float64: places of the tile, then filters."""
    g = filter_matrix(size)
    return np.kron(g, g) @ weights.reshape(-1, 9).astype(np.float64).T


def pack_filters(weights: np.ndarray, size: int, lanes: int) -> np.ndarray:
    """Returns all filters (outputs, inputs, 3, 3) transformed, as [group of `lanes` outputs][place][input][lane]."""
    outputs, inputs = weights.shape[:2]
    matrix = np.kron(filter_matrix(size), filter_matrix(size))
    packed = np.zeros((-(-outputs // lanes), len(matrix), inputs, lanes), np.float32)
    most = min(inputs, _PACKED_AT_ONCE)
    own, transformed = np.zeros((9, most, lanes)), np.empty((len(matrix), most * lanes))
    for first in range(0, outputs, lanes):
        group = weights[first : first + lanes].reshape(-1, inputs, 9).transpose(2, 1, 0)
        if group.shape[2] < lanes:
            own[:] = 0
        for start in range(0, inputs, most):
            count = min(most, inputs - start)
            own[:, :count, : group.shape[2]] = group[:, start : start + count]
            np.matmul(matrix, own.reshape(9, -1), out=transformed)
            packed[first // lanes, :, start : start + count] = transformed.reshape(len(matrix), most, lanes)[:, :count]
    return packed


def emit_input_transform(f: Function, x: Sequence[Value]) -> list[Value]:
    """Returns B^T x for one line of a tile: 4 operations for F(2x2), 12 for F(4x4)."""
    if len(x) == 4:
        return [f.fsub(x[0], x[2]), f.fadd(x[1], x[2]), f.fsub(x[2], x[1]), f.fsub(x[1], x[3])]

    def fused(number: float, a: Value, b: Value) -> Value:
        return f.fma(constant(a.type, number), a, b)

    a, b = A**2, B**2
    far_even, far_odd = fused(-b, x[2], x[4]), fused(-b, x[1], x[3])
    near_even, near_odd = fused(-a, x[2], x[4]), fused(-a, x[1], x[3])
    return [
        fused(a * b, x[0], fused(-(a + b), x[2], x[4])),
        fused(A, far_odd, far_even),
        fused(-A, far_odd, far_even),
        fused(B, near_odd, near_even),
        fused(-B, near_odd, near_even),
        fused(a * b, x[1], fused(-(a + b), x[3], x[5])),
    ]


def emit_output_transform(f: Function, m: Sequence[Value]) -> list[Value]:
    """Returns A^T m for one line of a tile: 4 operations for F(2x2), 12 for F(4x4)."""
    if len(m) == 4:
        return [f.fadd(f.fadd(m[0], m[1]), m[2]), f.fsub(f.fsub(m[1], m[2]), m[3])]

    def fused(number: float, a: Value, b: Value) -> Value:
        return f.fma(constant(a.type, number), a, b)

    def scaled(number: float, a: Value) -> Value:
        return f.fmul(constant(a.type, number), a)

    even, odd = f.fadd(m[1], m[2]), f.fsub(m[1], m[2])
    far_even, far_odd = f.fadd(m[3], m[4]), f.fsub(m[3], m[4])
    return [
        f.fadd(f.fadd(m[0], even), far_even),
        fused(A, odd, scaled(B, far_odd)),
        fused(A**2, even, scaled(B**2, far_even)),
        fused(A**3, odd, fused(B**3, far_odd, m[5])),
    ]
