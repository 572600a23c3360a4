"""The arithmetic of a breakdown: rows that sum to the wall time, the gap by cause, what overlap can give.

Pure functions of what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strop.measure.applications import NEXT, InTurn
from strop.measure.stage_times import StageTimes

OVERHEAD = "Python overhead"
ARROW = " > "
NOTICEABLE = 0.02


def stage_rows(times: StageTimes, items: int) -> list[dict[str, Any]]:
    """Returns a row a stage, milliseconds an item, and one for what no stage marks; the rows sum to the wall time.

    Nested stages are named by the way to them (`run > copy`), and an outer one's milliseconds are without theirs.
    """
    rows = [
        {
            "name": ARROW.join(path),
            "depth": len(path) - 1,
            "ms": 1e3 * seconds / items,
            "share": seconds / times.seconds if times.seconds else 0.0,
            "busy_ms": 1e3 * times.busy[path] / items,
            "calls_per_item": times.calls[path] / items,
            "failed": times.failed[path],
        }
        for path, seconds in _in_order(times)
    ]
    rest = {"depth": 0, "busy_ms": 1e3 * times.unmarked / items, "calls_per_item": 1.0, "failed": 0}
    share = times.unmarked / times.seconds if times.seconds else 0.0
    return [*rows, {"name": OVERHEAD, "ms": 1e3 * times.unmarked / items, "share": share, **rest}]


def outermost(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns milliseconds an item of each outermost stage, those inside it included, without the overhead."""
    totals: dict[str, float] = {}
    for row in rows:
        if row["name"] != OVERHEAD:
            name = row["name"].split(ARROW)[0]
            totals[name] = totals.get(name, 0.0) + row["ms"]
    return totals


def bottleneck(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the name of the stage, or of the overhead, that takes longest."""
    totals = outermost(rows)
    totals[OVERHEAD] = sum(float(row["ms"]) for row in rows if row["name"] == OVERHEAD)
    return max(totals, key=lambda name: totals[name])


def gap(rows: Sequence[Mapping[str, Any]], *, benchmark_ms: float, item_ms: float, run: str) -> dict[str, Any]:
    """Returns where the time between the benchmark's latency and the application's goes, largest cause first.

    Every stage but `run` is a cause as it is; `run` is one by what it takes longer than in the benchmark (a negative
    number where it takes less). The causes sum to the gap.

    Example:
        >>> rows = [{"name": "decode", "ms": 4.0}, {"name": "run", "ms": 3.5}, {"name": "Python overhead", "ms": 0.25}]
        >>> found = gap(rows, benchmark_ms=3.0, item_ms=7.75, run="run")
        >>> [(cause["name"], cause["ms"]) for cause in found["causes"]]
        [('decode', 4.0), ('run takes longer than in the benchmark', 0.5), ('Python overhead', 0.25)]
    """
    causes = {name: ms for name, ms in outermost(rows).items() if name != run}
    causes[OVERHEAD] = sum(row["ms"] for row in rows if row["name"] == OVERHEAD)
    longer = outermost(rows).get(run, 0.0) - benchmark_ms
    causes[f"{run} takes {'longer' if longer > 0 else 'less'} than in the benchmark"] = longer
    lost = item_ms - benchmark_ms
    listed = [
        {"name": name, "ms": ms, "share": ms / lost if lost > 0 else 0.0}
        for name, ms in sorted(causes.items(), key=lambda pair: -pair[1])
        if ms != 0
    ]
    return {
        "benchmark_per_second": 1e3 / benchmark_ms,
        "app_per_second": 1e3 / item_ms,
        "lost_ms": lost,
        "causes": listed,
    }


def gap_in_words(found: Mapping[str, Any]) -> str:
    """Returns the sentence: what the benchmark says, what the application gets, where the rest goes."""
    said, got = (_rate(found[name]) for name in ("benchmark_per_second", "app_per_second"))
    words = f"the benchmark says {said} a second, your app gets {got}"
    if found["lost_ms"] <= NOTICEABLE * 1e3 / found["app_per_second"]:
        return f"{words}: nothing is lost on the way"
    parts = [
        f"{cause['name']} {cause['ms']:.3g} ms ({cause['share']:.0%})"
        for cause in found["causes"]
        if abs(cause["share"]) >= NOTICEABLE
    ]
    return f"{words}; of the {found['lost_ms']:.3g} ms more an item: {', '.join(parts)}"


def predict(
    rows: Sequence[Mapping[str, Any]], *, cpu_ms: float, cores: int, turns: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Returns what a pipeline with a worker a stage can do: the slowest stage limits it, or the cores do.

    cpu_ms: processor time an item of all threads (those that wait by spinning included); turns: stages that serve more
    than one item at once.

    Example:
        >>> rows = [{"name": "decode", "ms": 10.0}, {"name": "run", "ms": 10.0}, {"name": "Python overhead", "ms": 0.1}]
        >>> predict(rows, cpu_ms=0.5, cores=2)["per_second"]
        100.0
    """
    turns = turns or {}
    each = {name: ms / turns.get(name, 1) for name, ms in outermost(rows).items()}
    slowest = max(each, key=lambda name: each[name]) if each else OVERHEAD
    by_stage = 1e3 / each[slowest] if each and each[slowest] > 0 else None
    by_cores = 1e3 * cores / cpu_ms if cpu_ms > 0 else None
    known = [rate for rate in (by_stage, by_cores) if rate is not None]
    return {
        "per_second": min(known) if known else None,
        "slowest_stage": slowest,
        "by_slowest_stage": by_stage,
        "by_cores": by_cores,
        "limit": "cores" if by_cores is not None and by_cores == min(known) else "slowest stage",
    }


def workers_for(rows: Sequence[Mapping[str, Any]], *, most: int = 8) -> int:
    """Returns how many items under way keep the slowest stage busy: the stages' sum over it, and one more."""
    totals = outermost(rows)
    largest = max(totals.values(), default=0.0)
    return 2 if largest <= 0 else max(2, min(most, int(sum(totals.values()) / largest + 0.999) + 1))


def advice(document: Mapping[str, Any], *, run: str) -> list[str]:
    """Returns what to do, most useful first, from the figures of the document."""
    rows: Sequence[Mapping[str, Any]] = document["stages"]
    totals, item = outermost(rows), document["item_ms"]
    found: list[str] = []
    overlap = document["overlap"]
    gained = overlap.get("speedup")
    if gained is not None and gained >= 1.1:
        found.append(
            f"overlap the stages: a pipeline with a thread a stage (or submit() for the model) gets "
            f"{_rate(overlap['measured_per_second'])} a second instead of {_rate(document['per_second'])}, measured"
        )
    elif gained is not None:
        found.append(
            f"overlap alone gains little here ({gained:.2f} x measured): "
            + ("the cores are busy already" if overlap["limit"] == "cores" else f"{overlap['slowest_stage']} limits it")
        )
    slowest = document["bottleneck"]
    if slowest == run:
        found.append(
            "the model is the bottleneck: `strop optimize` makes it faster, `strop explain` says where it is slow"
        )
    elif slowest in _CURES:
        found.append(f"{slowest} is the bottleneck ({totals[slowest] / item:.0%}): {_CURES[slowest]}")
    elif slowest == OVERHEAD:
        found.append("most of the time no stage is marked: mark more of app, to see what it is")
    else:
        found.append(f"{slowest} is the bottleneck ({totals[slowest] / item:.0%}): make that faster first")
    copies = sum(totals.get(name, 0.0) for name in ("copy in", "copy out"))
    if copies > 0.1 * item:
        found.append(f"copies take {copies / item:.0%}: write inputs where the model reads them, and use run_into")
    return found


_CURES = {
    NEXT: "fetch items ahead, in a thread",
    "decode": "decode in more threads or processes, decode at a smaller size, or keep decoded samples",
    "preprocess": "work on whole arrays at once, in place, or in a thread of its own",
    "queue": "requests wait for one another: raise streams",
    "postprocess": "work on whole arrays, or move it into the graph",
}


def _in_order(times: StageTimes) -> list[tuple[tuple[str, ...], float]]:
    """Returns the stages as they first began, each followed by those inside it."""
    paths = list(times.wall)
    first = {path: paths.index(path) for path in paths}

    def place(path: tuple[str, ...]) -> list[int]:
        return [first.get(path[: depth + 1], first[path]) for depth in range(len(path))]

    return sorted(times.wall.items(), key=lambda pair: place(pair[0]))


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cpu_ms(found: InTurn) -> float:
    """Returns milliseconds of processor time an item."""
    return 1e3 * found.cpu_seconds / found.items
