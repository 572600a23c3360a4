from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.engines.checks import BufferCheck, InputCheck
from strop.errors import InputError, NotSupportedError
from strop.model.specs import TensorSpec

SPECS = (TensorSpec("x", "float32", ("batch", 3)), TensorSpec("state", "int64", ()))
X, STATE = np.zeros((2, 3), np.float32), np.array(5, np.int64)


def test_inputs_by_name_come_in_the_models_order() -> None:
    x, state = InputCheck(SPECS)({"state": STATE, "x": X})
    assert x is X
    assert state is STATE


def test_a_scalar_input_may_be_a_number() -> None:
    _, state = InputCheck(SPECS)([X, 7])  # type: ignore[list-item]
    assert state.shape == ()
    assert state == 7


def test_a_scalar_stays_a_scalar_when_it_is_copied_into_c_order() -> None:
    big = np.zeros((3, 2), np.float32).T
    x, _ = InputCheck(SPECS)([big, STATE])
    assert x.flags.c_contiguous
    assert x.shape == (2, 3)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"x": X}, "input.missing"),
        ([X], "input.missing"),
        (X, "input.missing"),
        ({"x": X, "state": STATE, "more": X}, "input.unknown"),
        ({"x": X, "stat": STATE}, "input.unknown"),
        ([X, STATE, X], "input.unknown"),
        ([X.astype(np.float64), STATE], "input.dtype"),
        ([X.astype(">f4"), STATE], "input.dtype"),
        ([X[0], STATE], "input.rank"),
        ([X[:, :2], STATE], "input.shape"),
        ([X, STATE[None]], "input.rank"),
        ([[[1.0, 2.0, 3.0]], STATE], "input.dtype"),
        (None, "input.form"),
        (3, "input.form"),
        ("x", "input.form"),
        ([X, [[1.0], [2.0, 3.0]]], "input.form"),
        ([None, STATE], "input.dtype"),
    ],
)
def test_what_is_wrong_has_its_code(inputs: object, code: str) -> None:
    with pytest.raises(InputError) as raised:
        InputCheck(SPECS)(inputs)  # type: ignore[arg-type]
    assert raised.value.code == code


@given(
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    wanted=st.lists(st.sampled_from([0, 1, 2, 3, "n", None]), max_size=4).map(tuple),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
)
def test_an_array_passes_exactly_when_dtype_rank_and_fixed_sizes_are_right(
    shape: tuple[int, ...], wanted: tuple[int | str | None, ...], dtype: str
) -> None:
    fits = (
        dtype == "float32"
        and len(shape) == len(wanted)
        and all(not isinstance(want, int) or want == have for want, have in zip(wanted, shape, strict=True))
    )
    check = InputCheck((TensorSpec("x", "float32", wanted),))
    array = np.zeros(shape, dtype)
    if fits:
        assert check([array])[0].shape == shape
    else:
        with pytest.raises(InputError):
            check([array])


OUTPUTS = (TensorSpec("y", "float32", ("batch", 3)), TensorSpec("z", "float32", (2,)))
Y, Z = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)


def test_buffers_come_in_the_models_order() -> None:
    first, second = BufferCheck(OUTPUTS)({"z": Z, "y": Y})
    assert first is Y
    assert second is Z


def _read_only() -> np.ndarray:
    array = Y.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("buffers", "problem"),
    [
        ({"y": Y}, "'z' has no buffer"),
        ({"y": Y, "z": Z, "w": Z}, "'w' is no output"),
        ({"y": Y.astype(np.float64), "z": Z}, "element type"),
        ({"y": _read_only(), "z": Z}, "cannot be written"),
        ({"y": np.zeros((3, 2), np.float32).T, "z": Z}, "not in C order"),
        ({"y": [0.0], "z": Z}, "needs a numpy array"),
        ({"y": Y, "z": Y[0, :2]}, "shares memory"),
        ({"y": Y, 3: Z}, "'z' has no buffer"),
        (None, "'y' was not given by name"),
        ([Y, Z], "'y' was not given by name"),
    ],
)
def test_what_is_wrong_with_a_buffer_is_said(buffers: dict[str, np.ndarray], problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        BufferCheck(OUTPUTS)(buffers)
    assert raised.value.code == "output.buffer"


def test_a_type_that_numpy_lacks_is_an_unsupported_model() -> None:
    with pytest.raises(NotSupportedError) as raised:
        InputCheck((TensorSpec("x", "float7", (1,)),))
    assert raised.value.code == "unsupported.model"
