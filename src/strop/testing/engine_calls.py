"""Checks of calls: forms of input, bad input, who owns which array, buffers, queues, threads, the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from onnx import helper

from strop.engines.contract import CompiledModel, Inputs, Settings
from strop.machine import machine
from strop.testing import models
from strop.testing.engine_subject import Arrays, Subject, assert_close, assert_raises, images, rows

_CALLERS = 8


def takes_inputs_by_name_or_in_order(subject: Subject) -> None:
    """A dict in any order, a list and a tuple give the same; so does the bare array of an only input."""
    x, state = rows(2, 4), rows(2, 4, seed=1)
    expected = subject.double({"x": x, "state": state})
    forms: tuple[Inputs, ...] = ({"state": state, "x": x}, [x, state], (x, state))
    for form in forms:
        assert_close(subject.double(form), expected, tolerance=0)
    x = rows(2, 16)
    assert_close(subject.single([x]), subject.single({"x": x}), tolerance=0)
    assert_close(subject.single(x), subject.single({"x": x}), tolerance=0)


def takes_arrays_of_any_layout(subject: Subject) -> None:
    """Fortran order, a slice with steps and a read-only array count for what they hold."""
    x = rows(2, 16)
    expected = subject.single(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    for array in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], read_only):
        assert_close(subject.single(array), expected, tolerance=0)
    wide = images(1, 64)
    expected = subject.wide_and_fixed(wide)
    wide.flags.writeable = False
    assert_close(subject.wide_and_fixed(wide), expected, tolerance=0)


def says_what_is_wrong_with_an_input(subject: Subject) -> None:
    """Element type, rank, shape, a missing name, an unknown name, too many arrays: each has its own code."""
    x = rows(2, 16)
    assert_raises("input.dtype", lambda: subject.single(x.astype(np.float64)), saying="float64")
    assert_raises("input.rank", lambda: subject.single(x[0]), saying="x")
    assert_raises("input.shape", lambda: subject.single(rows(2, 15)), saying="16")
    assert_raises("input.missing", lambda: subject.double({"x": rows(2, 4)}), saying="state")
    assert_raises("input.missing", lambda: subject.double([rows(2, 4)]), saying="state")
    both = {"x": rows(2, 4), "stat": rows(2, 4)}
    assert_raises("input.unknown", lambda: subject.double(both), saying="did you mean 'state'")
    assert_raises("input.unknown", lambda: subject.single([x, x]))
    assert_raises("input.dtype", lambda: subject.single.submit(x.astype(np.float64)))


def stays_usable_after_bad_input(subject: Subject) -> None:
    """A refused request leaves nothing behind."""
    x = rows(1, 16)
    expected = subject.single(x)
    for _ in range(3):
        assert_raises("input.rank", lambda: subject.single(x[0]))
    assert_close(subject.single(x), expected, tolerance=0)


def outputs_are_the_callers_own(subject: Subject) -> None:
    """Neither a later request nor the caller's writing changes another result, small or large."""
    for compiled, first, second in (
        (subject.single, rows(1, 16), rows(1, 16, seed=1)),
        (subject.wide, images(1, 64), images(1, 64, seed=1)),
        (subject.wide_and_fixed, images(1, 64), images(1, 64, seed=1)),
    ):
        result = compiled(first)["y"]
        kept = result.copy()
        compiled(second)
        assert np.array_equal(result, kept), "a later request changed an earlier result"
        assert result.flags.writeable, "a result cannot be written"
        result[...] = 7
        assert np.array_equal(compiled(first)["y"], kept), "writing to a result changed the next one"


def outputs_never_share_memory_with_inputs(subject: Subject) -> None:
    """Also where the model hands an input through."""
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Relu", ["x"], ["y"])]
    compiled = subject.compile(models.model(nodes, {"x": ("batch", 4)}, {"same": ("batch", 4), "y": ("batch", 4)}))
    x = rows(2, 4)
    before = x.copy()
    result = compiled(x)
    assert not np.shares_memory(result["same"], x), "an output is the caller's input array"
    result["same"][...] = 7
    assert np.array_equal(x, before), "writing to an output changed the input"


def writes_into_the_callers_buffers(subject: Subject) -> None:
    """`run_into` gives what a call gives, in the arrays it was given, small or large, again and again."""
    for compiled, inputs in (
        (subject.double, [{"x": rows(2, 4, seed=s), "state": rows(2, 4, seed=s + 9)} for s in range(3)]),
        (subject.wide, [{"x": images(1, 64, seed=s)} for s in range(3)]),
        (subject.wide_and_fixed, [{"x": images(1, 64, seed=s)} for s in range(3)]),
    ):
        buffers = {name: np.full_like(array, 7) for name, array in compiled(inputs[0]).items()}
        for sample in inputs:
            compiled.run_into(sample, buffers)
            assert_close({spec.name: buffers[spec.name] for spec in compiled.outputs}, compiled(sample), tolerance=1e-6)


def says_what_is_wrong_with_a_buffer(subject: Subject) -> None:
    """Missing, unknown, wrong type, wrong shape, read-only or not in C order, small or large: `output.buffer`."""
    for compiled, x in (
        (subject.single, rows(2, 16)),
        (subject.wide, images(1, 64)),
        (subject.wide_and_fixed, images(1, 64)),
    ):
        good = compiled(x)["y"]
        read_only = good.copy()
        read_only.flags.writeable = False
        twice = np.repeat(good, 2, axis=-1)
        bad: list[Arrays] = [
            {},
            {"z": good},
            {"y": good, "z": good},
            {"y": good.astype(np.float64)},
            {"y": np.concatenate([good, good])},
            {"y": good[:, :-1].copy()},
            {"y": read_only},
            {"y": twice[..., ::2]},
        ]
        for buffers in bad:
            assert_raises("output.buffer", partial(compiled.run_into, x, buffers))
        assert_close(compiled(x), {"y": good}, tolerance=1e-6)
    x, state, same = rows(2, 4), rows(2, 4), np.zeros((2, 4), np.float32)
    assert_raises("output.buffer", lambda: subject.double.run_into([x, state], {"y": same, "new_state": same}))


def reads_inputs_before_it_writes_over_them(subject: Subject) -> None:
    """A buffer that is an input at the same time: the state of one step becomes that of the next, in place."""
    x, state = rows(2, 4), rows(2, 4, seed=1)
    expected = subject.double([x, state])
    y = np.empty_like(expected["y"])
    subject.double.run_into([x, state], {"y": y, "new_state": state})
    assert_close({"y": y, "new_state": state}, expected, tolerance=1e-6)


def queued_requests_keep_their_inputs(subject: Subject) -> None:
    """What is written to an input array after `submit` does not reach the request."""
    x = rows(1, 16)
    expected = subject.single(x)
    futures = []
    for _ in range(_CALLERS):
        array = x.copy()
        futures.append(subject.single.submit(array))
        array[...] = np.nan
    for future in futures:
        assert_close(future.result(timeout=60), expected, tolerance=1e-6)


def serves_many_callers_at_once(subject: Subject) -> None:
    """8 threads, each with inputs of its own, calls and queued requests mixed: every answer is the right one."""
    streams = min(2, machine().cores)
    for compiled in (subject.single, subject.compile(models.multilayer_perceptron(), Settings(streams, streams))):
        samples = [rows(1 + seed % 3, 16, seed=seed) for seed in range(_CALLERS)]
        expected = [compiled(sample) for sample in samples]

        with ThreadPoolExecutor(_CALLERS) as pool:
            calls = [
                pool.submit(_call, compiled, samples[n % _CALLERS], queued=n % 2 == 0) for n in range(10 * _CALLERS)
            ]
            results = [call.result() for call in calls]
        for number, result in enumerate(results):
            assert_close(result, expected[number % _CALLERS], tolerance=1e-6)


def a_closed_model_says_so(subject: Subject) -> None:
    """Every call after `close` raises `usage.closed`; closing again does nothing; queued requests are still served."""
    compiled = subject.compile(models.multilayer_perceptron())
    x = rows(1, 16)
    expected = compiled(x)
    buffers = {"y": np.empty_like(expected["y"])}
    futures = [compiled.submit(x) for _ in range(4)]
    compiled.close()
    compiled.close()
    for future in futures:
        assert_close(future.result(timeout=60), expected, tolerance=1e-6)
    assert_raises("usage.closed", lambda: compiled(x))
    assert_raises("usage.closed", lambda: compiled.run_into(x, buffers))
    assert_raises("usage.closed", lambda: compiled.submit(x))
    assert_raises("usage.closed", lambda: compiled.profile(x))


def _call(compiled: CompiledModel, x: np.ndarray, *, queued: bool) -> Arrays:
    return compiled.submit(x).result(timeout=60) if queued else compiled(x)


CALL_CHECKS = (
    takes_inputs_by_name_or_in_order,
    takes_arrays_of_any_layout,
    says_what_is_wrong_with_an_input,
    stays_usable_after_bad_input,
    outputs_are_the_callers_own,
    outputs_never_share_memory_with_inputs,
    writes_into_the_callers_buffers,
    says_what_is_wrong_with_a_buffer,
    reads_inputs_before_it_writes_over_them,
    queued_requests_keep_their_inputs,
    serves_many_callers_at_once,
    a_closed_model_says_so,
)
