"""What a request may be given: the slow and exact way, which converts what it can and says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from strop.errors import InputError
from strop.loader.plan import Tensor

Inputs = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray


def input_arrays(tensors: Sequence[Tensor], inputs: Inputs) -> list[np.ndarray]:
    """Returns the inputs in order, in C order; a copy only of what was not. Raises InputError."""
    given = _in_order(tensors, inputs)
    arrays = []
    for tensor, value in zip(tensors, given, strict=True):
        array = np.asarray(to_array(tensor.name, value), order="C")
        _check(tensor, array)
        arrays.append(array)
    return arrays


def in_the_callers_order(inputs: object, expected: str) -> list[Any]:
    """Returns the inputs of a call that gives them without names; expected: what the model takes, in words.

    Raises InputError `input.form` where they are neither an array nor several.
    """
    if isinstance(inputs, np.ndarray):
        return [inputs]
    try:
        if isinstance(inputs, (str, bytes)):
            raise TypeError("text is no array")
        return list(inputs)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        raise InputError(
            "input.form",
            "the inputs of a call must be arrays",
            got="None" if inputs is None else type(inputs).__name__,
            expected=expected,
            hint="give a dict of arrays by name, a list of them in this order, or the array of the only input",
        ) from None


def to_array(name: str, value: object) -> np.ndarray:
    """Returns an input as an array; raises InputError `input.form` where numpy can make none of it."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # of __array__ of any class
        raise InputError(
            "input.form",
            f"input {name!r} is no array",
            got=f"{type(value).__name__}: {error}",
            hint="give a numpy array, or something that numpy.asarray takes",
        ) from error


def check_buffers_are_named(buffers: object, names: Sequence[str]) -> None:
    """Raises InputError `output.buffer` unless `buffers` is a dict by exactly these names."""
    if not isinstance(buffers, Mapping):
        got = "None" if buffers is None else type(buffers).__name__
        raise buffer_error(names[0], "was not given by name", got=got, expected=f"a dict with {', '.join(names)}")
    wrong = [name for name in names if name not in buffers] or [name for name in buffers if name not in names]
    if wrong:
        problem = "has no buffer" if wrong[0] in names else "is no output of the model"
        got, expected = ", ".join(map(str, buffers)) or "none", ", ".join(names)
        raise buffer_error(wrong[0], problem, got=got, expected=expected)


def output_buffers(tensors: Sequence[Tensor], buffers: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the caller's arrays for the outputs in order; raises InputError `output.buffer`."""
    names = [tensor.name for tensor in tensors]
    check_buffers_are_named(buffers, names)
    arrays = [buffers[name] for name in names]
    for index, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
        if not isinstance(array, np.ndarray):
            raise buffer_error(tensor.name, "needs a numpy array", got=type(array).__name__, expected="an array")
        if array.dtype != np.dtype(tensor.dtype):
            raise buffer_error(tensor.name, "has the wrong element type", got=array.dtype, expected=tensor.dtype)
        if array.shape != tensor.shape:
            raise buffer_error(tensor.name, "has the wrong shape", got=array.shape, expected=tensor.shape)
        if not array.flags.writeable:
            raise buffer_error(tensor.name, "cannot be written", got="a read-only array", expected="a writeable one")
        if not array.flags.c_contiguous:
            raise buffer_error(tensor.name, "is not in C order", got=f"strides {array.strides}", expected="C order")
        if any(np.may_share_memory(array, other) for other in arrays[:index]):
            raise buffer_error(tensor.name, "shares memory with another output", got="one array", expected="two")
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
    arrays = in_the_callers_order(inputs, _listed(tensors))
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


def buffer_error(name: object, problem: str, *, got: object, expected: object) -> InputError:
    """Returns the error for an output buffer that does not fit."""
    return InputError(
        "output.buffer",
        f"the buffer for output {name!r} {problem}",
        got=got,
        expected=expected,
        hint="allocate it like the result of a call: {name: np.empty_like(array) for name, array in model(x).items()}",
    )
