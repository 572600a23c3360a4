"""The form samples must have: exactly what the model's inputs say; everything else is an error that names the sample.

What is changed on the way, and nothing else: preprocessing where it was asked for; the batch axis is added where a
sample lacks just that; float64 becomes float32; whole numbers become another whole-number type where every value fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from strop.errors import DataError
from strop.model.specs import TensorSpec

if TYPE_CHECKING:
    from strop.model.preprocess import Preprocess


class InputForm:
    """Turns what a source yields for one sample into the model's inputs, checked."""

    def __init__(self, inputs: tuple[TensorSpec, ...], preprocess: Preprocess | None = None):
        self.inputs = inputs
        self.preprocess = preprocess

    def build(self, raw: object, where: str) -> dict[str, np.ndarray]:
        """Returns the inputs by name, from a mapping, a list in the model's order, or the array of the only input."""
        arrays = self._named(raw, where)
        if self.preprocess is not None:
            arrays = self._preprocessed(arrays, self.preprocess, where)
        return {spec.name: _fitted(arrays[spec.name], spec, where) for spec in self.inputs}

    def _named(self, raw: object, where: str) -> dict[str, np.ndarray]:
        names = [spec.name for spec in self.inputs]
        if isinstance(raw, Mapping):
            missing = [name for name in names if name not in raw]
            unknown = [str(name) for name in raw if name not in names]
            if missing or unknown:
                raise names_error(where, got=[str(name) for name in raw], expected=names)
            return {name: _array(raw[name], where) for name in names}
        items = raw if isinstance(raw, list) and any(isinstance(item, np.ndarray) for item in raw) else [raw]
        if len(items) != len(names):
            raise DataError(
                "data.names",
                "the model has another number of inputs than the sample has arrays",
                where=where,
                got=len(items),
                expected=f"{len(names)} ({', '.join(names)})",
                hint="give a dict by input name",
            )
        return {name: _array(item, where) for name, item in zip(names, items, strict=True)}

    def _preprocessed(self, arrays: dict[str, np.ndarray], preprocess: Preprocess, where: str) -> dict[str, np.ndarray]:
        if len(arrays) != 1:
            raise DataError(
                "data.preprocess",
                "preprocessing is for models of one input",
                where=where,
                got=f"{len(arrays)} inputs",
                hint="preprocess in your own file.py:name and leave --preprocess away",
            )
        ((name, image),) = arrays.items()
        if image.dtype != np.uint8:
            raise DataError(
                "data.preprocess",
                "preprocessing takes images: uint8, [height, width, 3], RGB",
                where=where,
                got=f"{image.dtype} {list(image.shape)}",
                hint="leave --preprocess away if the data are preprocessed already",
            )
        try:
            return {name: preprocess.apply(image)}
        except DataError as error:  # it knows what is wrong, not with which sample
            raise DataError(
                error.code, error.what, where=where, got=error.got, expected=error.expected, hint=error.hint
            ) from error


def names_error(where: str, *, got: list[str], expected: list[str]) -> DataError:
    """Returns the error for data whose names are not the model's inputs."""
    return DataError(
        "data.names",
        "the data's names are not the model's inputs",
        where=where,
        got=", ".join(got) or "none",
        expected=", ".join(expected),
        hint="name the arrays as the model's inputs are named (strop inspect shows them)",
    )


def _array(value: object, where: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged lists
        raise DataError(
            "data.format", "a sample is no array", where=where, got=str(error), hint="give numpy arrays"
        ) from error
    if array.dtype == object:
        raise DataError(
            "data.format", "a sample is no array", where=where, got=type(value).__name__, hint="give numpy arrays"
        )
    return array


def _fitted(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    if array.ndim + 1 == len(spec.shape) and (not isinstance(spec.shape[0], int) or spec.shape[0] == 1):
        array = array[np.newaxis]
    same_rank = array.ndim == len(spec.shape)
    if not same_rank or any(isinstance(w, int) and w != h for w, h in zip(spec.shape, array.shape, strict=True)):
        raise DataError(
            "data.shape",
            f"the sample does not fit input {spec.name!r}",
            where=where,
            got=list(array.shape),
            expected=f"{spec.describe_shape()} (one sample)",
            hint="axis 0 of the data counts samples; check the layout (NCHW or NHWC), or give --shape or --preprocess",
        )
    array = _cast(array, spec, where)
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(
            "data.not-finite",
            f"input {spec.name!r} holds NaN or infinity",
            where=where,
            got=f"{bad} of {array.size} values",
            hint="remove the sample, or repair what makes it (a division by zero in preprocessing?)",
        )
    return np.require(array, requirements=("C", "W", "E"))  # engines may refuse a read-only map of a file


def _cast(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted or (array.dtype.kind in "US" and wanted.kind == "O"):
        return array
    if array.dtype == np.float64 and wanted == np.float32:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max):
            return array.astype(wanted)
    raise DataError(
        "data.shape",
        f"input {spec.name!r} has the wrong element type",
        where=where,
        got=array.dtype,
        expected=spec.dtype,
        hint=f"convert it yourself (.astype({spec.dtype!r})), or give --preprocess for images",
    )
