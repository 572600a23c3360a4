"""Checks what is given to a request: inputs by name or in order, and the caller's output buffers.

Quick where nothing is wrong (about a microsecond); where something is, the error says what and what to try.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from strop.engines.contract import Inputs
from strop.engines.knobs import did_you_mean
from strop.errors import InputError, NotSupportedError
from strop.loader.checks import buffer_error, check_buffers_are_named, in_the_callers_order, to_array
from strop.model.specs import TensorSpec


class InputCheck:
    """Turns the inputs of a call into arrays in the model's order, in C order, of the right dtype and shape."""

    def __init__(self, inputs: tuple[TensorSpec, ...]):
        self._inputs = inputs
        self._names = tuple(spec.name for spec in inputs)
        self._dtypes = tuple(numpy_dtype(spec) for spec in inputs)
        # The shapes that were right last: most callers give the same ones again and again.
        self._right: list[object] = [spec.shape if spec.is_static else None for spec in inputs]

    def __call__(self, inputs: Inputs) -> list[np.ndarray]:
        """Returns the arrays in order; copies only what is not in C order. Raises InputError."""
        arrays: list[Any] = self._in_order(inputs)
        for index, array in enumerate(arrays):
            if not isinstance(array, np.ndarray):
                array = arrays[index] = to_array(self._names[index], array)
            # The whole check is spec.check; asking the two cheap questions first keeps a call of a small model quick.
            if array.dtype != self._dtypes[index] or array.shape != self._right[index]:
                self._inputs[index].check(array)
                self._right[index] = array.shape
            if not array.flags.c_contiguous:
                arrays[index] = array.copy(order="C")
        return arrays

    def _in_order(self, inputs: Inputs) -> list[np.ndarray]:
        if type(inputs) is dict or isinstance(inputs, Mapping):  # asking for a dict first is far quicker
            try:
                arrays = [inputs[name] for name in self._names]
            except KeyError:
                raise self._names_error(inputs) from None
            if len(inputs) != len(arrays):
                raise self._names_error(inputs)
            return arrays
        arrays = in_the_callers_order(inputs, self._listed())
        if len(arrays) != len(self._names):
            few = len(arrays) < len(self._names)
            raise InputError(
                "input.missing" if few else "input.unknown",
                f"the call gave too {'few' if few else 'many'} inputs",
                got=f"{len(arrays)} array{'s' * (len(arrays) != 1)}",
                expected=self._listed(),
                hint=f"give them in this order, or by name: {{{', '.join(f'{name!r}: ...' for name in self._names)}}}",
            )
        return arrays

    def _names_error(self, inputs: Mapping[str, np.ndarray]) -> InputError:
        missing = [name for name in self._names if name not in inputs]
        unknown = [name for name in inputs if name not in self._names]
        if unknown:
            return InputError(
                "input.unknown",
                f"the model has no input {unknown[0]!r}",
                got=", ".join(map(str, inputs)),
                expected=self._listed(),
                hint=did_you_mean(str(unknown[0]), self._names),
            )
        return InputError(
            "input.missing",
            f"input {missing[0]!r} was not given",
            got=", ".join(map(str, inputs)) or "no inputs",
            expected=self._listed(),
            hint=f"add it: {{..., {missing[0]!r}: array}}",
        )

    def _listed(self) -> str:
        return ", ".join(f"{spec.name} {spec.dtype} {spec.describe_shape()}" for spec in self._inputs) or "no inputs"


class BufferCheck:
    """Turns the caller's output buffers into a list in the model's order that an engine may write to."""

    def __init__(self, outputs: tuple[TensorSpec, ...]):
        self._outputs = tuple((spec, numpy_dtype(spec)) for spec in outputs)

    def __call__(self, buffers: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns the buffers in order, checked but for their shape, which only the result tells. Raises InputError."""
        names = [spec.name for spec, _ in self._outputs]
        check_buffers_are_named(buffers, names)
        ordered = [buffers[name] for name in names]
        for index, ((spec, dtype), buffer) in enumerate(zip(self._outputs, ordered, strict=True)):
            if not isinstance(buffer, np.ndarray):
                raise buffer_error(spec.name, "needs a numpy array", got=type(buffer).__name__, expected="an array")
            if buffer.dtype != dtype:
                raise buffer_error(spec.name, "has the wrong element type", got=buffer.dtype, expected=spec.dtype)
            if not buffer.flags.writeable:
                raise buffer_error(spec.name, "cannot be written", got="a read-only array", expected="a writeable one")
            if not buffer.flags.c_contiguous:
                raise buffer_error(spec.name, "is not in C order", got=f"strides {buffer.strides}", expected="C order")
            if any(np.may_share_memory(buffer, other) for other in ordered[:index]):
                raise buffer_error(spec.name, "shares memory with another output", got="one array", expected="two")
        return ordered


def numpy_dtype(spec: TensorSpec) -> np.dtype:
    """Returns the dtype of an input or output; raises NotSupportedError for one that numpy does not have."""
    try:
        return np.dtype(spec.dtype)
    except TypeError:
        raise NotSupportedError(
            "unsupported.model",
            f"{spec.name!r} has an element type that numpy does not have",
            got=spec.dtype,
            expected="a type of numpy, such as float32",
            hint="export the model with float32 inputs and outputs",
        ) from None
