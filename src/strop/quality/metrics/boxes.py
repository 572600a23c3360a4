"""Boxes with classes: the forms that predictions and targets take, and how much two boxes overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from strop.quality.contract import Prediction
from strop.quality.metrics.base import unsuitable


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes [n, 4] as (left, top, right, bottom) with their classes [n].

    scores: of predictions, [n]; special: of targets, which ones are a crowd (COCO) or difficult (VOC).
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    special: np.ndarray


def predicted_boxes(prediction: Prediction, name: str) -> Boxes:
    """Returns predicted boxes from {"boxes", "scores", "classes"}; None is no box at all."""
    if prediction is None:
        prediction = {"boxes": [], "scores": [], "classes": []}
    found = _fields(prediction, ("boxes", "scores", "classes"), name, "prediction")
    scores = np.asarray(found["scores"], np.float64).reshape(-1)
    corners, classes = _corners(found["boxes"], name), np.asarray(found["classes"]).reshape(-1)
    _check_lengths(name, boxes=corners, scores=scores, classes=classes)
    known = np.isfinite(corners).all(axis=1) & np.isfinite(scores)
    return Boxes(corners[known], classes[known], scores[known], np.zeros(int(known.sum()), bool))


def target_boxes(target: object, name: str) -> Boxes:
    """Returns true boxes from {"boxes", "classes"} and optionally "crowd" or "difficult"."""
    found = _fields(target, ("boxes", "classes"), name, "target")
    corners, classes = _corners(found["boxes"], name), np.asarray(found["classes"]).reshape(-1)
    flags = found.get("crowd", found.get("difficult"))
    special = np.zeros(len(corners), bool) if flags is None else np.asarray(flags).reshape(-1).astype(bool)
    _check_lengths(name, boxes=corners, classes=classes, special=special)
    return Boxes(corners, classes, np.ones(len(corners)), special)


def overlaps(first: np.ndarray, second: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Returns intersection over union, [n, m], of corners [n, 4] and [m, 4], in continuous coordinates.

    crowd: which of the second are a crowd; theirs is the intersection over the first one's area, as in COCO.

    Example:
        >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
        [[0.333, 0.0]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    if crowd is not None:
        union = np.where(crowd[None, :], areas[0][:, None], union)
    shares: np.ndarray = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return shares


def _fields(value: object, wanted: tuple[str, ...], name: str, what: str) -> Mapping[str, object]:
    if isinstance(value, Mapping) and all(field in value for field in wanted):
        return value
    raise unsuitable(
        name,
        f"the {what} holds no boxes",
        got=", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__,
        expected=f"a dict with {', '.join(wanted)}; boxes [n, 4] as (left, top, right, bottom)",
        hint="decode with file.py:function, non-maximum suppression included",
    )


def _corners(value: object, name: str) -> np.ndarray:
    corners = np.asarray(value, np.float64)
    if corners.size == 0:
        return np.zeros((0, 4))
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise unsuitable(
            name,
            "boxes have four corners",
            got=list(corners.shape),
            expected="[n, 4]",
            hint="left, top, right, bottom",
        )
    return corners


def _check_lengths(name: str, **arrays: np.ndarray) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        raise unsuitable(
            name,
            "there are different numbers of boxes and of what belongs to them",
            got=", ".join(f"{len(array)} {what}" for what, array in arrays.items()),
            expected="one for each box",
            hint="cut them all at the same place",
        )
