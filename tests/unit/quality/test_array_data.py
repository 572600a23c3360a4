"""Data in arrays: .npz, .npy, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError
from strop.model.specs import TensorSpec
from strop.quality.data import open_data

IMAGE = TensorSpec("x", "float32", ("batch", 3, 4))
STATE = TensorSpec("state", "float32", (2, 1, 5))
RATE = TensorSpec("rate", "int64", ())


def _inputs(n: int = 4) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=(n, 3, 4)).astype(np.float32),
        "state": generator.normal(size=(n, 2, 1, 5)).astype(np.float32),
        "rate": np.full(n, 16000),
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_gives_one_sample_per_index_of_axis_0_for_every_kind_of_input(tmp_path: Path, save) -> None:
    arrays = _inputs()
    save(tmp_path / "x.npz", **arrays, labels=np.array([3, 1, 2, 0]))
    data = open_data(tmp_path / "x.npz", inputs=(IMAGE, STATE, RATE))
    assert len(data) == 4 and data.has_targets
    for index, sample in enumerate(data):
        assert np.array_equal(sample.inputs["x"], arrays["x"][index : index + 1])
        assert np.array_equal(sample.inputs["state"], arrays["state"][index])
        assert sample.inputs["rate"].shape == () and sample.inputs["rate"] == 16000
        assert sample.target == [3, 1, 2, 0][index] and isinstance(sample.target, int)
        assert sample.key == str(index)


def test_samples_that_carry_their_batch_axis_are_taken_as_they_are() -> None:
    array = np.ones((5, 1, 3, 4), np.float32)
    data = open_data(array, inputs=(TensorSpec("x", "float32", (1, 3, 4)),))
    assert len(data) == 5 and next(iter(data)).inputs["x"].shape == (1, 3, 4)


def test_arrays_stored_uncompressed_are_mapped_and_not_loaded(tmp_path: Path) -> None:
    from strop.quality.sources.arrays import npz_source

    np.savez(tmp_path / "x.npz", x=np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)))
    source = npz_source(tmp_path / "x.npz", ["x"])
    assert isinstance(source._arrays["x"], np.memmap)
    assert np.array_equal(next(source.read([1])).inputs["x"], np.arange(24.0).reshape(2, 3, 4)[1])


def test_samples_of_a_mapped_file_are_plain_arrays_that_may_be_written(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 4), np.float32))
    array = next(iter(open_data(tmp_path / "x.npz", inputs=(IMAGE,)))).inputs["x"]
    assert type(array) is np.ndarray and array.flags.writeable and array.flags.c_contiguous


def test_npy_is_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((7, 3, 4), np.float32))
    assert len(open_data(str(tmp_path / "x.npy"), inputs=(IMAGE,))) == 7
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "x.npy", inputs=(IMAGE, RATE))
    assert caught.value.code == "data.names"


def test_an_input_named_labels_is_an_input() -> None:
    data = open_data({"labels": np.zeros((2, 3), np.float32)}, inputs=(TensorSpec("labels", "float32", (None, 3)),))
    assert not data.has_targets


def test_float64_becomes_float32_and_whole_numbers_fit_or_are_refused() -> None:
    assert next(iter(open_data(np.zeros((2, 3, 4)), inputs=(IMAGE,)))).inputs["x"].dtype == np.float32
    narrow = (TensorSpec("x", "uint8", (None, 2)),)
    assert next(iter(open_data(np.full((1, 2), 255), inputs=narrow))).inputs["x"].dtype == np.uint8
    for refused in (np.full((1, 2), 256), np.full((1, 2), -1), np.zeros((1, 2), np.float32)):
        with pytest.raises(DataError, match="wrong element type"):
            open_data(refused, inputs=narrow)
    with pytest.raises(DataError, match="wrong element type"):
        open_data(np.zeros((2, 3, 4), np.uint8), inputs=(IMAGE,))


def test_a_bad_sample_is_named_by_its_index_when_it_is_reached() -> None:
    array = np.zeros((5, 3, 4), np.float32)
    array[3, 1, 1] = np.nan
    data = open_data(array, inputs=(IMAGE,))
    with pytest.raises(DataError) as caught:
        list(data)
    assert caught.value.code == "data.not-finite" and "sample 3" in str(caught.value)
    assert "1 of 12 values" in str(caught.value)


def test_arrays_of_different_lengths_say_which(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 3, 4), np.float32), rate=np.zeros(5, int))
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "x.npz", inputs=(IMAGE, RATE))
    assert caught.value.code == "data.shape" and "x: 4, rate: 5" in str(caught.value)


def test_python_objects_in_a_file_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{}, {}], dtype=object))
    np.savez_compressed(tmp_path / "y.npz", x=np.array([{}, {}], dtype=object))
    np.save(tmp_path / "x.npy", np.array([{}, {}], dtype=object))
    for name in ("x.npz", "y.npz", "x.npy"):
        with pytest.raises(DataError) as caught:
            open_data(tmp_path / name, inputs=(IMAGE,))
        assert caught.value.code == "data.format"


def test_a_truncated_file_is_a_format_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 3, 4), np.float32))
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 4), np.float32))
    for name in ("x.npz", "x.npy"):
        content = (tmp_path / name).read_bytes()
        for length in (0, 4, len(content) // 2, len(content) - 10):
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(DataError) as caught:
                open_data(tmp_path / name, inputs=(IMAGE,))
            assert caught.value.code == "data.format"


def test_the_fingerprint_follows_content_labels_and_choice_of_samples() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    first = open_data(array, inputs=(IMAGE,))
    assert first.fingerprint == open_data(array.copy(), inputs=(IMAGE,)).fingerprint
    others = [
        open_data(array + 1, inputs=(IMAGE,)),
        open_data(array, inputs=(IMAGE,), labels=[0, 1]),
        open_data(array, inputs=(IMAGE,), labels=[1, 0]),
        first.subset([0]),
        first.subset([1]),
    ]
    assert len({data.fingerprint for data in [first, *others]}) == 6


def test_a_subset_of_a_subset_counts_within_it() -> None:
    array = np.arange(10, dtype=np.float32).reshape(10, 1)
    data = open_data(array, inputs=(TensorSpec("x", "float32", (None, 1)),), labels=list(range(10)))
    chosen = data.subset([8, 2, 5]).subset([2, 0])
    assert [sample.target for sample in chosen] == [5, 8]
    assert [sample.key for sample in chosen] == ["5", "8"]


def test_images_in_an_array_are_preprocessed_when_asked() -> None:
    images = np.full((3, 4, 4, 3), 255, np.uint8)
    data = open_data(images, inputs=(TensorSpec("x", "float32", ("n", 3, 4, 4)),), preprocess="unit")
    assert np.array_equal(next(iter(data)).inputs["x"], np.ones((1, 3, 4, 4), np.float32))


def test_iterating_twice_gives_the_same() -> None:
    data = open_data(_inputs(), inputs=(IMAGE, STATE, RATE))
    for first, second in zip(data, data, strict=True):
        assert all(np.array_equal(first.inputs[name], second.inputs[name]) for name in first.inputs)
