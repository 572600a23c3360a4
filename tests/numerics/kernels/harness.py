"""Runs emitted kernels where a mistake cannot hide: in a child process, between guard pages.

    x, y = Buffer.holding(array), Buffer.for_output(layout)
    (result,) = run_kernel({"twice": ir}, isa, "twice", [x, y, 0, 10])      # the record's words, in its order

Every buffer lies between two pages that may not be touched, once flush with the one behind it (its slack apart), once
with the one before it. Whatever is not to be written must be the same afterwards; what is to be written, and scratch
memory, holds NaN the first time and random bytes the second, and both must give the same bits. Callee-saved registers,
the direction flag and the control words must be kept. A failure names the kernel, the place and, after a crash, the
address and the buffer next to it. `run_problem` does all of it for a kernel family and a problem.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import platform
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from strop.compiler.isa import ISAS, Isa
from strop.compiler.kernels.contract import Kernel, Problem
from strop.compiler.layouts import ALIGNMENT, SLACK, Layout, array_of
from strop.compiler.link import Blob, link
from strop.compiler.machine_code import generate
from strop.loader.cpu import isa_levels
from tests.numerics.kernels.checks import CHECKS

X86_ISAS = tuple(isa for isa in ISAS if isa.is_x86)
every_isa = pytest.mark.parametrize("isa", X86_ISAS, ids=lambda isa: isa.key)
"""Runs a test for each ISA table; `run_kernel` skips what this CPU cannot execute."""

_SECONDS = 60  # for a kernel that never ends; tests' problems take milliseconds
_CRASH = 0xFFFFFFFF


class KernelError(AssertionError):
    """A kernel crashed, touched what it may not, or left the machine in another state."""


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Memory a kernel gets a pointer to: that of `memory`, `offset` bytes behind its beginning.

    written: one bool a byte: where the kernel must write; None: nowhere. What lies elsewhere must not change.
    poison: whether what is to be written holds NaN or random bytes before (not so where the kernel also reads it).
    slack: how far it may read past the end; scratch: it may do there what it likes, and nobody looks.
    The same Buffer given twice is the same memory; `at` gives a pointer to another place in it.
    """

    memory: np.ndarray
    offset: int = 0
    written: np.ndarray | None = None
    poison: bool = True
    slack: int = 0
    alignment: int = 1
    scratch: bool = False

    @classmethod
    def holding(cls, array: np.ndarray, *, slack: int = 0, alignment: int = 1) -> Buffer:
        """Returns a buffer with exactly the array's elements in C order, to be read only."""
        return cls(np.ascontiguousarray(array).reshape(-1).view(np.uint8), slack=slack, alignment=alignment)

    @classmethod
    def laid_out(cls, array: np.ndarray, layout: Layout, *, slack: int = SLACK) -> Buffer:
        """Returns a buffer with `array` in this layout: zeros in its halo, NaN between its elements; read only."""
        memory = _blank(layout)
        if layout.halo:
            array_of(memory, _with_halo(layout))[...] = 0
        array_of(memory, layout, layout.before)[...] = array
        return cls(memory, layout.before, slack=slack)

    @classmethod
    def for_output(cls, layout: Layout, *, before: np.ndarray | None = None) -> Buffer:
        """Returns a buffer whose elements in this layout are to be written and nothing else, its halo included.

        before: what the elements hold when the kernel starts, where it reads them too (a residual in place).
        """
        memory = np.random.default_rng(5).integers(0, 256, layout.span, dtype=np.uint8)
        written = np.zeros(layout.span, np.uint8)
        item = Layout(layout.shape, layout.strides, f"V{layout.itemsize}")
        array_of(written, item, layout.before)[...] = np.void(b"\1" * layout.itemsize)
        if before is not None:
            array_of(memory, layout, layout.before)[...] = before
        return cls(memory, layout.before, written.astype(bool), poison=before is None)

    @classmethod
    def workspace(cls, length: int) -> Buffer:
        """Returns scratch memory, aligned as a thread's workspace is."""
        size = -(-max(length, 1) // ALIGNMENT) * ALIGNMENT
        return cls(np.zeros(size, np.uint8), slack=SLACK, alignment=ALIGNMENT, scratch=True)

    def at(self, offset: int) -> Pointer:
        """Returns a pointer to another place of this buffer."""
        return Pointer(self, offset)


@dataclass(frozen=True, slots=True, eq=False)
class Pointer:
    """A place in a buffer, in bytes from its beginning."""

    buffer: Buffer
    offset: int


Argument = int | np.ndarray | Buffer | Pointer
"""A word of a record: a number, a pointer to a buffer, or an array that is read only (`Buffer.holding`)."""


def run_kernel(
    objects: Mapping[str, str], isa: Isa, entry: str, arguments: Sequence[Argument], *more: Sequence[Argument]
) -> list[np.ndarray]:
    """Runs the function `entry` of these modules (LLVM IR by symbol) and returns the bytes of what was written.

    One array of bytes for each buffer with something to be written, in the order of their first use. `more`: further
    records, run after the first over the same buffers. Skips the test where this CPU lacks the ISA level.
    """
    skip_unless_runnable(isa)
    blob = _linked(tuple(sorted(objects.items())), isa)
    buffers: list[Buffer] = []
    records = [[_word(argument, buffers) for argument in record] for record in (arguments, *more)]
    header = {
        "entry": blob.symbols[entry],
        "check": blob.symbols["strop_check"],
        "handler": blob.symbols["strop_handler"],
        "records": records,
        "buffers": [
            {
                "size": buffer.memory.nbytes,
                "masked": buffer.written is not None,
                "poison": buffer.poison,
                "slack": buffer.slack,
                "alignment": buffer.alignment,
                "scratch": buffer.scratch,
            }
            for buffer in buffers
        ],
    }
    payload = [blob.data]
    for buffer in buffers:
        payload.append(buffer.memory.tobytes())
        if buffer.written is not None:
            payload.append(buffer.written.astype(np.uint8).tobytes())
    answer, outputs = _child().run(entry, blob, header, payload)
    if answer["failure"]:
        raise KernelError(f"{entry} {answer['failure']}")
    return outputs


def run_problem(
    kernel: Kernel,
    problem: Problem,
    isa: Isa,
    inputs: Sequence[np.ndarray],
    *,
    weights: np.ndarray | None = None,
    channels: Sequence[np.ndarray] = (),
    schedule: Any = None,
    parts: int = 1,
    in_place: int | None = None,
    slack: int | None = None,
) -> np.ndarray:
    """Returns the output, by its logical axes, that a kernel family computes of `inputs` for this problem.

    schedule: one of its candidates, by default the first; parts: how many ranges of its split it is run in, last range
    first; in_place: which input (1 or more) lies in the output's memory, its layout having the same strides.
    slack: how far inputs may be read past their end: not at all, as arrays of the caller have nothing there, but for
    integer convolutions, whose inputs are never the caller's where that matters.
    """
    skip_unless_runnable(isa)
    if slack is None:
        slack = SLACK if getattr(problem, "accumulator", "float32") == "int32" else 0
    if schedule is None:
        schedule = kernel.candidates(problem, isa)[0]
    code = kernel.emit(problem, schedule, isa)
    split = kernel.split(problem, schedule, isa)
    before = None if in_place is None else inputs[in_place]
    words: dict[str, Argument] = {"output": Buffer.for_output(problem.output, before=before), **code.numbers}
    words["workspace"] = Buffer.workspace(kernel.workspace(problem, schedule, isa))
    for index, (array, layout) in enumerate(zip(inputs, problem.inputs, strict=True)):
        shared = index == in_place
        words[f"input{index}"] = words["output"] if shared else Buffer.laid_out(array, layout, slack=slack)
    if weights is not None or channels:
        given = np.empty(0, np.float32) if weights is None else weights
        for index, packed in enumerate(kernel.pack(problem, schedule, isa, given, channels)):
            words[f"weights{index}"] = Buffer.holding(packed, slack=SLACK, alignment=ALIGNMENT)
    records = [
        [words.get(name, {"begin": begin, "end": end}.get(name, 0)) for name in code.arguments]
        for begin, end in reversed(ranges(split.units, split.grain, parts))
    ]
    unknown = set(code.arguments) - {*words, "begin", "end"}
    assert not unknown, f"{code.symbol} asks for arguments nobody gives: {unknown}"
    (written,) = run_kernel(code.objects, isa, code.symbol, *records)
    return array_of(written, problem.output, problem.output.before).copy()


def ranges(units: int, grain: int, parts: int) -> list[tuple[int, int]]:
    """Returns at most `parts` ranges that cover `units`, each but the last a multiple of `grain`."""
    steps = -(-units // grain)
    cuts = sorted({min(units, steps * part // parts * grain) for part in range(parts + 1)})
    return list(itertools.pairwise(cuts))


def skip_unless_runnable(isa: Isa) -> None:
    """Skips the test where this machine cannot execute code of this level, or has no guard pages for it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the harness runs x86-64 code on Linux")
    if isa.level not in isa_levels():
        pytest.skip(f"this CPU has no {isa.level}")


@functools.lru_cache(maxsize=256)
def _linked(objects: tuple[tuple[str, str], ...], isa: Isa) -> Blob:
    return link([*(_object(ir, isa) for _, ir in objects), _object(CHECKS, isa)], isa)


@functools.lru_cache(maxsize=1024)
def _object(ir: str, isa: Isa) -> bytes:
    return generate(ir, isa)


def _word(argument: Argument, buffers: list[Buffer]) -> list[int | str]:
    if isinstance(argument, (int, np.integer)):
        return ["number", int(argument)]
    if isinstance(argument, np.ndarray):
        argument = Buffer.holding(argument)
    pointer = argument if isinstance(argument, Pointer) else Pointer(argument, argument.offset)
    if not any(pointer.buffer is buffer for buffer in buffers):
        buffers.append(pointer.buffer)
    index = next(i for i, buffer in enumerate(buffers) if buffer is pointer.buffer)
    return ["buffer", index, pointer.offset]


def _blank(layout: Layout) -> np.ndarray:
    return np.full(layout.span, 0xFF, np.uint8)  # NaN, or -1


def _with_halo(layout: Layout) -> Layout:
    """Returns the layout whose elements are also those of the halo; it begins where the buffer does."""
    halo = layout.halo
    images, channels, height, width = layout.shape
    shape = (images, channels, height + halo.top + halo.bottom, width + halo.left + halo.right)
    return Layout(shape, layout.strides, layout.dtype)


# -- the child process


class _Child:
    """The process that runs kernels; a crash ends it, and the next kernel gets a new one."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("child.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        atexit.register(self.end)

    def run(
        self, name: str, blob: Blob, header: dict[str, Any], payload: list[bytes]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        text = json.dumps(header | {"payload": [len(piece) for piece in payload]}).encode()
        placed: dict[str, Any] = {"buffers": [], "code": 0, "placement": "never started"}
        try:
            self._write(struct.pack("<I", len(text)) + text + b"".join(payload))
            while True:
                (length,) = struct.unpack("<I", self._read(4))
                if length == _CRASH:
                    what = struct.unpack("<4Q", self._read(32))
                    self.end()
                    _crashed(name, blob, placed, what)
                message = json.loads(self._read(length))
                if "buffers" not in message:
                    return message, [np.frombuffer(self._read(n), np.uint8).copy() for n in message["outputs"]]
                placed = message
        except (EOFError, BrokenPipeError):
            code = self.process.wait()
            self.end()
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise KernelError(f"{name} ended its process: {cause} ({placed['placement']})") from None
        except TimeoutError:
            self.end()
            raise KernelError(f"{name} did not end within {_SECONDS} s ({placed['placement']})") from None

    def end(self) -> None:
        _child.cache_clear()
        atexit.unregister(self.end)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]

    def _read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        pieces = []
        while count:
            ready, _, _ = select.select([self.process.stdout], [], [], _SECONDS)
            if not ready:
                raise TimeoutError
            piece = os.read(self.process.stdout.fileno(), count)
            if not piece:
                raise EOFError
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)


@functools.cache
def _child() -> _Child:
    return _Child()


def _crashed(name: str, blob: Blob, placed: dict[str, Any], what: tuple[int, int, int, int]) -> NoReturn:
    """Raises what became of the kernel: the signal, the address and the buffer next to it, and the function."""
    number, address, instruction, error = what
    offset = instruction - placed["code"]
    inside = [(place, symbol) for symbol, place in blob.symbols.items() if place <= offset < len(blob.data)]
    where = f"in {max(inside)[1]}+{offset - max(inside)[0]:#x}" if inside else f"at {instruction:#x}"
    words = [f"{name} crashed: {signal.Signals(number).name} {where}, buffers flush with the {placed['placement']}"]
    if number in (signal.SIGSEGV, signal.SIGBUS):
        near = [(max(start - address, address - start - size + 1), index, address - start, size)
                for index, (start, size) in enumerate(placed["buffers"])]  # fmt: skip
        distance, index, at, size = min(near, default=(1 << 62, 0, 0, 0))
        does = "store" if error & 2 else "load"
        if distance < 1 << 20:
            words.append(f"a {does} at byte {at} of buffer {index}, which has {size} bytes")
        else:
            words.append(f"a {does} at {address:#x}, near no buffer")
    raise KernelError("; ".join(words))
