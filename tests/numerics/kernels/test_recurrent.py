"""LSTM, GRU and RNN on every ISA table, against their definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.compiler import cells
from strop.compiler.cells import Activation, Cell
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels import references
from strop.compiler.kernels.contract import Recurrence
from strop.compiler.kernels.recurrent import RecurrentKernel
from strop.compiler.layouts import Layout, dense
from tests.examples import at_least
from tests.numerics.kernels.harness import every_isa, run_problem

KERNEL = RecurrentKernel()
HARD = Activation("hardsigmoid", 0.25, 0.5)
CELLS = {
    "lstm": cells.lstm(peepholes=False),
    "lstm with peepholes": cells.lstm(peepholes=True),
    "lstm of others, clipped": cells.lstm(
        (HARD, Activation("affine", 0.5, 0.1), Activation("relu")), 0.4, peepholes=True
    ),
    "gru": cells.gru(linear_before_reset=False),
    "gru, linear before reset": cells.gru(linear_before_reset=True),
    "gru of others, clipped": cells.gru((HARD, Activation("softsign")), 0.5, linear_before_reset=True),
    "rnn": cells.rnn(),
    "rnn of others": cells.rnn((Activation("leakyrelu", 0.1),)),
}


def make(
    cell: Cell,
    units: int,
    steps: int = 3,
    batch: int = 1,
    *,
    reverse: tuple[bool, ...] = (False,),
    given: tuple[str, ...] = (),
    finals: tuple[str, ...] = (),
    pad: int = 0,
) -> Recurrence:
    """Returns a problem; `pad`: numbers between rows of its states."""
    directions = len(reverse)
    width = directions * cell.gates * -(-units // 16) * 16
    rows, wide = steps + len(finals), directions * units + pad
    output = Layout((rows, batch, directions * units), (4 * batch * wide, 4 * wide, 4))
    state = Layout((directions, batch, units), (4 * batch * (units + pad), 4 * (units + pad), 4))
    lengths = dense((1, batch, 1), "int32")
    inputs = (dense((steps, batch, width)), *(lengths if name == "lengths" else state for name in given))
    return Recurrence(inputs, output, cell=cell, reverse=reverse, given=given, finals=finals)


@st.composite
def problems(draw: st.DrawFn) -> Recurrence:
    cell = CELLS[draw(st.sampled_from(sorted(CELLS)))]
    names = ["hidden", *(["cell"] if cell.has_cell else [])]
    chosen = [name for name in names if draw(st.booleans())]
    return make(
        cell,
        draw(st.sampled_from([1, 3, 4, 8, 15, 16, 17, 20, 32, 33, 48])),
        draw(st.integers(1, 5)),
        draw(st.sampled_from([1, 1, 2, 3, 7])),
        reverse=draw(st.sampled_from([(False,), (True,), (False, True)])),
        given=(*chosen, *(["lengths"] if draw(st.booleans()) else [])),
        finals=tuple(name for name in names if draw(st.booleans())),
        pad=draw(st.sampled_from([0, 3])),
    )


def arrays(problem: Recurrence, scale: float = 1.0) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Returns inputs, recurrent weights and the cell's vectors."""
    random = np.random.default_rng(3)
    directions, units, cell = len(problem.reverse), problem.units, problem.cell
    inputs = [random.normal(0, scale, layout.shape).astype(np.float32) for layout in problem.inputs]
    if "lengths" in problem.given:  # one of them out of range, which is taken for the nearest
        inputs[-1] = random.integers(-1, problem.steps + 2, problem.inputs[-1].shape).astype(np.int32)
    weights = random.normal(0, 1 / np.sqrt(units), (directions, cell.gates * units, units)).astype(np.float32)
    vectors = [random.normal(0, 0.5, directions * units).astype(np.float32) for _ in range(cell.vectors)]
    return inputs, weights, vectors


@every_isa
@at_least(60)
@given(problem=problems(), parts=st.integers(1, 3))
def test_recurrences_are_what_their_definition_says(isa: Isa, problem: Recurrence, parts: int) -> None:
    inputs, weights, vectors = arrays(problem)
    got = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=vectors, parts=parts)
    expected = references.recurrence(problem, inputs, weights, vectors)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=4e-6)


@every_isa
@pytest.mark.parametrize("name", sorted(CELLS))
def test_the_division_among_threads_changes_no_bit(isa: Isa, name: str) -> None:
    problem = make(CELLS[name], 20, 4, 9, reverse=(False, True), finals=("hidden",))
    inputs, weights, vectors = arrays(problem)
    whole = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=vectors)
    apart = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=vectors, parts=4)
    np.testing.assert_array_equal(apart, whole)
    np.testing.assert_allclose(whole, references.recurrence(problem, inputs, weights, vectors), rtol=2e-5, atol=4e-6)


@every_isa
@pytest.mark.parametrize("name", ["lstm", "gru", "gru, linear before reset", "rnn"])
def test_errors_stay_small_over_a_hundred_steps(isa: Isa, name: str) -> None:
    problem = make(CELLS[name], 64, 100, reverse=(True,))
    inputs, weights, vectors = arrays(problem)
    got = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=vectors)
    expected = references.recurrence(problem, inputs, weights, vectors)
    assert np.linalg.norm(got - expected) <= 1e-6 * np.linalg.norm(expected)


@every_isa
@pytest.mark.parametrize("name", sorted(CELLS))
def test_large_numbers_saturate_and_nan_stays_in_its_sequence(isa: Isa, name: str) -> None:
    problem = make(CELLS[name], 16, 2, 3, given=("hidden",))
    inputs, weights, vectors = arrays(problem, 1000)
    inputs[1][0, 1] = np.nan
    got = run_problem(KERNEL, problem, isa, inputs, weights=weights, channels=vectors)
    expected = references.recurrence(problem, inputs, weights, vectors)
    assert np.isnan(got[:, 1]).all() == np.isnan(expected[:, 1]).all()
    np.testing.assert_allclose(got[:, [0, 2]], expected[:, [0, 2]], rtol=1e-4, atol=1e-4)


def test_the_number_of_steps_is_no_part_of_the_code() -> None:
    isa = get_isa("x86-64-v4")
    codes = []
    for steps in (7, 100):
        problem = make(CELLS["lstm"], 128, steps)
        codes.append(KERNEL.emit(problem, KERNEL.candidates(problem, isa)[0], isa))
    assert codes[0].objects == codes[1].objects
    assert codes[0].numbers != codes[1].numbers


def test_what_it_does_not_compute_is_refused_with_the_reason() -> None:
    isa = get_isa("x86-64-v4")
    problem = make(CELLS["lstm"], 32, given=("hidden", "lengths"))
    assert KERNEL.accepts(problem, isa) == ""
    turned = Layout((1, 1, 32), (128, 128, 8))
    assert "neighbours" in KERNEL.accepts(replace(problem, inputs=(problem.inputs[0], turned, problem.inputs[2])), isa)
    wide = replace(problem.inputs[2], dtype="int64")
    assert "int64" in KERNEL.accepts(replace(problem, inputs=(*problem.inputs[:2], wide)), isa)
    assert "float32" in KERNEL.accepts(replace(problem, output=replace(problem.output, dtype="int32")), isa)
