"""A class for each pixel: `classmap`. Of scores [1, classes, height, width] the largest; whole numbers as they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Outputs
from strop.quality.decoders.scores import first_output


def class_map(outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Returns the classes of one sample, [height, width], as int32."""
    array = first_output(outputs)
    if array is None:
        return None
    if array.dtype.kind in "iu":
        return array.squeeze().astype(np.int32)
    if array.ndim != 4:
        raise DataError(
            "quality.decode",
            "the first output is no map of class scores",
            got=list(array.shape),
            expected="[1, classes, height, width], or whole numbers",
            hint="name the axis that holds the classes (--decode argmax:axis=3), or use another decoder",
        )
    classes: np.ndarray = array.argmax(axis=1)
    return classes.squeeze().astype(np.int32)
