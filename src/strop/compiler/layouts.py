"""Where a value lies in memory: its logical ONNX axes and a byte stride for each, whatever order they are stored in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Shape = tuple[int, ...]

ALIGNMENT = 64
"""Buffers and packed weights begin at multiples of this."""

SLACK = 64
"""A kernel may read this far past the end of a buffer; what it reads there must not matter."""

_ALIASING = 1024
"""Pixels this many bytes apart (or a multiple) fall into few cache sets, which costs 25 to 40 %: they get 64 more."""


@dataclass(frozen=True, slots=True)
class Halo:
    """Rows above and below, columns left and right of an image, that hold zeros and may be read."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def union(self, other: Halo) -> Halo:
        """Returns the halo that serves both."""
        return Halo(
            max(self.top, other.top),
            max(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def covers(self, other: Halo) -> bool:
        """Whether this halo has every row and column of `other`."""
        return self.union(other) == self

    def __bool__(self) -> bool:
        return self != Halo()


NO_HALO = Halo()


@dataclass(frozen=True, slots=True)
class Layout:
    """A view without its place: logical `shape` in ONNX's order of axes, a byte `strides` per axis, numpy `dtype`.

    halo: rows and columns around the image (axes 2 and 3 of four) in the same buffer that hold `fill`: zero, or a
    quantized value's zero point. 0 byte strides repeat (broadcast).
    """

    shape: Shape
    strides: tuple[int, ...]
    dtype: str = "float32"
    halo: Halo = NO_HALO
    fill: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    @property
    def size(self) -> int:
        """Number of elements, without halo."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def before(self) -> int:
        """Bytes of halo before the first element."""
        if not self.halo:
            return 0
        return self.halo.top * self.strides[2] + self.halo.left * self.strides[3]

    @property
    def span(self) -> int:
        """Bytes from the first to behind the last element, halo included; what a buffer for it needs."""
        last = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True) if n)
        after = self.halo.bottom * self.strides[2] + self.halo.right * self.strides[3] if self.halo else 0
        return self.before + last + after + self.itemsize

    @property
    def is_dense(self) -> bool:
        """Whether elements lie in C order of the logical axes without gaps or halo (as an array of the user does)."""
        plain = dense(self.shape, self.dtype)
        same = all(a == b or n == 1 for a, b, n in zip(self.strides, plain.strides, self.shape, strict=True))
        return same and not self.halo

    @property
    def is_channels_last(self) -> bool:
        """Whether neighbouring channels (axis 1) are neighbours in memory; rows x channels counts too."""
        return len(self.shape) >= 2 and (self.strides[1] == self.itemsize or self.shape[1] == 1)

    def slice_channels(self, count: int) -> Layout:
        """Returns the layout of `count` of its channels (axis 1), which starts at a multiple of the channel stride."""
        return replace(self, shape=(self.shape[0], count, *self.shape[2:]))

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        halo = f" halo {self.halo.top},{self.halo.left},{self.halo.bottom},{self.halo.right}" if self.halo else ""
        halo += f" of {self.fill}" if self.fill else ""
        return f"{self.dtype}[{shape}] strides {','.join(map(str, self.strides))}{halo}"


def dense(shape: Shape, dtype: str = "float32") -> Layout:
    """Returns the layout of an array in C order.

    Example:
        >>> dense((1, 3, 4, 5)).strides
        (240, 80, 20, 4)
    """
    strides: list[int] = []
    step = np.dtype(dtype).itemsize
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return Layout(shape, tuple(reversed(strides)), dtype)


def channels_last(shape: Shape, dtype: str = "float32", halo: Halo = NO_HALO, *, pixel: int | None = None) -> Layout:
    """Returns the layout in which a pixel's (or row's) channels lie together: NHWC for four axes, as it is for two.

    pixel: bytes from one pixel to the next, None for the channels' bytes with padding where that avoids aliasing.

    Example:
        >>> channels_last((1, 256, 4, 5)).strides
        (21760, 4, 5440, 1088)
    """
    item = np.dtype(dtype).itemsize
    if pixel is None:
        pixel = shape[1] * item
        if pixel % _ALIASING == 0:
            pixel += 64
    if len(shape) == 2:
        return Layout(shape, (pixel, item), dtype)
    if len(shape) == 3:  # N, C, L
        return Layout(shape, (pixel * shape[2], item, pixel), dtype)
    row = pixel * (shape[3] + halo.left + halo.right)
    image = row * (shape[2] + halo.top + halo.bottom)
    return Layout(shape, (image, item, row, pixel), dtype, halo)


def array_of(buffer: np.ndarray, layout: Layout, offset: int = 0) -> np.ndarray:
    """Returns the logical array that lies in `buffer` (bytes), its first element at `offset`; a view, no copy."""
    flat = buffer.view(np.uint8).reshape(-1)[offset:]
    return np.ndarray(layout.shape, layout.dtype, buffer=flat.data, strides=layout.strides)
