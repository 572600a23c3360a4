"""The inputs a benchmark runs on: the user's `.npz`, or random ones that suit the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from strop.model.model import Model
from strop.model.random_inputs import make_inputs
from strop.runtime.run import read_inputs


def inputs_for(
    model: Model, path: Path | None, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, np.ndarray]:
    """Returns one array per input of `model`: those in the file, else random ones (seeded) of these shapes."""
    if path is None:
        return make_inputs(model, shapes=shapes or None)
    return read_inputs(path, model.inputs)
