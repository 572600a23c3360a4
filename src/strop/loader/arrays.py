"""Arrays as `.npy` bytes, read without a copy and without trust: no pickle, no size that the bytes do not bear out."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.lib import format as npy


def npy_bytes(array: np.ndarray) -> bytes:
    """Returns `array` as the bytes of an `.npy` file; text held as objects becomes fixed-width text.

    Raises ValueError for objects that are no text.
    """
    plain = np.asarray(array, order="C")
    if plain.dtype.hasobject:
        if not all(isinstance(value, str) for value in plain.ravel()):
            raise ValueError("the array holds Python objects that are no text")
        plain = plain.astype(np.str_)
    buffer = io.BytesIO()
    npy.write_array(buffer, plain, allow_pickle=False)
    return buffer.getvalue()


def read_npy(data: memoryview) -> np.ndarray:
    """Returns the array in `data`, a read-only view of the same memory; raises ValueError where there is none."""
    head = io.BytesIO(bytes(data[:16384]))
    version = npy.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the npy format is not read")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(head)
    if dtype.hasobject:
        raise ValueError("the array holds Python objects")
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data) - head.tell():
        raise ValueError(f"{len(data) - head.tell()} bytes do not hold {dtype} {shape}")
    flat = (
        np.frombuffer(data, dtype, count=math.prod(shape), offset=head.tell())
        if math.prod(shape)
        else np.empty(0, dtype)
    )
    return flat.reshape(shape, order="F" if fortran_order else "C")
