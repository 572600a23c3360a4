"""What a latency-throughput curve is going to measure, and how long that takes, worked out before it does.

Streams and requests in flight come from the machine; the batch grows by doubling until it stops paying or a single
request breaks the limit, which a probe of a few requests one at a time shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from strop.optimize.latency_limit import LatencyLimit
from strop.optimize.sweet_spot import Axes, Cell

LARGEST_BATCH = 256
DEPTHS = (1, 2)
"""Requests in flight for each stream: one keeps it busy while it runs, a second while its answer is fetched."""
ROUNDS = 5
SECONDS_A_POINT = 2.0
SHORTEST_POINT = 0.25
FEWEST_REQUESTS = 2
"""Of each stream in a round, however slow the model is."""
LEAST_GROWTH = 1.03
SMALLEST_CERTAIN_BATCH = 4
"""Two samples may fit a kernel's tiles worse than one or four; below this nothing is concluded."""
SURELY_OVER = 1.5
"""Times the limit that a request alone must take before its point is left out: the probe is short, machines swing."""
LONGEST_REQUEST = 10.0
REST_SECONDS = 0.02
"""What a change of turns costs: threads come to rest, inputs are sent."""
STEP_SECONDS = 0.002


@dataclass(slots=True)
class Probe:
    """How long a request takes when it is alone, by (streams, batch); why larger batches were not tried, by streams."""

    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    over_limit: set[tuple[int, int]] = field(default_factory=set)

    def of(self, cell: Cell) -> float:
        """Returns what a request of this cell takes alone; of one that was not probed, in proportion to the batch."""
        known = self.seconds.get((cell.streams, cell.batch))
        if known is not None:
            return known
        (streams, batch), seconds = min(
            self.seconds.items(), key=lambda item: (abs(item[0][0] - cell.streams), abs(item[0][1] - cell.batch))
        )
        return seconds * cell.batch / batch * streams / cell.streams


def streams_of(cores: int) -> tuple[int, ...]:
    """Returns the numbers of streams to try: the cores halved down to 1, in rising order."""
    counts = []
    while cores >= 1:
        counts.append(cores)
        cores //= 2
    return tuple(reversed(counts))


def batches_to(largest: int) -> tuple[int, ...]:
    """Returns 1, 2, 4 ... up to `largest`."""
    return tuple(2**power for power in range(largest.bit_length()) if 2**power <= largest)


def grow(
    probe: Probe, streams: int, batches: Sequence[int], time_of: Callable[[int], float], limit: LatencyLimit | None
) -> None:
    """Probes rising batches until one stops paying, breaks the limit or takes too long; notes all in `probe`.

    time_of: returns the seconds of a request of this batch, alone.
    """
    best = 0.0
    for batch in batches:
        seconds = time_of(batch)
        probe.seconds[streams, batch] = seconds
        if limit is not None and seconds > SURELY_OVER * limit.seconds:
            probe.over_limit.update((streams, larger) for larger in batches if larger >= batch)
            probe.stopped[streams] = f"a request of batch {batch} alone takes {seconds * 1e3:.3g} ms, limit {limit}"
            return
        if seconds > LONGEST_REQUEST:
            probe.stopped[streams] = f"a request of batch {batch} takes {seconds:.3g} s"
            return
        rate = batch / seconds
        if batch >= SMALLEST_CERTAIN_BATCH and rate < LEAST_GROWTH * best:
            probe.stopped[streams] = f"batch {batch} gives {rate / best:.2f} x the best smaller one, one at a time"
            return
        best = max(best, rate)


def cells_of(probe: Probe, axes: Axes) -> list[Cell]:
    """Returns the cells to measure: every probed batch that may keep the limit, at every number of requests.

    A single request at a time is always among them: it is what the limit is judged by when nothing else keeps it.
    """
    found = [
        Cell(streams, batch, depth)
        for (streams, batch) in probe.seconds
        for depth in axes.depths
        if (streams, batch) not in probe.over_limit
    ]
    single = Cell(axes.streams[0], axes.batches[0], axes.depths[0])
    return found if single in found else [single, *found]


def round_seconds(cell: Cell, request_seconds: float, seconds: float, limit: LatencyLimit | None) -> float:
    """Returns how long a round of a cell runs: its share of `seconds`, or longer to earn the limit's percentile."""
    in_flight = request_seconds * cell.depth
    least = FEWEST_REQUESTS * in_flight
    if limit is not None:
        needed = math.ceil(math.log(0.05) / math.log(max(limit.q, 100 - limit.q) / 100))
        least = max(least, 1.2 * needed / ROUNDS * request_seconds / cell.streams)
    return max(seconds / ROUNDS, least)


def fit(
    cells: Sequence[Cell], probe: Probe, seconds: float, limit: LatencyLimit | None, largest: float
) -> tuple[list[Cell], float]:
    """Returns the cells and the seconds of each that fit into `largest` together: shorter first, then small batches."""
    kept = list(cells)
    while (expected := estimated_seconds(kept, probe, seconds, limit)) > largest:
        if seconds > SHORTEST_POINT:
            seconds = max(SHORTEST_POINT, min(0.9, largest / expected) * seconds)
            continue
        batch = max(cell.batch for cell in kept)
        if batch == 1:
            break
        kept = [cell for cell in kept if cell.batch < batch]
    return kept, seconds


def estimated_seconds(cells: Sequence[Cell], probe: Probe, seconds: float, limit: LatencyLimit | None) -> float:
    """Returns how long all rounds will take: warm-up of one request each, the round, the answers behind its end."""
    total = 0.0
    for cell in cells:
        request = probe.of(cell)
        total += round_seconds(cell, request, seconds, limit) + 2 * request * cell.depth + REST_SECONDS
    return ROUNDS * total
