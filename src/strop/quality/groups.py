"""Groups of samples that a user names, so that each can be looked at by itself: a site, a camera, a speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from strop.errors import DataError
from strop.quality.contract import DataSet
from strop.quality.labels import read_labels

GroupSource = str | Path | Sequence[object] | np.ndarray | Mapping[str, object]
"""A CSV file with a column `group` (and `path`, for images), a .npy or .txt file, or one value a sample."""


def read_groups(source: GroupSource, data: DataSet) -> dict[str, str]:
    """Returns the group of each sample by its key; raises DataError (`data.labels`) where they do not fit the data.

    Example:
        >>> from strop.model.specs import TensorSpec
        >>> from strop.quality.data import open_data
        >>> data = open_data(np.zeros((3, 2), np.float32), inputs=(TensorSpec("x", "float32", (None, 2)),))
        >>> read_groups(["day", "night", "day"], data)
        {'0': 'day', '1': 'night', '2': 'day'}
    """
    if isinstance(source, Mapping):
        return {str(key): str(value) for key, value in source.items()}
    read = read_labels(source, column="group")
    if read.paths is not None:
        return {Path(path).as_posix(): str(value) for path, value in zip(read.paths, read.values, strict=True)}
    read.check_count(len(data))
    keys = getattr(data, "keys", None)
    if keys is None:
        raise DataError(
            "data.labels",
            "groups in order need data whose samples have an order by name",
            where=read.name,
            got=type(data).__name__,
            hint="give a dict from sample key to group",
        )
    return dict(zip(keys(), map(str, read.values), strict=True))
