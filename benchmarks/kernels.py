"""How fast the convolution kernels are, alone: python -m benchmarks.kernels [--isa LEVEL] [--only TEXT] [--warm]

One row a layer of ResNet-18/50 and SqueezeNet 1.1, one entry a kernel and schedule: GFLOP/s of the definition (so
that Winograd may pass the peak) and percent of the multiply-adds a second this core did in the same rounds. All
candidates of a layer take turns, with layouts as the compiler lays them out. Weights are cold, as in a network whose
weights pass through the caches once a run: as many sets as fill 32 MiB take turns; --warm: one set. The choice of the
compiler is marked with *.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from strop.compiler import expressions
from strop.compiler.choose import choose
from strop.compiler.isa import Isa, get_isa
from strop.compiler.kernels.contract import Convolution, Kernel
from strop.compiler.layouts import ALIGNMENT, Halo, Layout, array_of, channels_last, dense
from strop.compiler.link import link
from strop.compiler.machine_code import compile_objects
from strop.compiler.probe import rate_now
from strop.compiler.registry import KERNELS
from strop.loader.code import map_code
from strop.loader.cpu import isa_levels
from strop.measure.clock import now

_COLD_BYTES = 32 << 20
_ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of a network: input channels, output channels, extent of its input, kernel, stride."""

    inputs: int
    outputs: int
    extent: int
    kernel: int = 1
    stride: int = 1
    residual: bool = False
    pads: int | None = None

    def __str__(self) -> str:
        residual = " + residual" if self.residual else ""
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}{stride} {self.inputs}->{self.outputs} @{self.extent}{residual}"

    def problem(self) -> Convolution:
        """Returns it with bias, ReLU and the residual's addition, on the layouts of a network."""
        pads = self.kernel // 2 if self.pads is None else self.pads
        out = (self.extent + 2 * pads - self.kernel) // self.stride + 1
        shape = (1, self.inputs, self.extent, self.extent)
        image = dense(shape) if self.inputs == 3 else channels_last(shape, halo=Halo(pads, pads, pads, pads))
        output = channels_last((1, self.outputs, out, out))
        total = expressions.add(expressions.operand(0), expressions.channel(0))
        if self.residual:
            total = expressions.add(total, expressions.operand(1))
        return Convolution(
            (image, output) if self.residual else (image,),
            output,
            expressions.maximum(expressions.constant(0.0), total),
            1,
            weights=(self.outputs, self.inputs, self.kernel, self.kernel),
            strides=(self.stride, self.stride),
            pads=(pads, pads, pads, pads),
        )


LAYERS = {
    "resnet": [
        Layer(3, 64, 224, 7, 2),
        *[Layer(64 << i, 64 << i, 56 >> i, 3) for i in range(4)],
        *[Layer(64 << i, 128 << i, 56 >> i, 3, 2) for i in range(3)],
        *[Layer(64 << i, 128 << i, 56 >> i, 1, 2) for i in range(3)],
        Layer(64, 64, 56),
        *[Layer(256 << i, 64 << i, 56 >> i) for i in range(4)],
        *[Layer(64 << i, 256 << i, 56 >> i, residual=True) for i in range(4)],
        *[Layer(256 << i, 128 << i, 56 >> i) for i in range(3)],
        *[Layer(256 << i, 512 << i, 56 >> i, 1, 2) for i in range(3)],
        Layer(512, 1000, 1),
        Layer(2048, 1000, 1),
    ],
    "squeezenet": [
        Layer(3, 64, 224, 3, 2, pads=0),
        *[Layer(i, o, 55) for i, o in ((64, 16), (128, 16), (16, 64))],
        Layer(16, 64, 55, 3),
        *[Layer(i, o, 27) for i, o in ((128, 32), (256, 32), (32, 128))],
        Layer(32, 128, 27, 3),
        *[Layer(i, o, 13) for i, o in ((256, 48), (384, 48), (48, 192), (384, 64), (512, 64), (64, 256), (512, 1000))],
        Layer(48, 192, 13, 3),
        Layer(64, 256, 13, 3),
    ],
}


class Runner:
    """A kernel with its memory, ready to be called; sets of weights take turns."""

    def __init__(self, kernel: Kernel, problem: Convolution, schedule: Any, isa: Isa, sets: int) -> None:
        code = kernel.emit(problem, schedule, isa)
        blob = link(list(compile_objects(code.objects, isa).values()), isa)
        self._code = map_code(blob.data)
        address = self._code.address_of(blob.symbols[code.symbol])
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        random = np.random.default_rng(0)
        output = _buffer(problem.output, None)
        pointers: dict[str, int] = {"output": _address(output, problem.output), "begin": 0}
        pointers["end"] = kernel.split(problem, schedule, isa).units
        image = random.standard_normal(problem.inputs[0].shape).astype(np.float32)
        inputs = [_buffer(problem.inputs[0], image)]
        pointers["input0"] = _address(inputs[0], problem.inputs[0])
        pointers["input1"] = pointers["output"]  # the residual, in place
        scratch = _aligned(kernel.workspace(problem, schedule, isa))
        pointers["workspace"] = scratch.ctypes.data
        weights = random.standard_normal(problem.weights).astype(np.float32) * 1e-2
        packed = kernel.pack(problem, schedule, isa, weights, [np.ones(problem.weights[0], np.float32)])
        pointers.update(code.numbers)
        self._records = []
        kept: list[np.ndarray] = [output, *inputs, scratch]
        for _ in range(sets):
            own = dict(pointers)
            for index, array in enumerate(packed):
                kept.append(_aligned(array.nbytes))
                kept[-1][: array.nbytes] = array.view(np.uint8)
                own[f"weights{index}"] = kept[-1].ctypes.data
            self._records.append(np.array([own[name] for name in code.arguments], np.int64))
        self._kept, self._turn = kept, 0

    def __call__(self) -> float:
        """Runs it once and returns the seconds."""
        record = self._records[self._turn % len(self._records)]
        self._turn += 1
        began = now()
        self._function(record.ctypes.data)
        return now() - began


def _aligned(size: int) -> np.ndarray:
    whole = np.zeros(size + 2 * ALIGNMENT + 4096, np.uint8)
    return whole[-whole.ctypes.data % ALIGNMENT :][: size + ALIGNMENT]


def _buffer(layout: Layout, values: np.ndarray | None) -> np.ndarray:
    memory = _aligned(layout.span)
    if values is not None:
        array_of(memory, layout, layout.before)[...] = values
    return memory


def _address(memory: np.ndarray, layout: Layout) -> int:
    return int(memory.ctypes.data) + layout.before


def offers(problem: Convolution, isa: Isa) -> Iterator[tuple[Kernel, Any]]:
    """Yields every kernel that accepts the problem with each of its schedules."""
    for kernel in KERNELS:
        if not kernel.accepts(problem, isa):
            for schedule in kernel.candidates(problem, isa):
                yield kernel, schedule


def measure(layer: Layer, isa: Isa, *, warm: bool, rounds: int) -> list[str]:
    """Returns the entries of a layer's row."""
    problem = layer.problem()
    weights = 4 * int(np.prod(problem.weights))
    sets = 1 if warm else max(2, min(_COLD_BYTES // weights, 64))
    choice = choose(problem, isa, weights=np.ones(problem.weights, np.float32))
    names, runners = [], []
    for kernel, schedule in offers(problem, isa):
        mark = "*" if (kernel, schedule) == (choice.kernel, choice.schedule) else ""
        names.append(f"{mark}{kernel.family.removeprefix('convolution_')} {schedule}")
        runners.append(Runner(kernel, problem, schedule, isa, sets))
    for runner in runners:
        runner()
    peaks: list[float] = []
    times: list[list[float]] = [[] for _ in runners]
    for _ in range(rounds):
        peaks.append(rate_now(isa.level, rounds=1))
        for runner, own in zip(runners, times, strict=True):
            own.append(runner())
    peak = float(np.percentile(peaks, 90))
    rates = [2.0 * problem.macs / float(np.percentile(own, 10)) for own in times]
    return [f"{name} {rate / 1e9:.0f} ({rate / peak:.0%})" for name, rate in zip(names, rates, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default=isa_levels()[0])
    parser.add_argument("--only", default="", help="layers whose row holds this text")
    parser.add_argument("--warm", action="store_true", help="one set of weights, that stays in the caches")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    options = parser.parse_args(arguments)
    isa = get_isa(options.isa)
    print(f"GFLOP/s (% of the multiply-add peak of the same rounds), {isa.level}, one thread")
    for network, layers in LAYERS.items():
        for layer in layers:
            title = f"{network:10} {layer!s:32}"
            if options.only in title:
                print(title, " | ".join(measure(layer, isa, warm=options.warm, rounds=options.rounds)), flush=True)


if __name__ == "__main__":
    main()
