"""Measures a latency-throughput curve: every cell in every round, in an order drawn by lot, so that cells compare.

A machine changes its speed from one moment to the next; cells measured one after the other would be ranked by when
they had their turn. So all models stay open and each round visits every cell once; a cell's interval comes from its
rounds, and a ratio of two cells from the rounds they share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from strop.engines.contract import KnobValue
from strop.measure.clock import now
from strop.measure.load import Throughput
from strop.measure.statistics import percentile
from strop.measure.turns import wait_until_idle
from strop.optimize.curve_grid import ROUNDS, Probe, cells_of, estimated_seconds, fit, grow, round_seconds
from strop.optimize.events import Event, Listener, nobody
from strop.optimize.latency_limit import LatencyLimit
from strop.optimize.sweet_spot import Axes, Cell, Point, geometric_mean, sweet_spot, unmeasured_neighbours

PERCENTILES = (50.0, 90.0, 99.0)
EXTENSIONS = 4
"""How often the neighbours of a sweet spot at the edge of what was measured are measured, too."""
AUTOMATIC = 0
"""Stands for the engine's own choice of streams."""


class Served(Protocol):
    """A compiled model that can be loaded; a `RemoteModel` is one."""

    @property
    def settings(self) -> Mapping[str, KnobValue]:
        """What is in force, the streams among it."""

    def set_inputs(self, inputs: Mapping[str, np.ndarray], *, batch: int = 1) -> None:
        """Sets what requests run on."""

    def block(self, n: int) -> list[float]:
        """Returns the seconds of n requests, one at a time."""

    def throughput(self, *, seconds: float, requests: int | None = None) -> Throughput:
        """Returns inferences a second with so many requests in flight, and each one's latency."""

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds it has used."""

    def close(self) -> None:
        """Ends it."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The points; the index of the sweet spot, None where no point keeps the limit; why no larger batch was measured.

    stopped is by streams; unmeasured: neighbours of the sweet spot that there was no time for; estimated_seconds: what
    the rounds were expected to take, seconds: what they took.
    """

    points: tuple[Point, ...]
    spot: int | None
    limit: LatencyLimit | None
    stopped: Mapping[int, str]
    unmeasured: tuple[Cell, ...]
    estimated_seconds: float
    seconds: float


@dataclass(slots=True)
class Measuring:
    """A curve in the making. open: gives the model with so many streams (None: the engine's own choice).

    seconds: of load on a point, all rounds together.
    """

    open: Callable[[int | None], Served]
    inputs: Mapping[str, np.ndarray]
    axes: Axes
    limit: LatencyLimit | None
    seconds: float
    on_event: Listener = nobody
    probe: Probe = field(default_factory=Probe)
    models: dict[int, Served] = field(default_factory=dict)
    runs: dict[Cell, dict[int, Throughput]] = field(default_factory=dict)
    batch_of: dict[int, int] = field(default_factory=dict)
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    rounds_done: int = 0

    def curve(self, *, largest_seconds: float = float("inf")) -> Curve:
        """Returns the curve; `largest_seconds`: what opening is over, the rounds may take, else points are shortened.

        A limit's sweet spot is looked for until no neighbour is left that could do better.
        """
        with ExitStack() as stack:
            stack.callback(self._close)
            for streams in self.axes.streams:
                self.on_event(Event("progress", f"open with {streams} streams"))
                self.models[streams] = self.open(streams)
                grow(self.probe, streams, self.axes.batches, partial(self._alone, streams), self.limit)
            cells = [*cells_of(self.probe, self.axes), self._automatic()]
            cells, self.seconds = fit(cells, self.probe, self.seconds, self.limit, largest_seconds)
            expected = self._expected(cells)
            words = f"{len(cells)} points, {ROUNDS} rounds: about {expected:.0f} s"
            self.on_event(Event("plan", words, data={"seconds": expected}))
            began = now()
            self._rounds(cells)
            seconds = now() - began
            for _ in range(EXTENSIONS):
                again = self._edge()
                if len(again) < 2 or now() - began + self._expected(again) > largest_seconds:
                    break
                self.on_event(Event("stage", f"{len(again) - 1} neighbours of the sweet spot"))
                self._rounds(again)
            return Curve(
                tuple(self._points()),
                self._spot(),
                self.limit,
                dict(self.probe.stopped),
                tuple(self._edge()[1:]),
                expected,
                seconds,
            )

    def _expected(self, cells: Sequence[Cell]) -> float:
        return estimated_seconds(cells, self.probe, self.seconds, self.limit)

    def _alone(self, streams: int, batch: int) -> float:
        """Returns the seconds of a request alone: the shortest of three after a first one, which may compile."""
        self._set_batch(streams, batch)
        model = self.models[streams]
        model.block(1)
        return min(model.block(3))

    def _automatic(self) -> Cell:
        """Opens the engine's own choice of streams; returns its point, with the requests in flight it advises."""
        self.on_event(Event("progress", "open as the engine chooses by itself"))
        model = self.open(None)
        self.models[AUTOMATIC] = model
        return Cell(int(model.settings.get("streams", 1)), 1, self.axes.depths[-1], automatic=True)

    def _rounds(self, cells: Sequence[Cell]) -> None:
        waiting = len(cells) * ROUNDS
        for number in range(self.rounds_done, self.rounds_done + ROUNDS):
            for index in self.generator.permutation(len(cells)):
                cell = cells[index]
                key = AUTOMATIC if cell.automatic else cell.streams
                self._set_batch(key, cell.batch)
                model = self.models[key]
                wait_until_idle(list(self.models.values()))
                seconds = round_seconds(cell, self.probe.of(cell), self.seconds, self.limit)
                found = model.throughput(seconds=seconds, requests=cell.requests)
                self.runs.setdefault(cell, {})[number] = found
                waiting -= 1
                self.on_event(Event("progress", str(cell), 1 - waiting / (len(cells) * ROUNDS)))
        self.rounds_done += ROUNDS

    def _set_batch(self, key: int, batch: int) -> None:
        if self.batch_of.get(key) != batch:
            self.models[key].set_inputs(self.inputs, batch=batch)
            self.batch_of[key] = batch

    def _points(self) -> list[Point]:
        qs = sorted({*PERCENTILES, *([self.limit.q] if self.limit else [])})
        return [_point(cell, runs, qs) for cell, runs in sorted(self.runs.items())]

    def _spot(self) -> int | None:
        return sweet_spot(self._points(), self.limit)

    def _edge(self) -> list[Cell]:
        """Returns the sweet spot and those of its neighbours that are unknown so far."""
        index = self._spot()
        if index is None:
            return []
        spot = self._points()[index].cell
        over = (Cell(streams, batch, depth) for streams, batch in self.probe.over_limit for depth in self.axes.depths)
        known = {*self.runs, *over}
        return [spot, *unmeasured_neighbours(spot, self.axes, known)]

    def _close(self) -> None:
        for model in self.models.values():
            model.close()


def _point(cell: Cell, runs: Mapping[int, Throughput], qs: Iterable[float]) -> Point:
    rates = {number: run.per_second.point for number, run in runs.items()}
    latencies = np.concatenate([run.latencies for run in runs.values()])
    return Point(cell, geometric_mean(list(rates.values())), tuple(percentile(latencies, q) for q in qs), rates)
