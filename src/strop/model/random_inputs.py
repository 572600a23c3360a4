"""Inputs for a model nobody gave data for: random, but of the right type and shape, and valid as far as can be told.

Free dimensions: the batch (axes.py tells which that is) is 1; all others are `symbol_default`.
Values: floats are normal (0, 1); uint8 and int8 take their whole range; wider integers are 0 or 1, or any row where
they index a table; bool is either; text is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from strop.errors import ModelError, StropError
from strop.model.axes import batch_axes
from strop.model.model import Model
from strop.model.oracle import Unoptimized
from strop.model.specs import TensorSpec

SYMBOL_DEFAULT = 64
LADDER = (64, 32, 48, 128, 224, 256, 320, 512, 640, 16, 8)
"""The sizes `runnable_inputs` tries for free dimensions, in this order."""


def make_inputs(
    model: Model,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    symbol_default: int = SYMBOL_DEFAULT,
    batch: int = 1,
) -> dict[str, np.ndarray]:
    """Returns random inputs by name; `shapes` fixes whole shapes, by input name."""
    random = np.random.default_rng(seed)
    sizes = static_shapes(model.inputs, shapes=shapes, symbol_default=symbol_default, batch=batch)
    limits = _index_limits(model)
    return {spec.name: _values(spec.dtype, sizes[spec.name], limits.get(spec.name), random) for spec in model.inputs}


def runnable_inputs(
    model: Model, *, shapes: Mapping[str, Sequence[int]] | None = None, seed: int = 0, run: Unoptimized | None = None
) -> dict[str, np.ndarray]:
    """Returns random inputs that the model really takes: free sizes are tried in the order of `LADDER`.

    Raises ModelError `model.shape` where none works. `run` is the model's oracle, if there is one already.
    """
    oracle = run or Unoptimized(model.to_proto(), where=model.name)
    failure: StropError | None = None
    for size in LADDER if _has_free_size(model.inputs, shapes) else LADDER[:1]:
        inputs = make_inputs(model, shapes=shapes, seed=seed, symbol_default=size)
        try:
            oracle(inputs)
        except StropError as error:
            failure = failure or error
        else:
            return inputs
    free = [f"{spec.name}={spec.describe_shape()}" for spec in model.inputs]
    raise ModelError(
        "model.shape",
        "no sizes were found that the model runs at",
        where=model.name,
        got=failure.got if failure else None,
        expected=", ".join(free),
        hint=f"give the shapes of its inputs, as --shape {model.inputs[0].name if model.inputs else 'x'}=1,3,48,320",
    ) from failure


def static_shapes(
    inputs: tuple[TensorSpec, ...],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    symbol_default: int = SYMBOL_DEFAULT,
    batch: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Returns a number for every dimension of every input; a symbol has the same number wherever it stands."""
    given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    axes = batch_axes(inputs)
    symbols: dict[str, int] = {}
    for spec in inputs:
        for size, number in zip(spec.shape, given.get(spec.name, ()), strict=False):
            if isinstance(size, str):
                symbols[size] = number

    def number_of(spec: TensorSpec, axis: int, size: int | str | None) -> int:
        if isinstance(size, int):
            return size
        default = batch if axes.get(spec.name) == axis else symbol_default
        return symbols.get(size, default) if size is not None else default

    return {
        spec.name: given[spec.name]
        if spec.name in given
        else tuple(number_of(spec, axis, size) for axis, size in enumerate(spec.shape))
        for spec in inputs
    }


def _has_free_size(inputs: tuple[TensorSpec, ...], shapes: Mapping[str, Sequence[int]] | None) -> bool:
    few, many = (static_shapes(inputs, shapes=shapes, symbol_default=size) for size in (1, 2))
    return few != many


def _values(dtype: str, shape: tuple[int, ...], limit: int | None, random: np.random.Generator) -> np.ndarray:
    if dtype == "object":
        return np.full(shape, "", dtype=object)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return random.integers(0, 2, shape).astype(kind)
    if kind in (np.uint8, np.int8):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        return random.integers(low, high + 1, shape).astype(kind)
    if np.issubdtype(kind, np.integer):
        return random.integers(0, limit or 2, shape).astype(kind)
    return np.asarray(random.normal(size=shape)).astype(kind)


def _index_limits(model: Model) -> dict[str, int]:
    """Returns how many rows the table has that an integer input indexes, by input name."""
    graph = model.to_proto().graph
    tables = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    origin = {spec.name: spec.name for spec in model.inputs if np.dtype(spec.dtype).kind in "iu"}
    limits: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in ("Cast", "Identity") and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] in origin:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            rows = tables[node.input[0]][axis]
            name = origin[node.input[1]]
            limits[name] = min(rows, limits.get(name, rows))
    return limits
