"""Who else wants the cores: what other processes use, what a hypervisor takes, how long own threads wait for a core.

Linux tells: /proc/stat (time of each core, and what was stolen from it), /proc/self/task/*/schedstat (how long threads
were ready and not running), */status (how often they were set aside). Elsewhere figures are None.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from strop.machine import usable_core_ids
from strop.measure.clock import SYSTEM, Clock, cpu_seconds_of

TOLERATED_SHARE = 0.1
"""What others may use, or a hypervisor take, of a core before it is worth a warning."""

LEAST_SECONDS = 0.25
"""Below this, the system's counters, which go in steps of 10 ms, say nothing: then there are no findings."""

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters at one moment; seconds. busy and stolen: of the usable cores together, None where nothing tells.

    own: processor time of this process, its children and those of its children that have ended; ready: how long its
    threads were ready to run and did not; set_aside: how often that befell one.
    """

    moment: float
    cores: int
    busy: float | None
    stolen: float | None
    own: float
    ready: float | None
    set_aside: int | None


@dataclass(frozen=True, slots=True)
class Contention:
    """What happened between two moments, per second: cores kept busy by us and by others, stolen, and our waiting.

    others, stolen: in cores; ready: own threads that stood ready without a core, on average; set_aside: times a
    second. findings: what is worth a warning, with figures.
    """

    seconds: float
    cores: int
    own: float
    others: float | None
    stolen: float | None
    ready: float | None
    set_aside: float | None
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)


def snapshot(clock: Clock = SYSTEM) -> Snapshot:
    """Returns the counters now."""
    cores = usable_core_ids()
    busy, stolen = _core_times(cores)
    times = os.times()
    own = clock.cpu_seconds() + times.children_user + times.children_system
    for child in _children():
        own += cpu_seconds_of(child) or 0.0
    ready, set_aside = _own_threads()
    return Snapshot(clock.now(), len(cores), busy, stolen, own, ready, set_aside)


def between(before: Snapshot, after: Snapshot) -> Contention:
    """Returns what happened between two snapshots.

    Example:
        >>> start = Snapshot(0.0, 2, 10.0, 0.0, 1.0, 0.0, 0)
        >>> found = between(start, Snapshot(10.0, 2, 30.0, 0.0, 9.0, 4.0, 500))
        >>> found.own, found.others, found.ready
        (0.8, 1.2, 0.4)
        >>> found.findings[0]
        'other processes kept 1.2 of 2 cores busy'
    """
    seconds = max(after.moment - before.moment, 1e-9)

    def rate(first: float | None, last: float | None) -> float | None:
        return (
            None
            if first is None or last is None or seconds < LEAST_SECONDS
            else max(0.0, round((last - first) / seconds, 6))
        )

    own, busy = max(0.0, round((after.own - before.own) / seconds, 6)), rate(before.busy, after.busy)
    others = None if busy is None else max(0.0, round(busy - own, 6))
    stolen, ready = rate(before.stolen, after.stolen), rate(before.ready, after.ready)
    set_aside = rate(before.set_aside, after.set_aside)
    findings = []
    if others is not None and others > TOLERATED_SHARE:
        findings.append(f"other processes kept {others:.2g} of {after.cores} cores busy")
    if stolen is not None and stolen > TOLERATED_SHARE:
        findings.append(f"the hypervisor took {stolen:.2g} of {after.cores} cores for other machines")
    if ready is not None and ready > TOLERATED_SHARE:
        findings.append(
            f"own threads stood ready without a core: {ready:.2g} of them on average"
            + ("" if set_aside is None else f", set aside {set_aside:.0f} times a second")
        )
    return Contention(seconds, after.cores, own, others, stolen, ready, set_aside, tuple(findings))


def observe(seconds: float = 1.0, clock: Clock = SYSTEM) -> Contention:
    """Returns what happens on the cores within the next `seconds`, in which the caller waits."""
    before = snapshot(clock)
    clock.sleep(seconds)
    return between(before, snapshot(clock))


def _core_times(cores: tuple[int, ...]) -> tuple[float | None, float | None]:
    """Returns the seconds that these cores were busy, and that were stolen from them, since the system began."""
    wanted = {f"cpu{core}" for core in cores}
    busy = stolen = 0.0
    found = False
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / "stat").read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name in wanted:
                user, nice, system, _, _, interrupts, soft, steal, *_ = (int(field) for field in fields)
                busy += user + nice + system + interrupts + soft
                stolen += steal
                found = True
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return (busy / ticks, stolen / ticks) if found else (None, None)


def _own_threads() -> tuple[float | None, int | None]:
    """Returns the seconds that threads of this process stood ready, and how often they were set aside."""
    ready, set_aside, found = 0.0, 0, False
    for task in (_PROC / "self" / "task").glob("*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # a thread may end while it is looked at
            ready += int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
            found = True
            for line in (task / "status").read_text(encoding="utf8", errors="replace").splitlines():
                if line.startswith("nonvoluntary_ctxt_switches"):
                    set_aside += int(line.split()[1])
    return (ready, set_aside) if found else (None, None)


def _children() -> list[int]:
    children: list[int] = []
    for task in (_PROC / "self" / "task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError):
            children += [int(child) for child in task.read_text(encoding="ascii").split()]
    return children
