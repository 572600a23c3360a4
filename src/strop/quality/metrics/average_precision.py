"""Mean average precision of boxes: `map` (COCO, 0.50:0.95), `map50` (COCO at 0.5) and `voc_map` (Pascal VOC at 0.5).

COCO: the ten thresholds 0.50, 0.55, ... 0.95, at most 100 boxes an image and class, precision interpolated at 101
recalls, all sizes; as pycocotools' `AP`. VOC: one threshold, the whole area under the interpolated curve (2010 and
later); as the development kit's, but with areas in continuous coordinates (no + 1 to width and height). The mean is
over the classes that have a true box that counts. Equal scores: boxes of earlier samples come first, and of one sample
in the order given.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.boxes import Boxes, predicted_boxes, target_boxes
from strop.quality.metrics.drawn import DrawnMetric
from strop.quality.metrics.matching import HIT, IGNORED, match_coco, match_voc

LARGEST_COUNT = 100
"""Boxes of an image and class that count, the highest scores first; as COCO's maxDets."""
RECALLS = np.linspace(0.0, 1.0, 101)

Matched = tuple[np.ndarray, np.ndarray, int]
"""Of one image and class: scores [n], matches [thresholds, n], the number of true boxes that count."""


class MeanAveragePrecision(DrawnMetric):
    """Matches boxes image by image; the value is worked out from the matches of the images that are asked for.

    Prediction: {"boxes": [n, 4], "scores": [n], "classes": [n]}; target: {"boxes", "classes"}, and "crowd" (COCO) or
    "difficult" (VOC), one flag a box. Corners are (left, top, right, bottom).
    """

    name = "map"
    is_cheap = False
    thresholds: ClassVar[tuple[float, ...]] = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))

    def __init__(self) -> None:
        super().__init__()
        self._images: list[dict[object, Matched]] = []

    def match(self, predicted: np.ndarray, true: np.ndarray, special: np.ndarray) -> np.ndarray:
        """Returns the matches of one image and class, [thresholds, n]."""
        return match_coco(predicted, true, special, np.array(self.thresholds))

    def area(self, recall: np.ndarray, precision: np.ndarray) -> float:
        """Returns the average precision of a curve whose precision does not rise: its mean at 101 recalls."""
        places = np.searchsorted(recall, RECALLS, side="left")
        return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())

    def add(self, prediction: Prediction, target: object) -> None:
        """Matches one image's boxes, class by class."""
        found, true = predicted_boxes(prediction, self.name), target_boxes(target, self.name)
        classes = {*found.classes.tolist(), *true.classes.tolist()}
        self._images.append({label: self._matched(found, true, label) for label in classes})

    def value_of(self, indices: np.ndarray) -> float:
        """Returns the mean over classes and thresholds for the images `indices`; 0 where nothing is to be found."""
        by_class: dict[object, list[Matched]] = {}
        for index in indices.tolist():
            for label, matched in self._images[index].items():
                by_class.setdefault(label, []).append(matched)
        counts = {label: sum(count for _, _, count in matched) for label, matched in by_class.items()}
        values = [self._of_class(matched, counts[label]) for label, matched in by_class.items() if counts[label]]
        return float(np.mean(values)) if values else 0.0

    def _matched(self, found: Boxes, true: Boxes, label: object) -> Matched:
        of_found, of_true = found.classes == label, true.classes == label
        order = np.argsort(-found.scores[of_found], kind="stable")[:LARGEST_COUNT]
        special = true.special[of_true]
        matches = self.match(found.corners[of_found][order], true.corners[of_true], special)
        return found.scores[of_found][order], matches, int((~special).sum())

    def _of_class(self, matched: list[Matched], count: int) -> float:
        scores = np.concatenate([scores for scores, _, _ in matched])
        order = np.argsort(-scores, kind="stable")
        matches = np.concatenate([matches for _, matches, _ in matched], axis=1)[:, order]
        return float(np.mean([self._of_threshold(row[row != IGNORED] == HIT, count) for row in matches]))

    def _of_threshold(self, hits: np.ndarray, count: int) -> float:
        if not len(hits):
            return 0.0
        right = np.cumsum(hits)
        precision = right / np.arange(1, len(hits) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        return self.area(right / count, falling)


class Map50(MeanAveragePrecision):
    """COCO's average precision at the threshold 0.5 alone."""

    name = "map50"
    thresholds = (0.5,)


class VocMap(MeanAveragePrecision):
    """Pascal VOC's mean average precision at 0.5."""

    name = "voc_map"
    thresholds = (0.5,)

    def match(self, predicted: np.ndarray, true: np.ndarray, special: np.ndarray) -> np.ndarray:
        """Returns the matches of one image and class, [1, n]."""
        return match_voc(predicted, true, special, self.thresholds[0])

    def area(self, recall: np.ndarray, precision: np.ndarray) -> float:
        """Returns the area under the curve: each step of recall times the precision there."""
        return float((np.diff(recall, prepend=0.0) * precision).sum())
