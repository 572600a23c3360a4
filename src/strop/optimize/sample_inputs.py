"""The inputs a benchmark runs on: the user's `.npz`, or random ones that suit the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from strop.model.model import Model
from strop.model.random_inputs import runnable_inputs
from strop.runtime.run import read_inputs


def inputs_for(model: Model, path: Path | None) -> dict[str, np.ndarray]:
    """Returns one array per input of `model`: those in the file, else random ones (seeded) of sizes it runs at."""
    if path is None:
        return runnable_inputs(model)
    return read_inputs(path, model.inputs)
