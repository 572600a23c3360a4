"""The words of the sanity gate."""

from __future__ import annotations

import numpy as np
import pytest

from strop.quantize.sanity import OutputFigures, choices, class_axis, complaint


def _figures(**changed: object) -> OutputFigures:
    usual = {"name": "y", "finite": True, "relative_l2": 0.05, "cosine": 0.99, "agreement": 0.98, "vectors": 50}
    return OutputFigures(**{**usual, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"finite": False}, "output 'y' holds NaN or infinity"),
        ({"agreement": 0.18, "relative_l2": 0.96}, "chooses differently in 82% of 50 cases (changed by 96%)"),
        ({"agreement": None, "relative_l2": 0.96}, "output 'y' changed by 96%"),
        ({"relative_l2": 0.9}, "output 'y' changed by 90%"),
        ({"agreement": None, "relative_l2": 0.4, "cosine": 0.5}, "points elsewhere (cosine 0.50)"),
    ],
)
def test_a_broken_output_is_described_in_words(changed: dict[str, object], words: str) -> None:
    assert words in str(complaint(_figures(**changed)))


@pytest.mark.parametrize(
    "changed", [{}, {"agreement": None, "relative_l2": 0.4}, {"agreement": 0.6, "relative_l2": 0.1}]
)
def test_a_sound_output_has_no_complaint(changed: dict[str, object]) -> None:
    assert complaint(_figures(**changed)) is None


def test_few_samples_need_a_clear_disagreement() -> None:
    assert complaint(_figures(relative_l2=0.3, agreement=26 / 32, vectors=32)) is None
    assert complaint(_figures(relative_l2=0.3, agreement=0.81, vectors=300)) is not None


def test_agreement_on_the_background_does_not_count() -> None:
    before = np.array([[0, 0, 0, 0, 5, 0, 6, 0]])
    assert choices(before, np.array([[0, 0, 0, 0, 5, 0, 7, 0]])) == (1, 2)
    assert choices(before, np.array([[0, 3, 0, 0, 5, 0, 6, 0]])) == (2, 3)
    assert choices(before[0], before[0]) == (8, 8)


def test_only_vectors_of_classes_have_a_class_axis() -> None:
    shapes = [(1, 1000), (1, 40, 97), (1, 4), (1, 4420, 4), (1, 3, 8, 8), (10,)]
    assert [class_axis(shape) for shape in shapes] == [1, 2, None, None, None, None]
    assert np.zeros((1, 5)).shape[class_axis((1, 5)) or 0] == 5
