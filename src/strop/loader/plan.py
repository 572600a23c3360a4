"""The plan of a program: its inputs and outputs, the memory it needs, and its tasks in order. JSON in an image.

    version     of the form of plans and of what emitted code shares with the loader (`structs.VERSION`)
    level       the ISA level of its code
    inputs      [{"name", "dtype", "shape"}], all of them numbers; outputs: the same
    arena       bytes that a stream needs for what passes between tasks; workspace: bytes of scratch for each thread
    weights     bytes of packed weights; behind them and behind the arena lie SLACK bytes that may be read
    zeroed      [[offset, bytes]]: of the arena, zero when it is made and never written
    alignment   of arena, weights and workspace
    runtime     {symbol: offset in the code} of what every image carries (`compiler.runtime_code`)
    tasks       [{"name", "symbol", "offset", "arguments", "units", "grain", "wait", "thread",
                "origin", "kernel", "tile", "flops", "bytes"}]

A task calls the function at `offset` with a record of words, one an argument: ["arena", offset], ["weights", offset],
["input", i, offset], ["output", i, offset], ["workspace", offset], ["begin"], ["end"], ["number", value]. A team
divides its `units` into contiguous ranges from begin to end, in multiples of `grain`; one unit is run by one thread.
`thread`: which one runs what cannot be divided, modulo the size of the team (0 where it is left out).
`wait`: it needs what others wrote since the last task that waited, so every thread must have come this far.

A plan read from a file is data that nobody vouches for: `parse_plan` takes every offset only within its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import numpy as np

from strop.loader.json_reader import read_json
from strop.loader.record import Record
from strop.loader.structs import DATA_BYTES, RUNTIME, VERSION

SLACK: Final = 64
"""Bytes behind a buffer of the arena, and behind the weights, that kernels may read (a vector), never write."""

ALIGNMENT: Final = 64
SIZE_LIMIT: Final = 64 << 20
MEMORY_LIMIT: Final = 1 << 40

Kind = Literal["arena", "weights", "input", "output", "workspace", "begin", "end", "number"]
_KINDS: Final = get_args(Kind)
_NUMBERS: Final = dict(zip(_KINDS, (1, 1, 2, 2, 1, 0, 0, 1), strict=True))  # of each kind of argument

_DTYPES: Final = (
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64 complex128".split()
)


class Argument(Record):
    """One word of a task's record: `value` is an offset in bytes or the number, `tensor` says which input or output."""

    kind: Kind
    value: int = 0
    tensor: int = 0

    def to_json(self) -> list[str | int]:
        """Returns it as plans hold it."""
        if self.kind in ("begin", "end"):
            return [self.kind]
        return [self.kind, self.tensor, self.value] if self.kind in ("input", "output") else [self.kind, self.value]


class Tensor(Record):
    """One input or output; every dimension is a number."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How many bytes an array of it has."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Task(Record):
    """One call of a kernel, or several by a team; the module's text describes the fields.

    origin: names of the ONNX nodes it computes; kernel, tile: how; flops, bytes: what it costs (0: not known).
    """

    name: str
    symbol: str
    arguments: tuple[Argument, ...]
    offset: int = 0
    units: int = 1
    grain: int = 1
    wait: bool = True
    thread: int = 0
    origin: tuple[str, ...] = ()
    kernel: str = ""
    tile: str = ""
    flops: float = 0.0
    bytes: float = 0.0


class Plan(Record):
    """What a program does; the module's text describes the fields."""

    level: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tasks: tuple[Task, ...]
    arena: int = 0
    workspace: int = 0
    weights: int = 0
    zeroed: tuple[tuple[int, int], ...] = ()
    alignment: int = ALIGNMENT
    runtime: Mapping[str, int] = MappingProxyType({})
    version: int = VERSION

    @property
    def seconds(self) -> float:
        """A guess at what one run takes on one thread, from the tasks' costs."""
        return sum(max(task.flops / 50e9, task.bytes / 20e9) for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as a JSON document."""
        tasks = [
            {**task.to_dict(), "arguments": [argument.to_json() for argument in task.arguments]} for task in self.tasks
        ]
        tensors = {kind: [t.to_dict() for t in getattr(self, kind)] for kind in ("inputs", "outputs")}
        return {**self.to_dict(), **tensors, "tasks": tasks, "runtime": dict(self.runtime)}

    def to_bytes(self) -> bytes:
        """Returns the plan as bytes, the same for the same plan."""
        import json  # reading does without

        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse_plan(data: bytes | memoryview, *, code_bytes: int, weights_bytes: int) -> Plan:
    """Returns the plan in `data`, for that much code and weights; raises ValueError where anything is off."""
    if len(data) > SIZE_LIMIT:
        raise ValueError(f"the plan has {len(data)} bytes, more than {SIZE_LIMIT}")
    try:
        document = read_json(data)
    except RecursionError as error:
        raise ValueError("the plan is nested too deeply") from error
    return plan_from_json(document, code_bytes=code_bytes, weights_bytes=weights_bytes)


def plan_from_json(document: object, *, code_bytes: int, weights_bytes: int) -> Plan:
    """Returns the plan that a JSON document describes; as `parse_plan`."""
    reader = _Reader(code_bytes)
    top = reader.fields(document, "plan")
    version = reader.number(top, "version", 0, 1 << 31)
    if version != VERSION:
        raise ValueError(f"the plan has version {version}, this Strop runs version {VERSION}")
    inputs, outputs = (tuple(reader.tensor(item) for item in reader.items(top, kind)) for kind in ("inputs", "outputs"))
    for names in ([tensor.name for tensor in inputs], [tensor.name for tensor in outputs]):
        if len(set(names)) != len(names):
            raise ValueError(f"the plan names a tensor twice: {names}")
    arena, workspace, weights = (
        reader.number(top, name, 0, MEMORY_LIMIT) for name in ("arena", "workspace", "weights")
    )
    if weights and weights + SLACK > weights_bytes:
        raise ValueError(
            f"the plan needs {weights} bytes of weights and {SLACK} behind them, there are {weights_bytes}"
        )
    alignment = reader.number(top, "alignment", ALIGNMENT, ALIGNMENT)
    reader.memory = {"arena": arena, "workspace": workspace, "weights": weights}
    reader.tensors = {"input": inputs, "output": outputs}
    return Plan(
        version=version,
        level=reader.text(top, "level"),
        inputs=inputs,
        outputs=outputs,
        arena=arena,
        workspace=workspace,
        weights=weights,
        zeroed=tuple(reader.range(item, arena) for item in reader.items(top, "zeroed")),
        alignment=alignment,
        runtime=reader.runtime(top),
        tasks=tuple(reader.task(item) for item in reader.items(top, "tasks")),
    )


class _Reader:
    """Takes a document apart; every method raises ValueError where something is not as it must be."""

    def __init__(self, code_bytes: int) -> None:
        self.code_bytes = code_bytes
        self.memory: dict[str, int] = {}
        self.tensors: dict[str, tuple[Tensor, ...]] = {}

    def fields(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"the {what} is no object")
        return value

    def items(self, owner: dict[str, Any], name: str) -> list[Any]:
        value = owner.get(name)
        if not isinstance(value, list):
            raise ValueError(f"{name!r} is no list")
        return value

    def text(self, owner: dict[str, Any], name: str) -> str:
        value = owner.get(name)
        if not isinstance(value, str):
            raise ValueError(f"{name!r} is no text")
        return value

    def number(self, owner: dict[str, Any], name: str, low: int, high: int) -> int:
        return self.whole(owner.get(name), name, low, high)

    def whole(self, value: object, what: str, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{what} is {value!r}, not a whole number from {low} to {high}")
        return value

    def range(self, value: object, size: int) -> tuple[int, int]:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{value!r} is no range of the arena")
        offset = self.whole(value[0], "the start of a range of the arena", 0, size)
        return offset, self.whole(value[1], "the length of a range of the arena", 0, size - offset)

    def tensor(self, value: object) -> Tensor:
        owner = self.fields(value, "tensor")
        dtype, shape = self.text(owner, "dtype"), self.items(owner, "shape")
        if dtype not in _DTYPES:
            raise ValueError(f"{dtype!r} is no element type of a plan")
        if len(shape) > 32:
            raise ValueError(f"a tensor has {len(shape)} dimensions")
        tensor = Tensor(
            self.text(owner, "name"), dtype, tuple(self.whole(n, "a dimension", 0, MEMORY_LIMIT) for n in shape)
        )
        if tensor.bytes > MEMORY_LIMIT:
            raise ValueError(f"{tensor.name!r} has {tensor.bytes} bytes")
        return tensor

    def runtime(self, owner: dict[str, Any]) -> dict[str, int]:
        places = self.fields(owner.get("runtime"), "runtime")
        found = {name: self.number(places, name, 0, self.code_bytes - 1) for name in RUNTIME}
        if found["strop_data"] % DATA_BYTES or found["strop_data"] + DATA_BYTES > self.code_bytes:
            raise ValueError(f"strop_data lies at {found['strop_data']}: no whole page of the code")
        return found

    def task(self, value: object) -> Task:
        owner = self.fields(value, "task")
        units = self.number(owner, "units", 1, MEMORY_LIMIT)
        wait, origin = owner.get("wait"), self.items(owner, "origin")
        if not isinstance(wait, bool):
            raise ValueError(f"'wait' is {wait!r}, neither true nor false")
        if not all(isinstance(name, str) for name in origin):
            raise ValueError("'origin' is no list of texts")
        return Task(
            name=self.text(owner, "name"),
            symbol=self.text(owner, "symbol"),
            arguments=tuple(self.argument(item) for item in self.items(owner, "arguments")),
            offset=self.number(owner, "offset", 0, self.code_bytes - 1),
            units=units,
            grain=self.number(owner, "grain", 1, MEMORY_LIMIT),
            wait=wait,
            thread=self.number(owner, "thread", 0, MEMORY_LIMIT) if "thread" in owner else 0,
            origin=tuple(origin),
            kernel=self.text(owner, "kernel"),
            tile=self.text(owner, "tile"),
            flops=self.cost(owner, "flops"),
            bytes=self.cost(owner, "bytes"),
        )

    def cost(self, owner: dict[str, Any], name: str) -> float:
        value = owner.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e30:
            raise ValueError(f"{name!r} is {value!r}, no cost")
        return value

    def argument(self, value: object) -> Argument:
        if not isinstance(value, list) or not value or value[0] not in _KINDS:
            raise ValueError(f"{value!r} is no argument of a task")
        kind, *rest = value
        if len(rest) != _NUMBERS[kind]:
            raise ValueError(f"an argument {kind!r} has {len(rest)} numbers, not {_NUMBERS[kind]}")
        if kind in self.memory:
            return Argument(kind, self.whole(rest[0], f"an offset in the {kind}", 0, self.memory[kind] - 1), 0)
        if kind == "number":
            return Argument(kind, self.whole(rest[0], "a number", -(1 << 63), (1 << 63) - 1), 0)
        if not rest:
            return Argument(kind, 0, 0)
        index = self.whole(rest[0], f"the number of an {kind}", 0, len(self.tensors[kind]) - 1)
        # An empty tensor has no byte to point at; its start is as good as any other address.
        last = max(self.tensors[kind][index].bytes - 1, 0)
        return Argument(kind, self.whole(rest[1], f"an offset in an {kind}", 0, last), index)
