"""Mean intersection over union of a class for each pixel: `miou`, or `miou:ignore=N`, `miou:ignore=none`.

As in Pascal VOC and Cityscapes: intersections and unions are summed over all pixels of all images, and the mean is over
the classes that occur in targets or predictions. Pixels whose target is the ignored class (255 unless said otherwise,
their `void`) count on neither side.
"""

from __future__ import annotations

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable
from strop.quality.metrics.drawn import DrawnMetric, summed

VOID = 255


class MeanIou(DrawnMetric):
    """Sums, by class, the pixels where target and prediction agree and where either has the class."""

    name = "miou"

    def __init__(self, ignore: int | None = VOID):
        super().__init__()
        self._ignore = ignore
        self._samples: list[tuple[np.ndarray, np.ndarray]] = []
        self._table: np.ndarray | None = None

    def add(self, prediction: Prediction, target: object) -> None:
        """Keeps intersections and unions of one image, by class."""
        truth = _classes(target, self.name)
        answer = None if prediction is None else _classes(prediction, self.name)
        if answer is not None and answer.shape != truth.shape:
            raise unsuitable(
                self.name,
                "prediction and target have different sizes",
                got=list(answer.shape),
                expected=list(truth.shape),
                hint="decode to the target's size with file.py:function",
            )
        counted = np.ones(truth.shape, bool) if self._ignore is None else truth != self._ignore
        truth = truth[counted]
        true = np.bincount(truth)
        if answer is None:
            self._keep(np.zeros_like(true), true)
            return
        answer = answer[counted]
        size = max(len(true), int(answer.max(initial=0)) + 1)
        same = np.bincount(truth[answer == truth], minlength=size)
        self._keep(same, np.bincount(truth, minlength=size) + np.bincount(answer, minlength=size) - same)

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the mean over the classes that occur in the images `indices`; 0 where nothing is counted."""
        intersections, unions = summed(self._counts(), indices)
        occurs = unions > 0
        return float((intersections[occurs] / unions[occurs]).mean()) if occurs.any() else 0.0

    def _keep(self, intersections: np.ndarray, unions: np.ndarray) -> None:
        self._samples.append((intersections, unions))
        self._table = None

    def _counts(self) -> np.ndarray:
        """Returns [samples, 2, classes]."""
        if self._table is None:
            size = max(len(unions) for _, unions in self._samples)
            self._table = np.zeros((len(self._samples), 2, size))
            for index, pair in enumerate(self._samples):
                for which, counts in enumerate(pair):
                    self._table[index, which, : len(counts)] = counts
        return self._table


def _classes(value: object, name: str) -> np.ndarray:
    array = np.asarray(value).squeeze()
    if array.dtype.kind not in "iub" or (array.size and int(array.min()) < 0):
        raise unsuitable(
            name,
            "a class for each pixel is a whole number from 0 on",
            got=f"{array.dtype} {list(array.shape)}",
            expected="an array of whole numbers",
            hint="decode scores with classmap or argmax:axis=1",
        )
    return array.astype(np.int64)
