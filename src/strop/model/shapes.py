"""Shapes: read from text, set on a model and checked by running it.

The neighbours `with_batch` (batch.py) and `infer_shapes` (infer.py) can be had from here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from strop.errors import InputError, ModelError, StropError, UsageError
from strop.model.batch import with_batch as with_batch
from strop.model.infer import infer_shapes as infer_shapes
from strop.model.model import Model, shape_of
from strop.model.oracle import Unoptimized, custom_operators
from strop.model.random_inputs import make_inputs, runnable_inputs
from strop.model.shape_edit import Size, has_data_dependent_shapes, set_input_shapes, set_shape
from strop.model.specs import TensorSpec


def parse_shapes(texts: str | Iterable[str]) -> dict[str, tuple[int | None, ...]]:
    """Returns shapes by input name from texts such as `x=1,3,48,320`; `?` or `-1` leaves a size free.

    The name may be left out for a model of one input (the key is then "").

    Example:
        >>> parse_shapes(["x=1,3,?,320", "state=[2,1,128]"])
        {'x': (1, 3, None, 320), 'state': (2, 1, 128)}
    """
    shapes: dict[str, tuple[int | None, ...]] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        name, _, sizes = text.strip().rpartition("=")
        parts = sizes.strip().strip("[]()").split(",") if sizes.strip().strip("[]()") else []
        try:
            shapes[name.strip()] = tuple(None if part.strip() in ("?", "-1") else _positive(part) for part in parts)
        except ValueError as error:
            raise UsageError(
                "usage.bad-option",
                "a shape cannot be read",
                got=text,
                expected="name=size,size,... with whole numbers above 0, or ? for a free size",
                hint="write it as --shape x=1,3,48,320",
            ) from error
    return shapes


def shapes_from(inputs: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes that the arrays have, by input name."""
    return {name: tuple(array.shape) for name, array in inputs.items()}


def with_shapes(model: Model, shapes: Mapping[str, Sequence[int | None]]) -> Model:
    """Returns the model with these input shapes; the sizes of a symbol follow wherever it stands.

    Fixed sizes may be changed too. The result is run once, so that a shape the model cannot take is refused here:
    ModelError `model.shape` names the node where it is known; InputError `input.unknown` for no input of the model.
    """
    wanted = _complete(model, shapes)
    if all(spec.shape == wanted[spec.name] for spec in model.inputs):
        return model
    changed = model.with_proto(set_input_shapes(model.to_proto(), wanted))
    if custom_operators(model.to_proto()):
        return changed  # nothing here can run it
    try:
        run = Unoptimized(changed.to_proto(), where=model.name)
        is_static = all(spec.is_static for spec in changed.inputs)
        outputs = run(make_inputs(changed) if is_static else runnable_inputs(changed, run=run))
    except StropError as error:
        raise ModelError(
            "model.shape",
            "the model cannot take these shapes",
            where=f"{model.name} at {', '.join(spec.name + spec.describe_shape() for spec in changed.inputs)}",
            got=error.got,
            hint="give shapes that the model was made for; sizes often have to be multiples of 32",
        ) from error
    except (MemoryError, ValueError) as error:  # numpy's, for what no address can reach
        raise ModelError(
            "model.shape",
            "the model cannot be run at these shapes here: they need more memory than there is",
            where=f"{model.name} at {', '.join(spec.name + spec.describe_shape() for spec in changed.inputs)}",
            got=str(error),
            hint="give smaller sizes",
        ) from error
    follows_inputs = is_static and not has_data_dependent_shapes(changed.to_proto())
    for spec, value in zip(model.outputs, changed.to_proto().graph.output, strict=True):
        shape = outputs[spec.name].shape
        if follows_inputs:
            set_shape(value, shape)
        elif len(shape) == len(spec.shape):
            pairs = zip(shape_of(value.type.tensor_type) or (), spec.shape, shape, strict=True)
            set_shape(value, [new or (old if old == seen else None) for new, old, seen in pairs])
    return model.with_proto(changed.to_proto())


def _complete(model: Model, shapes: Mapping[str, Sequence[int | None]]) -> dict[str, tuple[Size, ...]]:
    """Returns every input's shape: as wanted, with symbols that were given a number replaced on all inputs."""
    specs = {spec.name: spec for spec in model.inputs}
    named = {(next(iter(specs)) if not name and len(specs) == 1 else name): s for name, s in shapes.items()}
    symbols: dict[str, int] = {}
    for name, shape in named.items():
        if name not in specs:
            raise InputError(
                "input.unknown",
                f"the model has no input {name!r}",
                where=model.name,
                expected=", ".join(specs),
                hint=f"write --shape {next(iter(specs), 'x')}=...",
            )
        _check_rank(specs[name], shape, model.name)
        for size, number in zip(specs[name].shape, shape, strict=True):
            if isinstance(size, str) and number is not None and symbols.setdefault(size, number) != number:
                raise ModelError(
                    "model.shape",
                    f"{size!r} is one size of the model, and cannot have two values",
                    where=model.name,
                    got=f"{symbols[size]} and {number}",
                    hint="give the same number wherever this symbol stands (strop inspect shows them)",
                )
    complete: dict[str, tuple[Size, ...]] = {}
    for name, spec in specs.items():
        wanted = named.get(name, (None,) * len(spec.shape))
        complete[name] = tuple(
            number if number is not None else symbols.get(size, size) if isinstance(size, str) else size
            for size, number in zip(spec.shape, wanted, strict=True)
        )
    return complete


def _check_rank(spec: TensorSpec, shape: Sequence[int | None], where: str) -> None:
    if len(shape) != len(spec.shape):
        raise ModelError(
            "model.shape",
            f"the shape for input {spec.name!r} has the wrong number of dimensions",
            where=where,
            got=f"{len(shape)} {list(shape)}",
            expected=f"{len(spec.shape)} {spec.describe_shape()}",
            hint="give one number for each dimension, the batch first where there is one",
        )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
