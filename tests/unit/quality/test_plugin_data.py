"""Data from users' files, and sample by sample in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strop.errors import DataError
from strop.model.specs import TensorSpec
from strop.quality.contract import Sample
from strop.quality.data import open_data
from strop.quality.plugin import is_plugin, load_plugin

RAGGED = (TensorSpec("x", "float32", (1, "length")),)

CODE = """
import dataclasses
import numpy as np
from neighbour import LENGTHS

@dataclasses.dataclass
class Unused:
    x: int = 0

def ragged():
    for length in LENGTHS:
        yield {"x": np.zeros((1, length), np.float32)}, length

def as_list():
    return [np.zeros(3, np.float32), np.zeros(4, np.float32)]

def as_arrays():
    return {"x": np.zeros((5, 2), np.float32), "labels": np.arange(5)}

class Again:
    def __iter__(self):
        return ragged()

again = Again()
once = ragged()
number = 3

def fails():
    yield {"x": np.zeros((1, 2), np.float32)}
    raise ValueError("no more disks")

def mixed():
    yield np.zeros(2, np.float32), 1
    yield np.zeros(2, np.float32)

def nothing():
    return iter(())

left = [3, 2]
def shrinks():
    for _ in range(left.pop() if left else 1):
        yield np.zeros(2, np.float32)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("LENGTHS = (2, 5, 3)\n")
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


@pytest.mark.parametrize("name", ["ragged", "again", "once"])
def test_a_generator_an_iterable_and_an_iterator_give_their_samples_every_time(file: Path, name: str) -> None:
    data = open_data(f"{file}:{name}", inputs=RAGGED)
    assert len(data) == 3 and data.has_targets
    for _ in range(2):
        assert [(sample.inputs["x"].shape, sample.target) for sample in data] == [((1, 2), 2), ((1, 5), 5), ((1, 3), 3)]


def test_subsets_of_a_stream_come_in_the_order_asked_for(file: Path) -> None:
    data = open_data(f"{file}:ragged", inputs=RAGGED)
    assert [sample.target for sample in data.subset([0, 2])] == [2, 3]
    assert [sample.target for sample in data.subset([2, 0, 2])] == [3, 2, 3]
    assert list(data.subset([])) == []


def test_a_function_may_return_a_list_or_arrays(file: Path) -> None:
    assert [sample.inputs["x"].shape for sample in open_data(f"{file}:as_list", inputs=RAGGED)] == [(1, 3), (1, 4)]
    data = open_data(f"{file}:as_arrays", inputs=RAGGED)
    assert [sample.target for sample in data] == [0, 1, 2, 3, 4]


def test_an_exception_in_it_names_the_function_and_the_exception(file: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(f"{file}:fails", inputs=RAGGED)
    assert caught.value.code == "data.plugin"
    assert "mine.py:fails" in str(caught.value) and "ValueError: no more disks" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_name_that_is_not_there_lists_what_is(file: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(f"{file}:rugged", inputs=RAGGED)
    assert caught.value.code == "data.plugin" and "ragged" in str(caught.value.got)


@pytest.mark.parametrize(
    ("name", "code"), [("number", "data.plugin"), ("mixed", "data.labels"), ("nothing", "data.empty")]
)
def test_what_is_no_data_is_refused(file: Path, name: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        open_data(f"{file}:{name}", inputs=RAGGED)
    assert caught.value.code == code


def test_a_function_that_gives_fewer_samples_later_is_found_out(file: Path) -> None:
    data = open_data(f"{file}:shrinks", inputs=RAGGED)
    with pytest.raises(DataError, match="fewer samples than when it was opened"):
        list(data)


def test_a_file_that_does_not_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import not_a_module_of_anyone\n")
    with pytest.raises(DataError, match="not_a_module_of_anyone"):
        load_plugin(f"{tmp_path}/bad.py:x")


def test_only_file_py_and_name_is_a_plugin() -> None:
    assert is_plugin("a/b.py:name") and is_plugin("C:\\data\\b.py:name")
    assert not any(map(is_plugin, ("a.py", "a.npz:x", "a.py:", "a.py:x-y", "ctc:dictionary.txt", 3)))


def test_samples_in_memory_may_be_dicts_arrays_lists_pairs_or_samples() -> None:
    x = np.ones((1, 2), np.float32)
    for items in ([{"x": x}], [x], [[x]], [x[0]]):
        assert next(iter(open_data(items, inputs=RAGGED))).inputs["x"].shape == (1, 2)
    assert next(iter(open_data([(x, "yes")], inputs=RAGGED))).target == "yes"
    assert next(iter(open_data([Sample("mine", {"x": x}, 4)], inputs=RAGGED))).key == "mine"
    two = (*RAGGED, TensorSpec("y", "float32", (1, 2)))
    assert set(next(iter(open_data([[x, x]], inputs=two))).inputs) == {"x", "y"}
    with pytest.raises(DataError, match="another number of inputs"):
        open_data([x], inputs=two)


def test_labels_given_apart_go_with_samples_in_order() -> None:
    data = open_data([np.ones(2, np.float32)] * 3, inputs=RAGGED, labels=["a", "b", "c"])
    assert [sample.target for sample in data] == ["a", "b", "c"]


def test_a_data_set_of_the_users_own_is_checked_like_any_other() -> None:
    class Mine:
        name, has_targets, fingerprint = "mine", True, "0" * 8

        def __init__(self, indices):
            self.indices = indices

        def __len__(self):
            return len(self.indices)

        def __iter__(self):
            for index in self.indices:
                yield Sample(f"s{index}", {"x": np.full((1, 2), np.nan if index == 2 else 0.0)}, index)

        def subset(self, indices):
            return Mine([self.indices[i] for i in indices])

    data = open_data(Mine([0, 1, 2]), inputs=RAGGED)
    assert [sample.target for sample in data.subset([1, 0])] == [1, 0]
    with pytest.raises(DataError, match=r"sample 2 \(s2\)"):
        list(data)
    assert len(open_data(data, inputs=RAGGED)) == 3


def test_fingerprints_of_a_stream_follow_its_samples(file: Path) -> None:
    before = open_data(f"{file}:ragged", inputs=RAGGED).fingerprint
    assert open_data(f"{file}:again", inputs=RAGGED).fingerprint == before
    pairs = [({"x": np.zeros((1, n), np.float32)}, n) for n in (2, 5, 4)]
    assert open_data(lambda: iter(pairs), inputs=RAGGED).fingerprint != before
