"""The harness runs a right kernel and finds what wrong ones do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from strop.compiler.emit import Function, Module, Number, Value, constant
from strop.compiler.isa import Isa, get_isa
from strop.compiler.layouts import channels_last, dense
from tests.numerics.kernels.harness import Buffer, KernelError, every_isa, run_kernel

GENERIC = get_isa("generic")


def kernel(isa: Isa, build: Callable[[Function, list[Value]], None], *, pointers: int = 2) -> dict[str, str]:
    """Returns a kernel whose record holds so many pointers."""
    module = Module(isa)
    f = module.function("kernel_under_test", ["ptr"])
    build(f, [f.load("ptr", f.arguments[0], 8 * index) for index in range(pointers)])
    f.ret()
    return {"kernel_under_test": module.text()}


def run(build: Callable[[Function, list[Value]], None], *arguments: object, isa: Isa = GENERIC) -> list[np.ndarray]:
    return run_kernel(kernel(isa, build, pointers=len(arguments)), isa, "kernel_under_test", arguments)  # type: ignore[arg-type]


@every_isa
def test_a_kernel_that_doubles_runs_on_every_table(isa: Isa) -> None:
    count = 5 * isa.lanes + 3

    def double(f: Function, pointers: list[Value]) -> None:
        source, target = pointers

        def block(index: Number, _: list[Value]) -> None:
            at = f.mul(index, isa.vector_bytes)
            x = f.load(isa.vector, source, at)
            f.store(f.fadd(x, x), target, at)

        f.loop(5, block)
        x = f.load_lanes(isa.vector, source, 5 * isa.vector_bytes, lanes=3)
        f.store_lanes(f.fadd(x, x), target, 5 * isa.vector_bytes, lanes=3)

    values = np.arange(count, dtype=np.float32)
    (result,) = run(double, values, Buffer.for_output(dense((count,))), isa=isa)
    np.testing.assert_array_equal(result.view(np.float32), 2 * values)


def test_two_calls_over_the_same_buffers_make_one_result() -> None:
    module = Module(GENERIC)
    f = module.function("one", ["ptr"])
    target, index = f.load("ptr", f.arguments[0]), f.load("i64", f.arguments[0], 8)
    f.store(index, target, f.mul(index, 8))
    f.ret()
    target_buffer = Buffer.for_output(dense((2,), "int64"))
    (result,) = run_kernel({"one": module.text()}, GENERIC, "one", [target_buffer, 1], [target_buffer, 0])
    assert result.view(np.int64).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (40, "crashed: SIGSEGV in kernel_under_test.* a store at byte 40 of buffer 0"),
        (-4, "wrote what it may not: 4 bytes between byte -4 and -1 of buffer 0"),
        (-5000, "a store at byte -5000 of buffer 0"),
    ],
)
def test_a_store_outside_is_found(at: int, what: str) -> None:
    def store(f: Function, pointers: list[Value]) -> None:
        f.store(constant("float", 1), pointers[0], at)

    with pytest.raises(KernelError, match=f"^kernel_under_test {what}" if at > -9 else what):
        run(store, Buffer.for_output(dense((10,))))


@pytest.mark.parametrize(("at", "what"), [(40, "load at byte 40 of buffer 0"), (-4, "load at byte -4 of buffer 0")])
def test_a_read_outside_is_found(at: int, what: str) -> None:
    def read(f: Function, pointers: list[Value]) -> None:
        f.store(f.load("float", pointers[0], at), pointers[1])

    with pytest.raises(KernelError, match=what):
        run(read, np.zeros(10, np.float32), Buffer.for_output(dense((1,))))


def test_a_read_within_the_slack_is_allowed_but_must_not_matter() -> None:
    def read(f: Function, pointers: list[Value]) -> None:
        f.store(f.load("float", pointers[0], 40 + 60), pointers[1])

    def read_more(f: Function, pointers: list[Value]) -> None:
        f.store(f.load("float", pointers[0], 40 + 64), pointers[1])

    def read_only(f: Function, pointers: list[Value]) -> None:
        f.line('call void asm sideeffect "mov 100($0), %eax", "r,~{eax}"(ptr ' + pointers[0].text + ")")
        f.store(constant("float", 1), pointers[1])

    source, target = Buffer.holding(np.zeros(10, np.float32), slack=64), Buffer.for_output(dense((1,)))
    assert run(read_only, source, target)[0].view(np.float32).tolist() == [1]
    with pytest.raises(KernelError, match="gave two results"):
        run(read, source, target)
    with pytest.raises(KernelError, match="load at byte 104 of buffer 0"):
        run(read_more, source, target)


def test_a_store_into_the_slack_is_found() -> None:
    def store(f: Function, pointers: list[Value]) -> None:
        f.store(constant("float", 0), pointers[0], 40)

    with pytest.raises(KernelError, match="wrote what it may not: 4 bytes between byte 40 and 43 of buffer 0"):
        run(store, Buffer.holding(np.zeros(10, np.float32), slack=64))


def test_a_store_between_the_elements_of_a_view_is_found() -> None:
    layout = channels_last((1, 3, 2, 2), pixel=16)

    def store(f: Function, pointers: list[Value]) -> None:
        for pixel in range(4):
            lanes = 4 if pixel == 2 else 3
            f.store_lanes(constant("<4 x float>", 0), pointers[0], 16 * pixel, lanes=lanes)

    with pytest.raises(KernelError, match="wrote what it may not: 4 bytes between byte 44 and 47 of buffer 0"):
        run(store, Buffer.for_output(layout))


def test_a_store_into_an_input_is_found() -> None:
    def store(f: Function, pointers: list[Value]) -> None:
        f.store(constant("float", 3), pointers[0])

    with pytest.raises(KernelError, match="wrote what it may not"):
        run(store, np.zeros(10, np.float32))


def test_an_output_that_is_not_written_is_found() -> None:
    def store(f: Function, pointers: list[Value]) -> None:
        f.store(constant("float", 3), pointers[0])

    with pytest.raises(KernelError, match="gave two results: byte 4"):
        run(store, Buffer.for_output(dense((2,))))


def test_scratch_memory_that_is_used_unwritten_is_found() -> None:
    def store(f: Function, pointers: list[Value]) -> None:
        f.store(f.load("float", pointers[0], 64), pointers[1])

    with pytest.raises(KernelError, match="gave two results: byte 0"):
        run(store, Buffer.workspace(128), Buffer.for_output(dense((1,))))


def test_a_residual_in_place_may_be_read() -> None:
    def add(f: Function, pointers: list[Value]) -> None:
        f.store(f.fadd(f.load("float", pointers[0]), constant("float", 1)), pointers[0])

    (result,) = run(add, Buffer.for_output(dense((1,)), before=np.float32([41])))
    assert result.view(np.float32).tolist() == [42]


def test_a_changed_control_word_is_found() -> None:
    def change(f: Function, pointers: list[Value]) -> None:
        f.store(constant("i32", 0x1F80), pointers[0])
        f.call("void", "llvm.x86.sse.ldmxcsr", pointers[0])

    with pytest.raises(KernelError, match="changed MXCSR from 0x9fc0 to 0x1f80"):
        run(change, Buffer.workspace(4))


@pytest.mark.parametrize(
    ("assembly", "what"),
    [
        ("mov $$7, %r12", "did not restore r12"),
        ("std", "left the direction flag set"),
        ("ud2", "crashed: SIGILL in kernel_under_test"),
        ("int3", "crashed: SIGTRAP"),
        ("mov $$231, %eax; mov $$3, %edi; syscall", "ended its process: exit code 3"),
        ("movq (0), %rax", "crashed: SIGSEGV .* near no buffer"),
    ],
)
def test_other_bad_ends_are_found(assembly: str, what: str) -> None:
    def build(f: Function, pointers: list[Value]) -> None:
        f.line(f'call void asm sideeffect "{assembly}", ""()')

    with pytest.raises(KernelError, match=what):
        run(build)


def test_after_a_crash_the_next_kernel_runs() -> None:
    test_a_store_outside_is_found(40, "crashed")
    test_a_residual_in_place_may_be_read()
