"""Yes or no: `threshold` (0.5), or `threshold:0.3`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from strop.quality.contract import Outputs
from strop.quality.decoders.scores import first_output


@dataclass(frozen=True, slots=True)
class Threshold:
    """Gives 1 where the first output is at least `limit`, else 0: an int for one value, an array for several."""

    limit: float = 0.5

    def __call__(self, outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> int | np.ndarray | None:
        """Returns the prediction for one sample."""
        array = first_output(outputs)
        if array is None:
            return None
        answers = (array >= self.limit).astype(np.int8)
        return int(answers.item()) if answers.size == 1 else answers.squeeze()
