"""Where the time of the confirmed form goes: its operations against what this machine attains.

Of the engine `native` it is what `strop explain` finds; of others it is their own profile, with the limit worked out
from the model's arithmetic and bytes. Measured in a worker: a crash there costs this finding and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strop.errors import LimitError, NotSupportedError, StropError
from strop.machine import machine
from strop.measure.worker import Worker

if TYPE_CHECKING:
    from strop.compiler.probe import Attainable
    from strop.engines.contract import OperationTime
    from strop.engines.remote import RemoteModel
    from strop.model.cost import NodeCost
    from strop.model.model import Model
    from strop.optimize.afterwards import Confirmed
    from strop.optimize.job import Job

PROFILE_SECONDS = 0.05
"""Of requests in one profile, about: short, so that few are interrupted."""
PROFILES = 9
LONGEST_SECONDS = 6.0
"""Of all profiles together; each starts the engine anew."""
LEAST_SECONDS = 4.0
"""What profiling takes beside the start of a worker."""
_MULTIPLIES = re.compile(r"conv|matmul|gemm|fullyconnected|lstm|gru|rnn|einsum", re.I)
FACTORY = "strop.optimize.layers:open_explainer"


def layers(job: Job, confirmed: Confirmed) -> Mapping[str, object] | None:
    """Returns `engine`, `threads`, `rows`, `foreign` and `words`; None where the engine has no profile.

    A row has name, kind, ms, share (of all rows), percent_of_limit and bound ("arithmetic" or "memory"), the
    last two None where they are not known. foreign: the segments that `native` leaves to another
    engine, which are among the rows, too. Raises LimitError (`limit.budget`) where the time is short.
    """
    spec, settings = confirmed.form.spec, confirmed.report["settings"]
    needed = LEAST_SECONDS + 1.5 * job.opening_seconds(spec.engine)
    if job.budget.remaining < needed:
        raise LimitError(
            "limit.budget",
            "no time is left to time its operations",
            got=f"{max(0.0, job.budget.remaining):.0f} s left",
            expected=f"about {needed:.0f} s",
            hint="give a larger --budget, or run `strop explain`",
        )
    threads = max(1, int(settings.get("threads") or 1) // int(settings.get("streams") or 1))
    if spec.engine == "native" and spec.batch == 1:
        try:
            return _explained(job, confirmed, threads)
        except NotSupportedError:
            pass  # free sizes: the profile still tells
    return _profiled(job, confirmed, threads)


class Explainer:
    """What lives in the worker: explains the model in a file."""

    def __init__(self, path: str):
        self._path = path

    def explain(self, isa: str | None, winograd: str, threads: int) -> dict[str, Any]:
        """Returns the document of `strop explain`."""
        from strop.engines.native.explain import explain

        return explain(Path(self._path), isa=isa, winograd="off" if winograd == "off" else "auto", threads=threads)

    def close(self) -> None:
        """Has nothing to close."""


def open_explainer(*, path: str) -> Explainer:
    """Returns the explainer of the model in the file `path`, for a worker."""
    return Explainer(path)


def _explained(job: Job, confirmed: Confirmed, threads: int) -> dict[str, object]:
    settings = confirmed.report["settings"]
    worker = Worker(FACTORY, {"path": str(job.saved(confirmed.form.model))}, timeout=job.budget.patience)
    try:
        found = worker.call(
            "explain",
            isa=settings.get("isa") if isinstance(settings.get("isa"), str) else None,
            winograd=str(settings.get("winograd", "auto")),
            threads=threads,
        ).value
    finally:
        worker.close()
    rows = [_explained_row(row, found["attainable"], found["isa"], threads) for row in found["operations"]]
    foreign = [
        {"nodes": len(part["nodes"]), "ms": part["ms"], "engine": part["engine"], "reason": part["reason"]}
        for part in found["segments"]
        if part["engine"] != "native"
    ]
    rows += [
        _row(f"{part['nodes']} node(s) on {part['engine']}", "not native", part["ms"], None, None) for part in foreign
    ]
    words = (
        f"native on {_threads(threads)}, random inputs, one operation timed after the other; the limit of an operation "
        f"is the longer of its arithmetic and its bytes at {_times_threads(threads)}what one thread attains here."
    )
    return _fact("native", threads, rows, words, foreign)


def _explained_row(row: Mapping[str, Any], attainable: Mapping[str, Any], isa: str, threads: int) -> dict[str, object]:
    percent = row["percent_of_limit"]
    if percent is None:
        return _row(row["name"], row["kernel"], row["ms"], None, None)
    limit = percent / 100 * row["ms"] / 1e3
    rates = [rate for kind in ("flops", "int8") if (rate := attainable[kind].get(isa))]
    # The limit is one of the two: where it is the arithmetic's, it is that at one of the rates.
    of_arithmetic = any(abs(row["flops"] / rate - limit) <= 1e-3 * limit for rate in rates)
    return _row(row["name"], row["kernel"], row["ms"], percent / threads, "arithmetic" if of_arithmetic else "memory")


def _profiled(job: Job, confirmed: Confirmed, threads: int) -> dict[str, object] | None:
    from strop.compiler.probe import attainable
    from strop.model.cost import node_costs

    spec, inputs = confirmed.form.spec, _in_a_request(job.timed_inputs[0], confirmed.form.spec.batch)
    try:
        with confirmed.open_after(job) as opened:
            profile, times = _several_profiles(job, opened.remote, inputs, confirmed.form.latency.point * spec.batch)
    except NotSupportedError:
        return None
    ran = [row for row in profile if row.status == "EXECUTED" and row.milliseconds > 0]
    if not ran:
        return None
    costs: Mapping[str, NodeCost] = {}
    # In INT8 what an engine moves and multiplies is no longer what the nodes say.
    if spec.precision == "f32":
        try:
            costs = {cost.name: cost for cost in node_costs(confirmed.form.model, inputs)}
        except StropError:
            costs = {}
    limits = attainable() if costs else None
    idle = {name for row in profile if row.status == "NOT_RUN" for name in row.origin}
    fused = _fused_before(confirmed.form.model, idle)
    rows = []
    for one in ran:
        origin = list(dict.fromkeys([*one.origin, *(name for own in one.origin for name in fused(own))]))
        limit, bound = _limit(one.kind, [costs[name] for name in origin if name in costs], limits, threads)
        percent = None if limit is None else 100 * limit / (one.milliseconds / 1e3)
        rows.append(_row(_name(one.name, origin, costs), one.kind, one.milliseconds, percent, bound))
    words = f"{spec.engine}'s own profile on {_threads(threads)}, the median of {times} profiles; profiling has a cost."
    if limits is not None:
        words += (
            " The limit is the longer of the arithmetic and the bytes of what the operation came from, at "
            f"{_times_threads(threads)}what one thread attains here."
        )
    return _fact(spec.engine, threads, rows, words, [])


def _several_profiles(
    job: Job, remote: RemoteModel, inputs: Mapping[str, np.ndarray], seconds: float
) -> tuple[list[OperationTime], int]:
    """Returns a profile with the median time of each operation, and how many profiles that is the median of.

    An engine's profile is a mean, which a single interruption spoils.
    """
    repeats = int(min(20, max(2, PROFILE_SECONDS / max(seconds, 1e-6))))
    began = job.budget.elapsed
    found = [remote.profile(inputs, repeats=repeats)]
    while len(found) < PROFILES and (len(found) + 1) * (job.budget.elapsed - began) / len(found) < LONGEST_SECONDS:
        found.append(remote.profile(inputs, repeats=repeats))
    same = [profile for profile in found if [row.name for row in profile] == [row.name for row in found[0]]]
    rows = [
        replace(row, milliseconds=float(np.median([profile[index].milliseconds for profile in same])))
        for index, row in enumerate(found[0])
    ]
    return rows, len(same)


def _fused_before(model: Model, not_run: Set[str]) -> Callable[[str], list[str]]:
    """Returns a function that gives the nodes that went into a node: those before it that did not run by themselves.

    An engine may call a fused operation by its last node only.
    """
    nodes = {node.name: node for node in model.to_proto().graph.node}
    makers = {output: node.name for node in nodes.values() for output in node.output if output}

    def before(name: str) -> list[str]:
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            node = nodes.get(waiting.pop())
            makers_of_inputs = [makers[one] for one in node.input if one in makers] if node is not None else []
            new = [maker for maker in makers_of_inputs if maker in not_run and maker not in found]
            found |= dict.fromkeys(new)
            waiting += new
        return list(found)

    return before


def _limit(
    kind: str, costs: Sequence[NodeCost], attainable: Attainable | None, threads: int
) -> tuple[float | None, str | None]:
    """Returns the least seconds of an operation that stands for these nodes, and what bounds it; None where unknown.

    What lies between fused nodes need not be moved, so the bytes are those of the largest node alone. An operation of
    a kind that multiplies, but of nodes that do not (or the other way round), is not what its name says: unknown.
    """
    known = [cost for cost in costs if cost.macs is not None]
    rate = attainable.flops.get(machine().isa) if attainable else None
    if attainable is None or not known or not rate:
        return None, None
    if bool(_MULTIPLIES.search(kind)) != any(cost.macs for cost in known):
        return None, None
    arithmetic = 2 * sum(cost.macs or 0 for cost in known) / rate
    size = max((cost.bytes_read or 0) + (cost.bytes_written or 0) for cost in known)
    width = attainable.bandwidth.get(_level(size), 0.0)
    moved = size / width if width else 0.0
    if not arithmetic and not moved:
        return None, None
    return max(arithmetic, moved) / threads, "arithmetic" if arithmetic >= moved else "memory"


def _level(size: int) -> str:
    """Returns the nearest cache level that holds so many bytes."""
    caches = machine().caches
    return next(
        (level for level, name in (("L1", "L1d"), ("L2", "L2"), ("L3", "L3")) if size < caches.get(name, 0)), "memory"
    )


def _in_a_request(sample: Mapping[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """Returns a request of `batch` times the sample; only models whose first sizes are free are batched."""
    return {name: np.concatenate([array] * batch) if batch > 1 else array for name, array in sample.items()}


def _name(own: str, origin: Sequence[str], costs: Mapping[str, NodeCost]) -> str:
    """Returns the name of the node with most arithmetic that it came from, and how many more it stands for."""
    if not origin:
        return own
    main = max(origin, key=lambda name: costs[name].macs or 0 if name in costs else 0)
    more = len(origin) - 1
    return main + (f" and {more} more" if more else "")


def _row(name: str, kind: str, ms: float, percent: float | None, bound: str | None) -> dict[str, object]:
    return {"name": name, "kind": kind, "ms": ms, "percent_of_limit": percent, "bound": bound}


def _fact(
    engine: str, threads: int, rows: list[dict[str, Any]], words: str, foreign: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    whole = sum(row["ms"] for row in rows)
    for row in rows:
        row["share"] = row["ms"] / whole if whole else None
    rows.sort(key=lambda row: -row["ms"])
    return {
        "engine": engine,
        "threads": threads,
        "rows": rows,
        "foreign": list(foreign),
        "words": words,
    }


def _threads(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _times_threads(threads: int) -> str:
    return "" if threads == 1 else f"{threads} times "
