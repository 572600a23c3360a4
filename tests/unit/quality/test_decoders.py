"""Outputs to predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError, UsageError
from strop.quality.decoders.registry import get_decoder


def _decode(name, array, metadata=None):
    return get_decoder(name, metadata)({"out": np.asarray(array), "second": np.zeros(3)}, {"x": np.zeros(1)})


def _one_hot(path: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[path][np.newaxis]


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 1, 1), (1, 1, 1, 4)])
def test_argmax_finds_the_class_in_any_form_of_a_list_of_scores(shape) -> None:
    found = _decode("argmax", np.array([0.1, 0.5, 0.9, 0.9]).reshape(shape))
    assert found == 2 and type(found) is int


def test_argmax_along_an_axis_gives_a_class_per_position() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 3, 4, 5))
    assert np.array_equal(_decode("argmax:axis=1", scores), scores[0].argmax(0))
    with pytest.raises(DataError) as caught:
        _decode("argmax", scores)
    assert caught.value.code == "quality.decode" and "axis=1" in caught.value.hint


def test_top5_ranks_the_best_first_and_ties_by_number() -> None:
    assert _decode("top5", [[0.0, 3.0, 1.0, 3.0, 2.0, -1.0]]).tolist() == [1, 3, 4, 2, 0]
    assert _decode("top5", [[1, 2, 3]]).tolist() == [2, 1, 0]


def test_threshold_answers_yes_or_no() -> None:
    assert _decode("threshold", [[0.5]]) == 1 and _decode("threshold", [[0.49]]) == 0
    assert _decode("threshold:-1.5", [[0.0, -2.0, -1.5]]).tolist() == [1, 0, 1]


def test_identity_gives_a_copy_of_the_first_output() -> None:
    array = np.ones((1, 2))
    found = _decode("identity", array)
    array[:] = 0
    assert np.array_equal(found, np.ones((1, 2)))


@pytest.mark.parametrize("name", ["argmax", "argmax:axis=1", "top5", "threshold", "identity", "ctc:metadata"])
def test_outputs_with_nan_give_no_prediction(name: str) -> None:
    assert _decode(name, [[1.0, np.nan, 2.0]], {"character": "a\nb"}) is None


def test_ctc_merges_repetitions_then_drops_blanks_and_ends_with_the_space() -> None:
    dictionary = {"character": "a\nb\nc"}  # classes: blank a b c space
    path = [0, 1, 1, 0, 1, 2, 2, 4, 4, 3, 0]
    assert _decode("ctc:metadata", _one_hot(path, 5), dictionary) == "aab c"
    assert _decode("ctc:metadata", _one_hot([0, 0], 5), dictionary) == ""
    assert _decode("ctc:metadata", _one_hot(path, 5).transpose(1, 0, 2), dictionary) == "aab c"
    assert _decode("ctc:metadata", _one_hot(path, 5)[0], dictionary) == "aab c"


def test_ctc_without_a_class_to_spare_has_no_added_space() -> None:
    assert _decode("ctc:metadata", _one_hot([1, 2, 3], 4), {"character": "a\n \nc"}) == "a c"


def test_ctc_uses_the_beginning_of_a_dictionary_longer_than_the_model(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes("a\r\nb\r\n\u2028\r\nd\r\ne\r\n".encode())
    assert _decode(f"ctc:{tmp_path}/d.txt", _one_hot([1, 2, 3, 4], 5)) == "ab\u2028 "


def test_ctc_with_a_dictionary_too_short_says_both_sizes() -> None:
    with pytest.raises(DataError) as caught:
        _decode("ctc:metadata", _one_hot([1], 9), {"character": "a\nb"})
    assert "2 entries" in str(caught.value) and "7 (9 classes" in str(caught.value)


def test_ctc_needs_a_dictionary_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        get_decoder("ctc:metadata", {"author": "x"})
    assert caught.value.code == "quality.decode" and "author" in str(caught.value)
    with pytest.raises(DataError) as caught:
        get_decoder(f"ctc:{tmp_path}/none.txt")
    assert caught.value.code == "data.missing"


def test_a_users_function_sees_outputs_and_inputs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def decode(outputs, inputs):\n    return outputs['out'].sum() + inputs['x'][0]\n"
    )
    assert _decode(f"{tmp_path}/mine.py:decode", [1.0, 2.0]) == 3.0
    assert _decode(lambda outputs, inputs: len(inputs), [1.0]) == 1
    with pytest.raises(DataError, match="KeyError"):
        _decode(lambda outputs, inputs: outputs["none"], [1.0])


@pytest.mark.parametrize("name", ["softmax", "ctc", "ctc:", "argmax:1", "argmax:axis=x", "threshold:x", "top5:3", ""])
def test_an_unknown_decoder_lists_what_there_is(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_decoder(name)
    assert caught.value.code == "usage.bad-option" and "ctc:metadata" in str(caught.value)
