"""What a request may be given: the slow and exact way, which converts what it can and says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from strop.errors import InputError
from strop.loader.plan import Tensor

Inputs = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray


def input_arrays(tensors: Sequence[Tensor], inputs: Inputs) -> list[np.ndarray]:
    """Returns the inputs in order, in C order; a copy only of what was not. Raises InputError."""
    given = _in_order(tensors, inputs)
    arrays = []
    for tensor, value in zip(tensors, given, strict=True):
        array = np.asarray(value, order="C")
        _check(tensor, array)
        arrays.append(array)
    return arrays


def output_buffers(tensors: Sequence[Tensor], buffers: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the caller's arrays for the outputs in order; raises InputError `output.buffer`."""
    names = [tensor.name for tensor in tensors]
    wrong = [name for name in names if name not in buffers] or [name for name in buffers if name not in names]
    if wrong:
        problem = "has no buffer" if wrong[0] in names else "is no output of the model"
        raise _buffer_error(wrong[0], problem, got=", ".join(buffers) or "none", expected=", ".join(names))
    arrays = [buffers[name] for name in names]
    for index, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
        if not isinstance(array, np.ndarray):
            raise _buffer_error(tensor.name, "needs a numpy array", got=type(array).__name__, expected="an array")
        if array.dtype != np.dtype(tensor.dtype):
            raise _buffer_error(tensor.name, "has the wrong element type", got=array.dtype, expected=tensor.dtype)
        if array.shape != tensor.shape:
            raise _buffer_error(tensor.name, "has the wrong shape", got=array.shape, expected=tensor.shape)
        if not array.flags.writeable:
            raise _buffer_error(tensor.name, "cannot be written", got="a read-only array", expected="a writeable one")
        if not array.flags.c_contiguous:
            raise _buffer_error(tensor.name, "is not in C order", got=f"strides {array.strides}", expected="C order")
        if any(np.may_share_memory(array, other) for other in arrays[:index]):
            raise _buffer_error(tensor.name, "shares memory with another output", got="one array", expected="two")
    return arrays


def _in_order(tensors: Sequence[Tensor], inputs: Inputs) -> list[np.ndarray]:
    if isinstance(inputs, Mapping):
        for name in inputs:
            if not any(tensor.name == name for tensor in tensors):
                raise InputError(
                    "input.unknown",
                    f"the model has no input {name!r}",
                    got=", ".join(map(str, inputs)),
                    expected=_listed(tensors),
                    hint="use the names of the model's inputs",
                )
        for tensor in tensors:
            if tensor.name not in inputs:
                raise InputError(
                    "input.missing",
                    f"input {tensor.name!r} was not given",
                    got=", ".join(map(str, inputs)) or "no inputs",
                    expected=_listed(tensors),
                    hint=f"add it: {{..., {tensor.name!r}: array}}",
                )
        return [inputs[tensor.name] for tensor in tensors]
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(arrays) != len(tensors):
        few = len(arrays) < len(tensors)
        raise InputError(
            "input.missing" if few else "input.unknown",
            f"the call gave too {'few' if few else 'many'} inputs",
            got=f"{len(arrays)} array{'s' * (len(arrays) != 1)}",
            expected=_listed(tensors),
            hint=f"give them in this order, or by name: {{{', '.join(f'{t.name!r}: ...' for t in tensors)}}}",
        )
    return arrays


def _check(tensor: Tensor, array: np.ndarray) -> None:
    if array.dtype != np.dtype(tensor.dtype):
        raise InputError(
            "input.dtype",
            f"input {tensor.name!r} has the wrong element type",
            got=array.dtype,
            expected=tensor.dtype,
            hint=f"convert it: {tensor.name}.astype({tensor.dtype!r})",
        )
    if array.ndim != len(tensor.shape):
        raise InputError(
            "input.rank",
            f"input {tensor.name!r} has the wrong number of dimensions",
            got=f"{array.ndim} {array.shape}",
            expected=f"{len(tensor.shape)} {list(tensor.shape)}",
            hint="add or remove the batch axis: x[None] or x[0]",
        )
    if array.shape != tensor.shape:
        raise InputError(
            "input.shape",
            f"input {tensor.name!r} has the wrong shape",
            got=array.shape,
            expected=list(tensor.shape),
            hint="resize or pad the data, or compile the model for this shape (--shape)",
        )


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{t.name} {t.dtype} {list(t.shape)}" for t in tensors) or "no inputs"


def _buffer_error(name: str, problem: str, *, got: object, expected: object) -> InputError:
    return InputError(
        "output.buffer",
        f"the buffer for output {name!r} {problem}",
        got=got,
        expected=expected,
        hint="allocate it like the result of a call: {name: np.empty_like(array) for name, array in model(x).items()}",
    )
