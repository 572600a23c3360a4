"""Runs images: maps their code, gives every stream its memory and tables, and takes calls.

A call from Python is a builtin whose code lies in the image (`strop_call`): it checks the arrays, makes the outputs,
takes a free stream, runs the plan and gives the stream back, in about a microsecond beside the plan itself. What does
not fit exactly goes the slow way below, which converts it or raises.
"""

from __future__ import annotations

import platform
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from strop.errors import NotSupportedError, UsageError
from strop.loader import cpu
from strop.loader.checks import Inputs, input_arrays, output_buffers
from strop.loader.functions import Functions, api_addresses, has_builtin
from strop.loader.image import Image
from strop.loader.memory import Words, allocate
from strop.loader.plan import SLACK, Plan, Tensor
from strop.loader.structs import CLOSED, NOT_STARTED, PROGRAM_SIZE, Form, Program, Stream, Walker
from strop.loader.tables import Addresses, Table, build_table, fill_walker, is_divisible
from strop.loader.team import STREAMS_LIMIT, Pool, get_pool, has_teams

_SHORT_SECONDS: Final = 50e-6  # a plan quicker than this keeps Python's lock
_TINY_SECONDS: Final = 30e-6  # and one quicker than this would wait longer for a sleeping thread than it saves
_EVERY_STREAM: Final = (1 << 64) - 1
_BUILTIN_TENSORS: Final = 256  # their views lie on the stack
_FLUSH: Final = {"x86_64": 0x9FC0, "aarch64": 1 << 24}
_KEEP: Final = {"x86_64": 0x1F80, "aarch64": 0}
_CALIBRATION_SECONDS: Final = 2e-3
_CALIBRATION_RUNS: Final = 1000
_FRESH: Final[Mapping[str, np.ndarray]] = {}  # stands for no outputs given: None is a caller's mistake


class NativeProgram:
    """An image ready to be called; safe to call from several threads. Close it, or let go of it, to end its threads.

    Args:
        image: what to run.
        threads: of each stream. More than one only where the plan has something to divide and takes longer than
            waking them, and on Linux on x86-64; the results are the same bits for any number.
        streams: how many requests run at once, each with its own memory; further ones wait their turn. At most 64.
        cores: how many this process may use, where the caller knows better than the affinity mask: with more threads
            than that, none waits by looking.
        flush_denormals: whether floats too small for full precision count as zero, which is far quicker.
        poison: fill the memory between tasks with NaN first, to find kernels that read what nobody wrote.

    Raises NotSupportedError `bundle.needs` where this CPU lacks what the code needs.
    """

    def __init__(
        self,
        image: Image,
        *,
        threads: int = 1,
        streams: int = 1,
        cores: int | None = None,
        flush_denormals: bool = True,
        poison: bool = False,
    ) -> None:
        _check_counts(threads, streams)
        self.plan = image.plan
        self._core = _Core(image, threads, streams, cores, flush_denormals, poison)
        self._options = (threads, cores, flush_denormals)
        self.call: Callable[..., Any] = self._core.slow
        """call(inputs) -> dict of fresh arrays by name; call(inputs, outputs) writes into the caller's arrays."""
        if self._core.suits_builtin():
            self.call = self._core.functions.builtin(self._core.program.address, self._core)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What a call must give, in order."""
        return self.plan.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What it gives, in order."""
        return self.plan.outputs

    @property
    def threads(self) -> int:
        """Threads of each stream, as they are."""
        return self._core.pool.threads

    @property
    def streams(self) -> int:
        """How many requests run at once."""
        return self._core.pool.streams

    def __call__(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Runs one request; the outputs are fresh arrays that the caller owns. Raises InputError, UsageError."""
        result: dict[str, np.ndarray] = self.call(inputs)
        return result

    def run_into(self, inputs: Inputs, outputs: Mapping[str, np.ndarray]) -> None:
        """Runs one request and writes the results into the caller's arrays (C order, exact dtype and shape)."""
        self.call(inputs, outputs)

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Runs one request; both in the model's order."""
        names = [tensor.name for tensor in self.plan.outputs]
        self.call(list(inputs), dict(zip(names, outputs, strict=True)))

    def running(self) -> list[tuple[int, int, str]]:
        """Returns stream, thread and task of every thread that runs one now; a look without a lock."""
        return self._core.running()

    def profile(self, inputs: Inputs, repeats: int, now: Callable[[], float]) -> np.ndarray:
        """Returns the seconds of every task: a row a repeat, a column a task; on a copy of the program made for this.

        A task's time is what thread 0 needs for its part and until the others are done with theirs. `now` is a clock
        in seconds, by which the processor's ticks are counted.
        """
        self._core.check_open()
        threads, cores, flush = self._options
        core = _Core(self._core.image, threads, 1, cores, flush, poison=False)
        try:
            return core.profile(input_arrays(self.plan.inputs, inputs), repeats, now)
        finally:
            core.close()

    def close(self) -> None:
        """Waits for the requests that run, then gives memory and threads back; later calls raise UsageError."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Core:
    """The memory of a program, and its slow way. The builtin keeps it alive; it knows neither builtin nor program."""

    def __init__(
        self, image: Image, threads: int, streams: int, cores: int | None, flush_denormals: bool, poison: bool
    ) -> None:
        plan = image.plan
        _check_level(plan)
        self.image, self.plan = image, plan
        self.functions = Functions(image.map_code(), plan.runtime)
        many = threads > 1 and has_teams() and is_divisible(plan) and not 0 < plan.seconds <= _TINY_SECONDS
        self.pool: Pool = get_pool(threads if many else 1, streams, cores)
        self._weights = _aligned_weights(image)
        self._arenas: list[np.ndarray | None] = []
        self.streams: list[Words] = []
        self.walkers: list[Words] = []
        self.tables: list[list[Table]] = []
        control = (_FLUSH if flush_denormals else _KEEP)[_architecture()]
        for number in range(streams):
            self._add_stream(number, control, poison)
        self._slow = _Slow(weakref.ref(self))  # not a bound method: that would keep the core alive for ever
        self.program = self._make_program()
        self._finish = weakref.finalize(self, self.pool.take())
        self._finish.atexit = False  # team.py ends all workers then

    @property
    def slow(self) -> _Slow:
        """The slow way to call."""
        return self._slow

    def suits_builtin(self) -> bool:
        """Whether a builtin can take the calls."""
        tensors = (*self.plan.inputs, *self.plan.outputs)
        return has_builtin() and len(tensors) <= _BUILTIN_TENSORS and all(_letter(t) for t in tensors)

    def serve(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> None:
        """Runs one request on arrays that were checked."""
        pointers = Words(8 * (len(arrays) + len(buffers)))
        pointers.put_all(0, [array.ctypes.data for array in (*arrays, *buffers)])
        while True:
            status = self.functions.run(self.program.address, pointers.address, _EVERY_STREAM)
            if status == CLOSED:
                raise _closed_error()
            if status != NOT_STARTED:
                return
            self.pool.start(self.functions)

    def check_open(self) -> None:
        """Raises UsageError where the program was closed."""
        if not self.program.get(Program.OPEN):
            raise _closed_error()

    def close(self) -> None:
        """Lets nobody in any more and waits for those inside; a second call does nothing."""
        if not self._finish.alive:
            return
        self.program.put(Program.OPEN, 0)
        for number in range(self.pool.streams):
            # Whoever has this stream came before, or sees that the program is closed and leaves the memory alone.
            self.functions.acquire(self.pool.words.address, 1 << number, 1)
            self._arenas[number] = None
            self.functions.release(self.pool.words.address, number)
        self._finish()

    def running(self) -> list[tuple[int, int, str]]:
        """Returns stream, thread and task of every thread that runs one."""
        found = []
        for stream, walkers in enumerate(self.walkers):
            for thread in range(self.pool.threads):
                task = walkers.get(thread * Walker.SIZE + Walker.CURRENT)
                if task:
                    found.append((stream, thread, self.plan.tasks[task - 1].name))
        return found

    def profile(self, arrays: list[np.ndarray], repeats: int, now: Callable[[], float]) -> np.ndarray:
        """As NativeProgram.profile; nobody else uses this core."""
        buffers = [np.empty(tensor.shape, tensor.dtype) for tensor in self.plan.outputs]
        self.serve(arrays, buffers)
        entries = self.tables[0][0].entries
        ticks = Words(8 * (len(entries) + 1))
        self.walkers[0].put(Walker.TIMES, ticks.address)
        rows, starts, moments = [], [], []
        while True:
            moments.append(now())
            self.serve(arrays, buffers)
            row = ticks.slice(0, len(entries) + 1).copy()
            row[-1] = max(row[-1], self.walkers[0].get(Walker.ENDED))  # with several threads, and not 0
            starts.append(int(row[0]))
            rows.append(np.diff(row))
            enough = moments[-1] - moments[0] >= _CALIBRATION_SECONDS or len(rows) > repeats + _CALIBRATION_RUNS
            if len(rows) > max(repeats, 1) and enough:
                break
        tick = (moments[-1] - moments[0]) / max(starts[-1] - starts[0], 1)
        seconds = np.zeros((max(repeats, 1), len(self.plan.tasks)))
        task = 0
        for column, entry in enumerate(entries):
            task = entry.task - 1 if entry.task else task  # waiting counts to what was run before
            if seconds.shape[1]:
                seconds[:, task] += [row[column] * tick for row in rows[: len(seconds)]]
        return seconds

    def _add_stream(self, number: int, control: int, poison: bool) -> None:
        plan, threads, team = self.plan, self.pool.threads, self.pool.teams[number]
        arena_bytes, workspace_bytes = _padded(plan.arena), _padded(plan.workspace)
        memory = allocate(arena_bytes + threads * workspace_bytes)
        if poison:
            memory[:] = 0xFF
            for start, length in plan.zeroed:
                memory[start : start + length] = 0
        stream, walkers = Words(Stream.SIZE), Words(threads * Walker.SIZE)
        start = int(memory.ctypes.data)
        tables = []
        for thread in range(threads):
            addresses = Addresses(
                code=self.functions.code.address,
                arena=start,
                weights=0 if self._weights is None else int(self._weights.ctypes.data),
                workspace=start + arena_bytes + thread * workspace_bytes,
                barrier=self.functions.barrier,
                team=team.address,
            )
            table = build_table(plan, addresses, thread, threads)
            fill_walker(walkers, thread, stream.address, table)
            tables.append(table)
        stream.put(Stream.CONTROL, control)
        stream.put(Stream.TEAM, team.address)
        stream.put(Stream.WALKERS, walkers.address)
        self._arenas.append(memory)
        self.streams.append(stream)
        self.walkers.append(walkers)
        self.tables.append(tables)

    def _make_program(self) -> Words:
        plan = self.plan
        tensors = (*plan.inputs, *plan.outputs)
        self._stream_pointers = Words(8 * len(self.streams))
        self._stream_pointers.put_all(0, [stream.address for stream in self.streams])
        self._forms = Words(Form.SIZE * len(tensors) + 8)
        self._kept: list[object] = []  # what the forms point to
        program = Words(PROGRAM_SIZE)
        program.put(Program.POOL, self.pool.words.address)
        program.put(Program.STREAMS, self._stream_pointers.address)
        program.put(Program.OPEN, 1)
        program.put(Program.RELEASES, int(not 0 < plan.seconds <= _SHORT_SECONDS))
        program.put(Program.INPUTS, len(plan.inputs))
        program.put(Program.OUTPUTS, len(plan.outputs))
        program.put(Program.FORMS, self._forms.address)
        if self.suits_builtin():
            for number, tensor in enumerate(tensors):
                self._put_form(number * Form.SIZE, tensor)
            for offset, thing in (
                (Program.DICT_TYPE, dict),
                (Program.NONE, None),
                (Program.EMPTY, np.empty),
                (Program.SLOW, self._slow),
            ):
                program.put(offset, id(thing))
            program.put_all(Program.API, api_addresses())
        return program

    def _put_form(self, at: int, tensor: Tensor) -> None:
        sizes = Words(8 * len(tensor.shape) + 8)
        sizes.put_all(0, list(tensor.shape))
        arguments = (tensor.shape, np.dtype(tensor.dtype))
        self._kept += [tensor.name, sizes, arguments]
        self._forms.put(at + Form.NAME, id(tensor.name))
        self._forms.put(at + Form.FORMAT, ord(_letter(tensor)))
        self._forms.put(at + Form.AXES, len(tensor.shape))
        self._forms.put(at + Form.BYTES, tensor.bytes)
        self._forms.put(at + Form.SIZES, sizes.address)
        self._forms.put(at + Form.ARGUMENTS, id(arguments))


class _Slow:
    """Takes any call: converts what it can, says what is wrong, starts threads where there are none."""

    def __init__(self, core: weakref.ref[_Core]) -> None:
        self._core = core

    def __call__(self, inputs: Inputs, outputs: Mapping[str, np.ndarray] = _FRESH) -> dict[str, np.ndarray] | None:
        core = self._core()
        if core is None:
            raise _closed_error()
        core.check_open()
        plan = core.plan
        arrays = input_arrays(plan.inputs, inputs)
        if outputs is _FRESH:
            buffers = [np.empty(tensor.shape, tensor.dtype) for tensor in plan.outputs]
            core.serve(arrays, buffers)
            return {tensor.name: buffer for tensor, buffer in zip(plan.outputs, buffers, strict=True)}
        buffers = output_buffers(plan.outputs, outputs)
        for buffer in buffers:  # tasks write outputs while others still read inputs
            arrays = [array.copy() if np.may_share_memory(array, buffer) else array for array in arrays]
        core.serve(arrays, buffers)
        return None


def _check_counts(threads: int, streams: int) -> None:
    for name, value, limit in (("threads", threads, 1024), ("streams", streams, STREAMS_LIMIT)):
        if not 1 <= value <= limit:
            raise UsageError(
                "usage.bad-option",
                f"{name} is out of range",
                got=value,
                expected=f"1 to {limit}",
                hint=f"leave {name} out for 1",
            )


def _check_level(plan: Plan) -> None:
    if plan.level not in cpu.isa_levels() or _architecture() not in _FLUSH:
        raise NotSupportedError(
            "bundle.needs",
            "the machine code is for another CPU",
            got=" or ".join(cpu.isa_levels()),
            expected=plan.level,
            hint="compile the model on this machine, or run it on engine onnxruntime",
        )


def _architecture() -> str:
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _aligned_weights(image: Image) -> np.ndarray | None:
    """Returns the weights where they lie, or a copy where that is not on a cache line."""
    if not len(image.weights):
        return None
    weights = np.frombuffer(image.weights, np.uint8)
    if weights.ctypes.data % image.plan.alignment == 0:
        return weights
    copy = allocate(len(weights))
    copy[:] = weights
    return copy


def _padded(size: int) -> int:
    """Returns `size` with the slack behind it, up to the next cache line."""
    return -(-(size + SLACK) // 64) * 64


def _letter(tensor: Tensor) -> str:
    """Returns the one letter that the buffer protocol has for its dtype, "" where it is not one letter."""
    letters = np.empty(0, tensor.dtype).data.format
    return letters if len(letters) == 1 else ""


def _closed_error() -> UsageError:
    return UsageError("usage.closed", "this model was closed", hint="load or compile it again")
