"""What this machine attains on one thread, by small emitted kernels: FLOP/s, int8 operations/s, bytes/s by cache level.

The arithmetic probes do nothing but the multiply-adds of a register tile, all operands in registers, enough of them at
once to hide their latency. The bandwidth probes load every byte of a buffer that fits a cache level; for memory, the
buffer is flushed from all caches before each pass. A figure is the best of several short rounds: what the machine can
do when nobody disturbs it, which is what a share of it should be a share of. `rate_now` is what it does at this moment.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from strop.compiler.emit import Function, Module, Number, Value
from strop.compiler.isa.table import ISAS, Isa, get_isa
from strop.compiler.kernels.dot_product import DotProduct, FloatProduct, IntegerProduct
from strop.compiler.link import Blob, link
from strop.compiler.machine_code import compile_objects
from strop.compiler.object_cache import ObjectCache
from strop.loader.code import MappedCode, map_code
from strop.loader.cpu import isa_levels
from strop.machine import machine
from strop.measure.clock import now

_UNROLLED: Final = 8  # multiply-adds of each accumulator in one turn of the loop
_LINE: Final = 64
_ROUNDS: Final = 9
_SECONDS: Final = 4e-4  # a round: long enough for the clock, short enough to fall between two disturbances
_MEMORY_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Attainable:
    """What one thread attains here.

    flops: float32 operations a second by ISA level, a multiply-add being two; int8: the same for u8 x s8 products
    into int32; bandwidth: bytes read a second by cache level ("L1", "L2", "L3", "memory").
    """

    flops: dict[str, float] = field(default_factory=dict)
    int8: dict[str, float] = field(default_factory=dict)
    bandwidth: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a JSON object."""
        return asdict(self)


@functools.cache
def attainable() -> Attainable:
    """Returns what this machine attains, measured once a process, in a fraction of a second; nothing but on x86-64."""
    levels = [isa for isa in ISAS if isa.level in isa_levels() and isa.is_x86]
    if not levels or platform.machine().lower() not in ("x86_64", "amd64"):
        return Attainable()
    flops, int8 = ({isa.level: _best(_arithmetic(isa, kind)) for isa in levels} for kind in ("float32", "int8"))
    return Attainable(flops, int8, {name: _best(work) for name, work in _reads(levels[0]).items()})


def rate_now(level: str | None = None, *, rounds: int = 5) -> float:
    """Returns the float32 operations a second one thread does at this moment, in some milliseconds: the median round.

    level: the ISA level, by default the best of this CPU.
    """
    isa = get_isa(level or isa_levels()[0])
    return float(np.median([_timed(_arithmetic(isa, "float32")) for _ in range(rounds)]))


@dataclass(slots=True)
class _Work:
    """Something to time: `run(turns)` does `amount` a turn; prepare: done before each round, untimed."""

    run: Callable[[int], None]
    amount: float
    prepare: Callable[[], None] | None = None
    turns: int = 1


def _best(work: _Work) -> float:
    """Returns the highest rate of several rounds."""
    return max(_timed(work) for _ in range(_ROUNDS if work.prepare is None else _ROUNDS // 2))


def _timed(work: _Work) -> float:
    """Returns the rate of a round; the first one finds out how many turns a round should have."""
    while True:
        if work.prepare is not None:
            work.prepare()
        began = now()
        work.run(work.turns)
        seconds = now() - began
        if work.prepare is not None or seconds >= _SECONDS / 2:
            return work.amount * work.turns / seconds
        work.turns = max(2 * work.turns, int(work.turns * _SECONDS / max(seconds, 1e-9)))


@functools.cache
def _arithmetic(isa: Isa, kind: str) -> _Work:
    accumulators = isa.registers * 3 // 4 - 2
    code = _code(isa)
    numbers = np.zeros((2, isa.lanes), kind.replace("int8", "int32"))
    numbers[0] = 1
    operations = 2 * accumulators * _UNROLLED * isa.lanes * (1 if kind == "float32" else 4)
    return _Work(lambda turns: code.call(f"strop_probe_{kind}", numbers.ctypes.data, turns), operations)


def _reads(isa: Isa) -> dict[str, _Work]:
    caches = machine().caches
    l1, l2 = caches.get("L1d", 32 << 10), caches.get("L2", 256 << 10)
    l3 = caches.get("L3", 0)
    sizes = {"L1": l1 // 2, "L2": max(l2 // 2, 2 * l1), "L3": min(4 * l2, l3 // 2), "memory": _MEMORY_BYTES}
    return {
        name: _read(isa, size, flush=name == "memory") for name, size in sizes.items() if name != "L3" or l3 > 2 * l2
    }


def _read(isa: Isa, size: int, *, flush: bool) -> _Work:
    code = _code(isa)
    lines = size // _LINE // 8 * 8
    whole = np.ones(lines * _LINE + _LINE, np.uint8)
    begin = whole[-whole.ctypes.data % _LINE :].ctypes.data

    def run(turns: int) -> None:
        code.call("strop_probe_read", begin, lines * _LINE // (8 * isa.vector_bytes), turns)
        whole[0] = 1  # the array must live as long as its reader

    return _Work(run, lines * _LINE, (lambda: code.call("strop_probe_flush", begin, lines)) if flush else None)


class _Code:
    """The probes of one ISA level, ready to be called."""

    def __init__(self, blob: Blob) -> None:
        self._mapped: MappedCode = map_code(blob.data)
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._functions = {name: signature(self._mapped.address_of(at)) for name, at in blob.symbols.items()}

    def call(self, name: str, *words: int) -> None:
        """Calls a probe with a record of these words."""
        record = (ctypes.c_int64 * len(words))(*words)
        self._functions[name](record)


@functools.cache
def _code(isa: Isa) -> _Code:
    return _Code(link(list(compile_objects(emit_probes(isa), isa, ObjectCache()).values()), isa))


def emit_probes(isa: Isa) -> dict[str, str]:
    """Returns the probes of an ISA level: LLVM IR by symbol."""
    modules = {
        "strop_probe_float32": lambda f: _emit_arithmetic(f, FloatProduct(), isa.vector),
        "strop_probe_int8": lambda f: _emit_arithmetic(f, IntegerProduct(isa), isa.integers),
        "strop_probe_read": _emit_read,
    }
    if isa.is_x86:
        modules["strop_probe_flush"] = _emit_flush
    result = {}
    for symbol, build in modules.items():
        module = Module(isa)
        f = module.function(symbol, ["ptr"])
        build(f)
        f.ret()
        result[symbol] = module.text()
    return result


def _emit_arithmetic(f: Function, product: DotProduct, kind: str) -> None:
    """(numbers, turns): multiply-adds into many accumulators; each is its own factor, so that none can be left out."""
    numbers, turns = f.load("ptr", f.arguments[0]), f.load("i64", f.arguments[0], 8)
    first = f.load(kind, numbers)
    weights = product.weights(f, f.load(kind, numbers, f.isa.vector_bytes))  # zeros, which LLVM cannot know

    def turn(_: Number, totals: list[Value]) -> Sequence[Value]:
        for _ in range(_UNROLLED):
            totals = [
                product.accumulate(f, total, [_as(f, total, w.type) for w in weights], weights) for total in totals
            ]
        return totals

    totals = f.loop(turns, turn, [first] * (f.isa.registers * 3 // 4 - 2))
    f.store(functools.reduce(lambda a, b: product.add(f, a, b), totals), numbers)


def _as(f: Function, value: Value, kind: str) -> Value:
    return value if value.type == kind else f.convert("bitcast", value, kind)


def _emit_read(f: Function) -> None:
    """(buffer, blocks, turns): loads blocks of 8 vectors, `turns` times, and stores what they come to in the first."""
    buffer, blocks, turns = (f.load(kind, f.arguments[0], 8 * i) for i, kind in enumerate(("ptr", "i64", "i64")))
    kind, size = f.isa.integers, f.isa.vector_bytes

    def turn(_: Number, sums: list[Value]) -> Sequence[Value]:
        def block(index: Number, sums: list[Value]) -> Sequence[Value]:
            place = f.offset(buffer, f.mul(index, 8 * size))
            return [f.binary("xor", old, f.load(kind, place, size * i)) for i, old in enumerate(sums)]

        return f.loop(blocks, block, sums)

    sums = f.loop(turns, turn, [f.zero(kind)] * 8)
    f.store(functools.reduce(lambda a, b: f.binary("xor", a, b), sums), buffer)


def _emit_flush(f: Function) -> None:
    """(buffer, lines): writes every cache line back and drops it from all caches."""
    buffer, lines = f.load("ptr", f.arguments[0]), f.load("i64", f.arguments[0], 8)

    def line(index: Number, _: list[Value]) -> None:
        f.call("void", "llvm.x86.sse2.clflush", f.offset(buffer, f.mul(index, _LINE)))

    f.loop(lines, line)
    f.call("void", "llvm.x86.sse2.mfence")
