"""Boxes: matching and average precision against figures worked out by hand, and against a plain reading of COCO's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import DataError
from strop.quality.metrics.matching import FALSE_ALARM, HIT, IGNORED, match_coco, match_voc
from strop.quality.metrics.registry import get_metric

A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]


def _found(boxes, scores, classes=None):
    return {"boxes": boxes, "scores": scores, "classes": [0] * len(scores) if classes is None else classes}


def _true(boxes, classes=None, **flags):
    return {"boxes": boxes, "classes": [0] * len(boxes) if classes is None else classes, **flags}


def _value(name, *pairs):
    metric = get_metric(name)()
    for prediction, target in pairs:
        metric.update(prediction, target)
    return metric.value()


@pytest.mark.parametrize("name", ["map", "map50", "voc_map"])
def test_boxes_that_are_all_found_give_one_and_none_gives_zero(name: str) -> None:
    assert _value(name, (_found([A, B], [0.9, 0.8]), _true([B, A]))) == 1.0
    assert _value(name, (None, _true([A]))) == 0.0
    assert _value(name, (_found([FAR], [0.9]), _true([A]))) == 0.0
    assert _value(name, (_found([], []), _true([]))) == 0.0  # nothing to find


def test_the_area_under_the_curve_is_vocs_and_the_101_recalls_are_cocos() -> None:
    # by score: hit, false alarm, hit; of 2 boxes: precision 1 up to recall 0.5, then 2/3
    pair = (_found([A, FAR, B], [0.9, 0.8, 0.7]), _true([A, B]))
    assert _value("voc_map", pair) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert _value("map50", pair) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    # one of two found: recalls 0 to 0.5 have precision 1, the 50 above none
    half = (_found([A], [0.9]), _true([A, B]))
    assert _value("voc_map", half) == pytest.approx(0.5)
    assert _value("map50", half) == pytest.approx(51 / 101)


def test_the_mean_is_over_ten_thresholds_and_over_classes_that_have_a_true_box() -> None:
    # [0, 0, 10, 7] overlaps A by 0.7: found at 0.50 to 0.70, five of the ten thresholds
    assert _value("map", (_found([[0, 0, 10, 7]], [0.9]), _true([A]))) == pytest.approx(0.5)
    # class 2 is only said, never true: it does not count; class 1 is missed
    pair = (_found([A, FAR], [0.9, 0.9], [0, 2]), _true([A, B], [0, 1]))
    assert _value("map50", pair) == pytest.approx(1 / 2)


def test_scores_are_ranked_over_all_images() -> None:
    first = (_found([FAR], [0.9]), _true([A]))
    second = (_found([A], [0.5]), _true([A]))
    # false alarm, hit; precision 1/2 at recall 1/2
    assert _value("voc_map", first, second) == pytest.approx(0.25)
    metric = get_metric("voc_map")()
    for pair in (first, second):
        metric.update(*pair)
    assert metric.value_of(np.array([1, 1])) == 1.0 and metric.value_of(np.array([0])) == 0.0


def test_a_second_box_on_the_same_object_is_a_false_alarm() -> None:
    close = [0, 0, 10, 9]
    for name in ("voc_map", "map50"):
        # hit, false alarm, hit
        pair = (_found([A, close, B], [0.9, 0.8, 0.7]), _true([A, B]))
        assert _value(name, pair) < 1.0
    # VOC looks only at the box that is overlapped most; COCO goes on to the next best that is free
    crossed = (_found([[0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.8]), _true([A, [3, 0, 13, 10]]))
    assert _value("voc_map", crossed) == pytest.approx(0.5)
    assert _value("map50", crossed) == pytest.approx(1.0)


def test_crowds_are_ignored_and_take_any_number_of_boxes() -> None:
    crowd = [0, 0, 100, 100]
    inside = [[1, 1, 9, 9], [20, 20, 40, 40]]
    pair = (_found([*inside, [200, 0, 210, 10]], [0.9, 0.8, 0.7]), _true([crowd, [200, 0, 210, 10]], crowd=[1, 0]))
    assert _value("map50", pair) == 1.0  # the two boxes in the crowd are no false alarms
    assert _value("map50", (pair[0], _true([crowd, [200, 0, 210, 10]]))) < 0.5


def test_difficult_boxes_count_on_neither_side() -> None:
    pair = (_found([A, B], [0.9, 0.8]), _true([A, B], difficult=[1, 0]))
    assert _value("voc_map", pair) == 1.0
    assert _value("voc_map", (_found([B], [0.8]), _true([A, B], difficult=[1, 0]))) == 1.0


def test_of_equal_overlaps_coco_takes_the_last_and_voc_the_first() -> None:
    middle, twins = np.array([[5.0, 0, 15, 10]]), np.array([[2.0, 0, 12, 10], [8.0, 0, 18, 10]])
    none = np.zeros(2, bool)
    two = np.concatenate([middle, twins[1:]])
    assert match_coco(two, twins, none, np.array([0.5])).tolist() == [[HIT, FALSE_ALARM]]
    assert match_voc(two, twins, none, 0.5).tolist() == [[HIT, HIT]]


def test_only_the_hundred_best_boxes_of_a_class_count() -> None:
    boxes = [FAR] * 100 + [A]
    assert _value("map50", (_found(boxes, [0.9] * 100 + [0.1]), _true([A]))) == 0.0
    assert _value("map50", (_found(boxes, [0.1] * 100 + [0.9]), _true([A]))) == 1.0


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (np.zeros((3, 6)), _true([A])),
        (_found([A], [0.9, 0.8]), _true([A])),
        (_found([A[:3]], [0.9]), _true([A])),
        (_found([A], [0.9]), [A]),
        (_found([A], [0.9]), _true([A], crowd=[0, 1])),
    ],
)
def test_what_are_no_boxes_is_said_so(prediction, target) -> None:
    with pytest.raises(DataError) as caught:
        _value("map", (prediction, target))
    assert caught.value.code == "quality.metric"


def test_boxes_with_nan_are_not_there() -> None:
    assert _value("map50", (_found([[np.nan] * 4, A], [0.9, 0.8]), _true([A]))) == 1.0


def _plain_coco(predicted, true, crowd, threshold):
    """Pycocotools' loop, as its documentation tells it."""
    order = sorted(range(len(true)), key=lambda index: bool(crowd[index]))
    taken, matches = set(), []
    for box in predicted:
        best, best_overlap = None, threshold
        for index in order:
            if index in taken and not crowd[index]:
                continue
            if best is not None and not crowd[best] and crowd[index]:
                break
            overlap = _overlap(box, true[index], crowd[index])
            if overlap < best_overlap:
                continue
            best, best_overlap = index, overlap
        if best is None:
            matches.append(FALSE_ALARM)
        else:
            taken.add(best)
            matches.append(IGNORED if crowd[best] else HIT)
    return matches


def _overlap(a, b, crowd):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (areas[0] if crowd else sum(areas) - shared)


_BOX = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 5), st.integers(1, 5)).map(
    lambda box: [box[0], box[1], box[0] + box[2], box[1] + box[3]]
)


@given(
    st.lists(_BOX, max_size=6),
    st.lists(st.tuples(_BOX, st.booleans()), max_size=5),
    st.sampled_from([0.3, 0.5, 0.75]),
)
def test_matching_is_what_a_plain_loop_gives(predicted, true, threshold) -> None:
    boxes, crowd = [box for box, _ in true], np.array([flag for _, flag in true], bool)
    corners = [np.array(some, float).reshape(-1, 4) for some in (predicted, boxes)]
    found = match_coco(*corners, crowd, np.array([threshold]))
    assert found.tolist() == [_plain_coco(predicted, boxes, crowd, threshold)]
