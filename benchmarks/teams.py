"""What a team would gain, measured on one core: python -m benchmarks.teams [--networks a,b] [--threads 2] [--all]

Each thread's part of the plan runs alone from beginning to end, and so does the whole plan as one thread runs it; the
passes take turns. Of every stretch between two barriers counts the slower part. Speedup is the whole's time over the
sum of these: what the division of the work allows, without the threads' waiting and without what they take from each
other's memory bandwidth. Work is the parts' time together over the whole's: above 1 where parts repeat work or read the
same weights. Below a network: the tasks that cost most of the difference to as many times as fast.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import strop
from benchmarks.networks.registry import NETWORKS, network_file
from strop.loader.code import MappedCode, map_code
from strop.loader.image import Image
from strop.loader.memory import Words, allocate
from strop.loader.plan import SLACK
from strop.loader.structs import Stream, Walker
from strop.loader.tables import Addresses, Entry, Table, build_table, fill_walker
from strop.measure.clock import now

_RETURN = b"\xc3"  # of x86-64: what stands in for the barrier


@dataclass(slots=True)
class Pass:
    """One thread's walk through its part of the plan."""

    table: Table
    stream: Words
    walker: Words
    ticks: Words

    def times(self) -> np.ndarray:
        """Returns the ticks of every entry of the last walk."""
        return np.diff(self.ticks.slice(0, len(self.table.entries) + 1))


class Parts:
    """A program whose threads run one after the other instead of at once; what they compute makes no sense."""

    def __init__(self, image: Image, inputs: Sequence[np.ndarray], threads: int) -> None:
        plan, self._code = image.plan, image.map_code()
        self._barrier: MappedCode = map_code(_RETURN.ljust(4096, b"\xc3"))
        arena = allocate(plan.arena + plan.workspace + 2 * SLACK + 64)
        weights = allocate(len(image.weights))
        weights[:] = np.frombuffer(image.weights, np.uint8)
        outputs = [np.empty(tensor.shape, tensor.dtype) for tensor in plan.outputs]
        self._kept = [arena, weights, *inputs, *outputs]
        self._pointers = Words(8 * (len(inputs) + len(outputs)))
        self._pointers.put_all(0, [array.ctypes.data for array in (*inputs, *outputs)])
        start = int(arena.ctypes.data)
        addresses = Addresses(
            code=self._code.address,
            arena=start,
            weights=int(weights.ctypes.data),
            workspace=start + -(-(plan.arena + SLACK) // 64) * 64,
            barrier=self._barrier.address,
            team=0,
        )
        walk = self._code.address_of(plan.runtime["strop_walk"])
        self._walk = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(walk)
        self.whole = self._pass(build_table(plan, addresses, 0, 1))
        self.parts = [self._pass(build_table(plan, addresses, thread, threads)) for thread in range(threads)]
        self.plan = plan

    def _pass(self, table: Table) -> Pass:
        stream, walker, ticks = Words(Stream.SIZE), Words(Walker.SIZE), Words(8 * (len(table.entries) + 2))
        stream.put(Stream.POINTERS, self._pointers.address)
        fill_walker(walker, 0, stream.address, table)
        walker.put(Walker.TIMES, ticks.address)
        return Pass(table, stream, walker, ticks)

    def run(self, which: Pass) -> np.ndarray:
        """Walks one pass and returns the ticks of its entries."""
        self._walk(which.walker.address)
        return which.times()


def measure(image: Image, inputs: Sequence[np.ndarray], threads: int, rounds: int) -> tuple[str, list[str]]:
    """Returns a line for a network, and one for each task that divides badly."""
    program = Parts(image, inputs, threads)
    every = [program.whole, *program.parts]
    samples: list[list[np.ndarray]] = [[] for _ in every]
    program.run(program.whole)
    began, ticks = now(), int(program.whole.ticks.get(0))
    for number in range(rounds):
        for index in range(len(every)) if number % 2 else reversed(range(len(every))):
            samples[index].append(program.run(every[index]))
    second = (int(program.whole.ticks.get(0)) - ticks) / (now() - began)
    whole, *parts = (_fastest_third(own) / second for own in samples)
    stretches, task_loss = _stretches(program, whole, parts)
    total, critical = float(whole.sum()), float(sum(stretches))
    barriers = len(stretches) - 1
    work = sum(float(own.sum()) for own in parts) / total
    line = (
        f"{total * 1e3:8.3f} ms  at most {total / critical:.3f} x with {threads} threads, work {work:.3f}, "
        f"{barriers} barriers"
    )
    worst = sorted(task_loss.items(), key=lambda pair: -pair[1])[:8]
    rows = []
    for number, loss in worst:
        task = program.plan.tasks[number - 1]
        if loss > 0.003 * total:
            took = float(whole[_place(program.whole.table.entries, number)])
            own = ", ".join(
                f"{float(times[_place(part.table.entries, number)]) * 1e6:.0f}"
                for part, times in zip(program.parts, parts, strict=True)
                if number in [entry.task for entry in part.table.entries]
            )
            rows.append(
                f"    {loss / total:5.1%} {task.name}: {task.kernel} {task.tile}, {task.units} units by {task.grain}, "
                f"{took * 1e6:.0f} us in parts of {own}"
            )
    return line, rows


def _place(entries: Sequence[Entry], task: int) -> int:
    return next(place for place, entry in enumerate(entries) if entry.task == task)


def _fastest_third(samples: Sequence[np.ndarray]) -> np.ndarray:
    ordered = np.sort(np.array(samples, np.float64), axis=0)
    third: np.ndarray = ordered[: max(1, len(samples) // 3)].mean(axis=0)
    return third


def _stretches(program: Parts, whole: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[list[float], dict[int, float]]:
    """Returns the time of the slowest part between any two barriers, and what each task costs beyond its share."""
    threads = len(parts)
    rows: list[list[float]] = []
    longest: dict[int, float] = {}
    for part, times in zip(program.parts, parts, strict=True):
        row = [0.0]
        for entry, seconds in zip(part.table.entries, times, strict=True):
            if entry.task:
                row[-1] += float(seconds)
                longest[entry.task] = max(longest.get(entry.task, 0.0), float(seconds))
            else:
                row.append(0.0)
        rows.append(row)
    share = {
        entry.task: float(seconds) / threads for entry, seconds in zip(program.whole.table.entries, whole, strict=True)
    }
    return [max(own) for own in zip(*rows, strict=True)], {task: longest[task] - share[task] for task in longest}


def main(words: Sequence[str] | None = None) -> None:
    """Prints a line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--models", type=Path, help="folder of the networks (default: in Strop's cache folder)")
    options = parser.parse_args(words)
    for name in options.networks:
        network = NETWORKS[name]
        inputs = network.inputs()
        compiled = strop.compile(network_file(network, options.models), engine="native", threads=1)
        image = getattr(compiled, "image", None)
        if image is None:
            print(f"{name:18} is not native as a whole, or its sizes are free")
            continue
        arrays = [np.ascontiguousarray(inputs[tensor.name]) for tensor in image.plan.inputs]
        line, rows = measure(image, arrays, options.threads, options.rounds)
        print(f"{name:18} {line}", *rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
