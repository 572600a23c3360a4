"""The number of insertions, deletions and substitutions between two sequences (Levenshtein)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the least number of edits that turn `first` into `second`.

    Row by row; within a row, the cheapest chain of insertions is a running minimum of (cost - position).

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    numbers = {item: number for number, item in enumerate(dict.fromkeys([*first, *second]))}
    columns = np.array([numbers[item] for item in second], dtype=np.int64)
    positions = np.arange(len(second) + 1)
    row = positions.copy()
    for item in first:
        following = row + 1
        following[1:] = np.minimum(following[1:], row[:-1] + (columns != numbers[item]))
        row = np.minimum.accumulate(following - positions) + positions
    return int(row[-1])
