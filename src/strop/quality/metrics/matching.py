"""Which predicted box found which true one, in one image and class: COCO's greedy matching and VOC's.

A matching gives, for each threshold and prediction, HIT, FALSE_ALARM, or IGNORED (it found a crowd or a difficult box,
which counts on neither side).
"""

from __future__ import annotations

import numpy as np

from strop.quality.metrics.boxes import overlaps

FALSE_ALARM, HIT, IGNORED = 0, 1, 2


def match_coco(predicted: np.ndarray, true: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns [thresholds, n] for corners [n, 4], the highest score first, as pycocotools matches them.

    Each prediction, in order, takes the free true box it overlaps most (of equal ones the last), if by the threshold at
    least; crowds are asked only where no other box is found, may be taken any number of times, and are ignored.
    """
    order = np.argsort(crowd, kind="stable")
    true, crowd = true[order], crowd[order]
    shared = overlaps(predicted, true, crowd)
    found = np.full((len(thresholds), len(predicted)), FALSE_ALARM, np.int8)
    ordinary = int((~crowd).sum())
    for row, threshold in enumerate(thresholds):
        free = np.ones(ordinary, bool)
        for index in range(len(predicted)):
            best = _last_largest(np.where(free, shared[index, :ordinary], -1.0))
            if best is not None and shared[index, best] >= min(threshold, 1 - 1e-10):
                free[best] = False
                found[row, index] = HIT
            elif (shared[index, ordinary:] >= min(threshold, 1 - 1e-10)).any():
                found[row, index] = IGNORED
    return found


def match_voc(predicted: np.ndarray, true: np.ndarray, difficult: np.ndarray, threshold: float) -> np.ndarray:
    """Returns [1, n] for corners [n, 4], the highest score first, as the VOC development kit matches them.

    Each prediction looks at the one true box it overlaps most (of equal ones the first); where another has it already,
    it is a false alarm, and does not go on to the next best. Difficult boxes are ignored, however often found.
    """
    shared = overlaps(predicted, true)
    found = np.full((1, len(predicted)), FALSE_ALARM, np.int8)
    taken = np.zeros(len(true), bool)
    for index in range(len(predicted) if len(true) else 0):
        best = int(shared[index].argmax())
        if shared[index, best] < threshold:
            continue
        if difficult[best]:
            found[0, index] = IGNORED
        elif not taken[best]:
            taken[best] = True
            found[0, index] = HIT
    return found


def _last_largest(values: np.ndarray) -> int | None:
    if not len(values) or values.max() < 0:
        return None
    return len(values) - 1 - int(values[::-1].argmax())
