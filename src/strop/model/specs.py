"""What goes into a model and what comes out: names, element types, shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strop.errors import InputError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: `name`, numpy `dtype` name ("float32"), `shape` (int, symbol, or None where unknown).

    Example:
        >>> TensorSpec("x", "float32", ("batch", 3, 224, 224)).is_static
        False
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return all(isinstance(size, int) for size in self.shape)

    def check(self, array: np.ndarray, *, where: str = "input") -> None:
        """Raises InputError unless `array` has this dtype, rank and shape."""
        if array.dtype != np.dtype(self.dtype):
            raise InputError(
                "input.dtype",
                f"{where} {self.name!r} has the wrong element type",
                got=array.dtype,
                expected=self.dtype,
                hint=f"convert it: {self.name}.astype({self.dtype!r})",
            )
        if array.ndim != len(self.shape):
            raise InputError(
                "input.rank",
                f"{where} {self.name!r} has the wrong number of dimensions",
                got=f"{array.ndim} {array.shape}",
                expected=f"{len(self.shape)} {self.describe_shape()}",
                hint="add or remove the batch axis: x[None] or x[0]",
            )
        if any(isinstance(want, int) and want != have for want, have in zip(self.shape, array.shape, strict=True)):
            raise InputError(
                "input.shape",
                f"{where} {self.name!r} has the wrong shape",
                got=array.shape,
                expected=self.describe_shape(),
                hint="resize or pad the data, or compile the model for this shape (--shape)",
            )

    def describe_shape(self) -> str:
        """Returns the shape as text, `?` for what is unknown."""
        return "[" + ", ".join("?" if size is None else str(size) for size in self.shape) + "]"

    def to_json(self) -> dict[str, object]:
        """Returns name, dtype and shape as a JSON object."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
