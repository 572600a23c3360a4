"""Do the data suit a model that normalizes its input itself? Mean and scale applied twice ruin it without an error."""

from __future__ import annotations

from itertools import islice

import numpy as np

from strop.model.model import Model
from strop.model.own_normalization import OwnNormalization, own_normalization
from strop.quality.contract import DataSet

SAMPLES = 20
FAR = 3.0
"""Deviations from the mean beyond which hardly any value of data that are right lies."""
MOST_FAR = 0.05
"""The share of values that may lie beyond it."""
LEAST_SPREAD = 0.05
"""In deviations: images from 0..1 where 0..255 are wanted come to 0.004."""


def check_range(model: Model, data: DataSet, *, samples: int = SAMPLES) -> list[str]:
    """Returns a warning for each input whose values do not suit what the model does to it first; empty where all do.

    It looks at the first samples, as far as they have been prepared: after the model's own (x - mean) / deviation most
    values should lie within some deviations of zero, and not all in one place.
    """
    found = own_normalization(model)
    if not found:
        return []
    inputs = [sample.inputs for sample in islice(iter(data.subset(range(min(samples, len(data))))), samples)]
    warnings = []
    for one in found:
        values = [arrays[one.input] for arrays in inputs if one.input in arrays]
        words = _finding(one, values) if values else None
        if words is not None:
            warnings.append(words)
    return warnings


def _finding(own: OwnNormalization, values: list[np.ndarray]) -> str | None:
    flat = np.concatenate([array.reshape(-1).astype(np.float64) for array in values])
    mean, deviation = float(np.mean(own.mean)), float(np.mean(own.deviation))
    normalized = (flat - mean) / deviation
    far, spread = float((np.abs(normalized) > FAR).mean()), float(normalized.std())
    if far <= MOST_FAR and (spread >= LEAST_SPREAD or flat.std() == 0):
        return None
    low, high = np.percentile(flat, (1, 99))
    wanted = f"{max(mean - 2 * deviation, 0) if mean >= 0 else mean - 2 * deviation:.3g} to {mean + 2 * deviation:.3g}"
    twice = "normalized twice?" if np.any(flat < 0) or spread < LEAST_SPREAD else "not scaled as it wants?"
    return (
        f"the model begins with {own.words} of input {own.input!r} ({', '.join(own.nodes[:3])}), so it wants "
        f"about {wanted}; the data lie between {low:.3g} and {high:.3g}: {twice} Leave mean and scale out of their "
        "preprocessing (--preprocess raw255 or unit)"
    )
