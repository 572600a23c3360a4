"""Small images with hand-made plans and kernels, each a few lines of emitted code."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from strop.compiler.emit import Function, Module, Value
from strop.compiler.image import make_image
from strop.compiler.isa import get_isa
from strop.compiler.link import Blob, link
from strop.compiler.machine_code import generate
from strop.compiler.runtime_code import emit_runtime
from strop.loader.cpu import isa_level
from strop.loader.image import Image
from strop.loader.plan import Argument, Plan, Task, Tensor

BEGIN, END = Argument("begin"), Argument("end")


def arena(offset: int) -> Argument:
    return Argument("arena", offset)


def weights(offset: int) -> Argument:
    return Argument("weights", offset)


def workspace(offset: int) -> Argument:
    return Argument("workspace", offset)


def number(value: int) -> Argument:
    return Argument("number", value)


def given(index: int = 0, offset: int = 0) -> Argument:
    return Argument("input", offset, index)


def result(index: int = 0, offset: int = 0) -> Argument:
    return Argument("output", offset, index)


def _over_units(f: Function, begin: int, body: Callable[[Value], None]) -> None:
    """Runs body(index) for the units between the record's words `begin` and `begin + 1`."""
    record = f.arguments[0]
    first, last = (f.load("i64", record, 8 * word) for word in (begin, begin + 1))

    def step(index: int | Value, _: list[Value]) -> None:
        place = f.add(first, index)
        assert isinstance(place, Value)
        body(place)

    f.loop(f.sub(last, first), step, may_be_empty=True)
    f.ret()


def _add_one(f: Function) -> None:
    """(input, output, begin, end): output[i] = input[i] + 1 for floats i."""
    source, target = (f.load("ptr", f.arguments[0], 8 * word) for word in (0, 1))

    def body(index: Value) -> None:
        one = Value("1.0", "float")
        f.store(f.fadd(f.load("float", f.offset(source, f.mul(index, 4))), one), f.offset(target, f.mul(index, 4)))

    _over_units(f, 2, body)


def _add_weights(f: Function) -> None:
    """(input, weights, output, begin, end): output[i] = input[i] + weights[i]."""
    source, addend, target = (f.load("ptr", f.arguments[0], 8 * word) for word in (0, 1, 2))

    def body(index: Value) -> None:
        at = f.mul(index, 4)
        total = f.fadd(f.load("float", f.offset(source, at)), f.load("float", f.offset(addend, at)))
        f.store(total, f.offset(target, at))

    _over_units(f, 3, body)


def _sum_all(f: Function) -> None:
    """(input, output, count): output[0] = sum of input[0 .. count), one after the other."""
    source, target = (f.load("ptr", f.arguments[0], 8 * word) for word in (0, 1))

    def body(index: int | Value, carried: list[Value]) -> list[Value]:
        return [f.fadd(carried[0], f.load("float", f.offset(source, f.mul(index, 4))))]

    (total,) = f.loop(f.load("i64", f.arguments[0], 16), body, [Value("0.0", "float")])
    f.store(total, target)
    f.ret()


def _mirror(f: Function) -> None:
    """(input, output, count, begin, end): output[i] = input[count - 1 - i]: every thread reads what others wrote."""
    source, target = (f.load("ptr", f.arguments[0], 8 * word) for word in (0, 1))
    count = f.load("i64", f.arguments[0], 16)

    def body(index: Value) -> None:
        other = f.mul(f.sub(f.sub(count, 1), index), 4)
        f.store(f.load("float", f.offset(source, other)), f.offset(target, f.mul(index, 4)))

    _over_units(f, 3, body)


def _multiply(f: Function) -> None:
    """(input, output, begin, end): output[i] = input[i] * 0.5: denormal for the smallest numbers."""
    source, target = (f.load("ptr", f.arguments[0], 8 * word) for word in (0, 1))

    def body(index: Value) -> None:
        at = f.mul(index, 4)
        f.store(f.fmul(f.load("float", f.offset(source, at)), Value("0.5", "float")), f.offset(target, at))

    _over_units(f, 2, body)


def _spin(f: Function) -> None:
    """(count, output): counts so often, so that it takes long, and writes 1.0."""
    count, target = f.load("i64", f.arguments[0]), f.load("ptr", f.arguments[0], 8)
    f.loop(count, lambda index, carried: f.line(f"store volatile i64 {f.number(index).text}, ptr %scratch"))
    f.store(Value("1.0", "float"), target)
    f.ret()


KERNELS: dict[str, Callable[[Function], None]] = {
    "add_one": _add_one,
    "add_weights": _add_weights,
    "sum_all": _sum_all,
    "mirror": _mirror,
    "multiply": _multiply,
    "spin": _spin,
}


@functools.cache
def blob(level: str = isa_level()) -> Blob:
    """All of the kernels above and the runtime, linked once."""
    isa = get_isa(level)
    module = Module(isa)
    for name, emit in KERNELS.items():
        f = module.function(name, ["ptr"])
        if name == "spin":
            f.line("%scratch = alloca i64")
        emit(f)
    return link([generate(module.text(), isa), *(generate(text, isa) for text in emit_runtime(isa).values())], isa)


def image(
    tasks: list[Task],
    inputs: list[Tensor],
    outputs: list[Tensor],
    *,
    arena_bytes: int = 0,
    workspace_bytes: int = 0,
    packed: np.ndarray | None = None,
    zeroed: tuple[tuple[int, int], ...] = (),
    level: str | None = None,
) -> Image:
    """The image of a hand-made plan."""
    data = b"" if packed is None else packed.tobytes()
    code = blob() if level is None else blob(level)
    plan = Plan(
        code.level,
        tuple(inputs),
        tuple(outputs),
        tuple(tasks),
        arena=arena_bytes,
        workspace=workspace_bytes,
        weights=len(data),
        zeroed=zeroed,
    )
    return make_image(plan, code, data)


def plus_one(count: int, *, grain: int = 1, flops: float = 1.0) -> Image:
    """The image of y = x + 1, for `count` floats."""
    task = Task("add", "add_one", (given(), result(), BEGIN, END), units=count, grain=grain, flops=flops)
    return image([task], [Tensor("x", "float32", (count,))], [Tensor("y", "float32", (count,))])


def chain(count: int, steps: int, *, grain: int = 4, level: str | None = None) -> Image:
    """Adds one and mirrors, `steps` times, between two buffers of the arena: a step needs what all threads wrote."""
    # The cost is long enough for a team and short enough to keep Python's lock.
    tasks = [Task("first", "add_one", (given(), arena(0), BEGIN, END), units=count, grain=grain, flops=2e6)]
    size = -(-4 * count // 64) * 64 + 64
    for step in range(steps):
        here, there = (0, size) if step % 2 == 0 else (size, 0)
        arguments = (arena(here), arena(there), number(count), BEGIN, END)
        tasks.append(Task(f"mirror{step}", "mirror", arguments, units=count, grain=grain))
        tasks.append(Task(f"add{step}", "add_one", (arena(there), arena(there), BEGIN, END), units=count, grain=grain))
    last = size if steps % 2 else 0
    tasks.append(Task("sum", "sum_all", (arena(last), result(1), number(count))))
    tasks.append(Task("last", "add_one", (arena(last), result(0), BEGIN, END), units=count, grain=grain, wait=False))
    return image(
        tasks,
        [Tensor("x", "float32", (count,))],
        [Tensor("y", "float32", (count,)), Tensor("total", "float32", ())],
        arena_bytes=2 * size,
        level=level,
    )


def chain_expected(x: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """What `chain` computes, by numpy."""
    one = np.float32(1)
    value = x + one
    for _ in range(steps):
        value = value[::-1] + one
    return {"y": value + one, "total": np.add.accumulate(np.append(np.float32(0), value))[-1]}


def waiting(turns: int) -> Image:
    """Takes long: about a nanosecond a turn; x is not looked at."""
    task = Task("wait", "spin", (number(turns), result()), flops=1e9)
    return image([task], [Tensor("x", "float32", (1,))], [Tensor("y", "float32", (1,))])
