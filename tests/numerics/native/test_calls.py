"""A call from Python: what it takes, what it gives, what it refuses, and that nothing leaks."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from hypothesis import given as given_values
from hypothesis import strategies as st

from strop.errors import InputError, NotSupportedError, UsageError
from strop.loader.native import NativeProgram
from strop.loader.plan import Plan, Task, Tensor
from strop.loader.structs import Program, Team
from tests.numerics.native import programs
from tests.numerics.native.programs import BEGIN, END, arena, given, number, result, weights, workspace

X = np.arange(10, dtype=np.float32)


@pytest.fixture
def add() -> NativeProgram:
    return NativeProgram(programs.plus_one(10))


def two_inputs() -> NativeProgram:
    """The program of total = a + weights, other = b + 1."""
    tasks = [
        Task("add", "add_weights", (given(0), weights(0), result(0), BEGIN, END), units=4),
        Task("one", "add_one", (given(1), result(1), BEGIN, END), units=3),
    ]
    return NativeProgram(
        programs.image(
            tasks,
            [Tensor("a", "float32", (2, 2)), Tensor("b", "float32", (3,))],
            [Tensor("total", "float32", (2, 2)), Tensor("other", "float32", (3,))],
            packed=np.float32([10, 20, 30, 40]),
        )
    )


def test_a_call_gives_a_dict_of_fresh_arrays(add: NativeProgram) -> None:
    first, second = add(X), add({"x": X})
    assert list(first) == ["y"]
    assert first["y"].dtype == np.float32 and first["y"].flags.owndata and first["y"].flags.c_contiguous
    np.testing.assert_array_equal(first["y"], X + 1)
    first["y"][:] = 0
    np.testing.assert_array_equal(second["y"], X + 1)


def test_the_quick_way_is_a_builtin_and_never_enters_python(
    add: NativeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(add.call) is type(len)
    monkeypatch.setattr("strop.loader.native.input_arrays", lambda *_: pytest.fail("the slow way was taken"))
    add.call(X)
    add.call({"x": X})
    add.call(X, {"y": np.empty(10, np.float32)})


def test_several_inputs_and_outputs_come_by_name_or_in_order() -> None:
    program = two_inputs()
    a, b = np.float32([[1, 2], [3, 4]]), np.float32([1, 2, 3])
    for inputs in ({"b": b, "a": a}, [a, b], (a, b)):
        outputs = program(inputs)
        assert list(outputs) == ["total", "other"]
        np.testing.assert_array_equal(outputs["total"], np.float32([[11, 22], [33, 44]]))
        np.testing.assert_array_equal(outputs["other"], b + 1)


def test_what_is_no_array_or_not_in_order_is_converted(add: NativeProgram) -> None:
    wide = np.arange(20, dtype=np.float32)
    np.testing.assert_array_equal(add(wide[::2])["y"], wide[::2] + 1)
    np.testing.assert_array_equal(add({"x": wide[:10][::-1]})["y"], wide[:10][::-1] + 1)
    np.testing.assert_array_equal(add([X])["y"], X + 1)


def test_results_go_into_the_callers_arrays(add: NativeProgram) -> None:
    target = np.zeros(10, np.float32)
    assert add.call(X, {"y": target}) is None
    np.testing.assert_array_equal(target, X + 1)
    add.run_into({"x": X + 1}, {"y": target})
    np.testing.assert_array_equal(target, X + 2)
    add.run([X + 2], [target])
    np.testing.assert_array_equal(target, X + 3)


def test_an_output_may_be_the_input_itself(add: NativeProgram) -> None:
    both = X.copy()
    add.run_into(both, {"y": both})
    np.testing.assert_array_equal(both, X + 1)


def test_outputs_may_not_share_memory() -> None:
    program, both = two_inputs(), np.zeros(4, np.float32)
    inputs = [np.zeros((2, 2), np.float32), np.zeros(3, np.float32)]
    with pytest.raises(InputError) as caught:
        program.run_into(inputs, {"total": both.reshape(2, 2), "other": both[1:]})
    assert caught.value.code == "output.buffer"


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (X.astype(np.float64), "input.dtype"),
        (X.astype(np.int32), "input.dtype"),
        (X.astype(">f4"), "input.dtype"),
        (X[None], "input.rank"),
        (X[:9], "input.shape"),
        (X.reshape(5, 2), "input.rank"),
        ({"x": X[:9]}, "input.shape"),
        ({}, "input.missing"),
        ({"z": X}, "input.unknown"),
        ({"x": X, "z": X}, "input.unknown"),
        ([X, X], "input.unknown"),
        ([], "input.missing"),
        (None, "input.form"),
        (3, "input.form"),
        ("x", "input.form"),
        ({"x": [[1.0], [2.0, 3.0]]}, "input.form"),
        ({"x": None}, "input.dtype"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(add: NativeProgram, inputs: object, code: str) -> None:
    with pytest.raises(InputError) as caught:
        add.call(inputs)
    assert caught.value.code == code
    np.testing.assert_array_equal(add(X)["y"], X + 1)


@pytest.mark.parametrize(
    "buffers",
    [
        {},
        {"z": np.zeros(10, np.float32)},
        {"y": np.zeros(10, np.float32), "z": np.zeros(1)},
        {"y": np.zeros(9, np.float32)},
        {"y": np.zeros(10, np.float64)},
        {"y": np.zeros(20, np.float32)[::2]},
        {"y": np.frombuffer(bytes(40), np.float32)},
        {"y": bytearray(40)},
        {3: np.zeros(10, np.float32)},
        None,
        [np.zeros(10, np.float32)],
    ],
)
def test_buffers_that_do_not_fit_are_refused(add: NativeProgram, buffers: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError) as caught:
        add.run_into(X, buffers)
    assert caught.value.code == "output.buffer"


def test_a_call_takes_one_or_two_arguments(add: NativeProgram) -> None:
    for arguments in ((), (X, {}, 3)):
        with pytest.raises(TypeError):
            add.call(*arguments)
    with pytest.raises(TypeError):
        add.call(inputs=X)


def test_no_reference_is_lost_or_kept(add: NativeProgram) -> None:
    x, target, wrong = X.copy(), np.zeros(10, np.float32), X.astype(np.float64)
    inputs, outputs = {"x": x}, {"y": target}
    things = [x, target, wrong, inputs, outputs, add.plan.outputs[0].name, np.empty, np.dtype(np.float32), dict]

    def use() -> None:
        for _ in range(1000):
            add.call(x)
            add.call(inputs)
            add.call(inputs, outputs)
            assert add.call(x)["y"].size == 10
        for _ in range(20):
            with pytest.raises(InputError):
                add.call(wrong)
            with pytest.raises(InputError):
                add.call(inputs, {"y": wrong})

    use()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in things]
    use()
    gc.collect()
    after = [sys.getrefcount(thing) for thing in things]
    assert all(abs(now - then) < 20 for now, then in zip(after, before, strict=True)), (before, after)
    assert sys.getrefcount(add(x)["y"]) == 1 + (sys.version_info < (3, 14))


def test_a_closed_program_refuses_calls(add: NativeProgram) -> None:
    call = add.call
    add.close()
    add.close()
    for use in (lambda: call(X), lambda: add({"x": X}), lambda: add.profile(X, 1, lambda: 0.0)):
        with pytest.raises(UsageError) as caught:
            use()
        assert caught.value.code == "usage.closed"


def test_the_builtin_alone_keeps_everything_it_needs() -> None:
    call = NativeProgram(programs.plus_one(10)).call
    gc.collect()
    np.testing.assert_array_equal(call(X)["y"], X + 1)


def test_scalars_and_empty_arrays_are_tensors_too() -> None:
    total = NativeProgram(programs.chain(12, 3))(np.arange(12, dtype=np.float32))["total"]
    assert total.shape == ()
    empty = Task("none", "add_one", (given(), result(), number(0), number(0)))
    program = NativeProgram(programs.image([empty], [Tensor("x", "float32", (0, 3))], [Tensor("y", "float32", (0, 3))]))
    assert program(np.zeros((0, 3), np.float32))["y"].shape == (0, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int8", "uint8", "bool", "complex64"])
def test_every_element_type_comes_through(dtype: str) -> None:
    nothing = Task("none", "add_one", (given(), result(), number(0), number(0)))
    program = NativeProgram(programs.image([nothing], [Tensor("x", dtype, (4,))], [Tensor("y", dtype, (4,))]))
    y = program(np.zeros(4, dtype))["y"]
    assert y.dtype == np.dtype(dtype) and y.shape == (4,)
    with pytest.raises(InputError):
        program(np.zeros(4, np.int16))


def test_two_int64_types_of_the_same_size_are_one() -> None:
    nothing = Task("none", "add_one", (given(), result(), number(0), number(0)))
    program = NativeProgram(programs.image([nothing], [Tensor("x", "int64", (4,))], [Tensor("y", "int64", (4,))]))
    assert program(np.zeros(4, np.longlong))["y"].dtype == np.int64


@given_values(count=st.integers(1, 70), steps=st.integers(0, 4), grain=st.integers(1, 20), threads=st.integers(1, 4))
def test_any_plan_gives_the_same_on_any_number_of_threads(count: int, steps: int, grain: int, threads: int) -> None:
    x = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    with NativeProgram(programs.chain(count, steps, grain=grain), threads=threads, poison=True) as program:
        for _ in range(3):
            outputs = program(x)
            for name, expected in programs.chain_expected(x, steps).items():
                np.testing.assert_array_equal(outputs[name], expected)


def test_each_thread_has_a_workspace_and_zeroed_ranges_are_zero() -> None:
    tasks = [
        Task("scratch", "add_one", (arena(64), workspace(0), number(0), number(16))),
        Task("out", "add_one", (workspace(0), result(), number(0), number(16))),
    ]
    for poison in (False, True):
        program = NativeProgram(
            programs.image(
                tasks,
                [Tensor("x", "float32", (1,))],
                [Tensor("y", "float32", (16,))],
                arena_bytes=128,
                workspace_bytes=64,
                zeroed=((64, 64),),
            ),
            poison=poison,
        )
        np.testing.assert_array_equal(program(np.zeros(1, np.float32))["y"], np.full(16, 2, np.float32))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("flush", [True, False])
def test_denormals_are_flushed_unless_asked_and_the_callers_mode_stays(threads: int, flush: bool) -> None:
    task = Task("half", "multiply", (given(), result(), BEGIN, END), units=8)
    image = programs.image([task], [Tensor("x", "float32", (8,))], [Tensor("y", "float32", (8,))])
    smallest = np.full(8, np.finfo(np.float32).tiny, np.float32)
    with NativeProgram(image, threads=threads, flush_denormals=flush) as program:
        assert np.all((program(smallest)["y"] == 0) == flush)
        assert np.all(smallest * np.float32(0.5) != 0)  # numpy's own arithmetic is as before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_profile_times_every_task(threads: int) -> None:
    program = NativeProgram(programs.chain(64, 2), threads=threads)
    ticks = iter(range(10**9))
    seconds = program.profile(np.zeros(64, np.float32), 4, lambda: 1e-3 * next(ticks))
    assert seconds.shape == (4, len(program.plan.tasks))
    assert np.all(seconds >= 0) and np.all(seconds.sum(1) > 0)


def test_a_plan_without_tasks_does_nothing() -> None:
    program = NativeProgram(programs.image([], [], []))
    assert program({}) == {}
    assert isinstance(program.plan, Plan)


def test_bad_counts_are_refused() -> None:
    for options in ({"threads": 0}, {"streams": 0}, {"streams": 65}):
        with pytest.raises(UsageError) as caught:
            NativeProgram(programs.plus_one(4), **options)
        assert caught.value.code == "usage.bad-option"


def test_nobody_waits_by_looking_where_there_are_more_threads_than_cores() -> None:
    image = programs.chain(16, 1)
    with NativeProgram(image, threads=2, cores=1, streams=3) as program:
        assert program._core.pool.teams[0].get(Team.BARRIER_TICKS) == 0
    with NativeProgram(image, threads=2, cores=8, streams=4) as program:
        assert program._core.pool.teams[0].get(Team.BARRIER_TICKS) > 0


def test_without_the_builtin_and_without_teams_everything_works_just_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.loader.native.has_builtin", lambda: False)
    monkeypatch.setattr("strop.loader.native.has_teams", lambda: False)
    program, target = NativeProgram(programs.plus_one(10), threads=4), np.zeros(10, np.float32)
    assert type(program.call) is not type(len) and program.threads == 1
    np.testing.assert_array_equal(program(X)["y"], X + 1)
    program.run_into({"x": X}, {"y": target})
    np.testing.assert_array_equal(target, X + 1)
    program.close()
    with pytest.raises(UsageError):
        program(X)


def test_only_a_long_plan_lets_other_python_threads_run() -> None:
    for flops, releases in ((1.0, 0), (1e5, 0), (1e8, 1), (0.0, 1)):  # 0: not known
        program = NativeProgram(programs.plus_one(10, flops=flops))
        assert program._core.program.get(Program.RELEASES) == releases


def test_code_for_another_cpu_is_refused() -> None:
    image = programs.plus_one(4)
    with pytest.raises(NotSupportedError) as caught:
        NativeProgram(image.changed(plan=image.plan.changed(level="armv8.2+dotprod")))
    assert caught.value.code == "bundle.needs"
