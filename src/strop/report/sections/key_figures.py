"""The figures people ask for first, before and after."""

from __future__ import annotations

from dataclasses import dataclass

from strop.report.metric_words import metric_words
from strop.report.phrases import NARROW, NOT_MEASURED, confidence, interval, percent, ratio, ratio_interval, significant
from strop.report.reading import Figure, count, figure, mapping, positive
from strop.report.record import SIDES, Record


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One cell: what it is, its value before (empty where there is one value only) and after, and how sure it is."""

    name: str
    before: str
    after: str
    unit: str
    note: str
    is_main: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether it was not measured."""
        return self.after == NOT_MEASURED


def key_figures(record: Record) -> list[KeyFigure]:
    """Returns the cells of a confirmed record; none where nothing is confirmed."""
    if record.state != "confirmed":
        return []
    cells = []
    if record.speedup is not None and record.gained:
        name = "speed-up" if record.objective == "latency" else "throughput gain"
        note = f"{ratio_interval(record.speedup)}, {confidence(record.speedup)}"
        cells.append(KeyFigure(name, "", ratio(record.speedup.point), "", note, is_main=True))
    cells.append(_pair("latency", record.latency_ms("before"), record.latency_ms("after"), "ms"))
    cells.append(_pair("throughput", record.throughput("before"), record.throughput("after"), "per s"))
    cells += _accuracy(record)
    first = mapping(record.confirmation.get("first_inference_ms"))
    cells.append(_plain("first inference", positive(first.get("before")), positive(first.get("after")), "ms"))
    before, after = (positive(record.side(side).get("peak_memory_mb")) for side in SIDES)
    cells.append(_plain("peak memory", before, after, "MB"))
    return cells


def _pair(name: str, before: Figure | None, after: Figure | None, unit: str) -> KeyFigure:
    if after is None:
        return KeyFigure(name, "", NOT_MEASURED, "", "")
    note = f"{interval(after)}, {confidence(after)}"
    return KeyFigure(name, significant(before.point) if before else "", significant(after.point), unit, note)


def _plain(name: str, before: float | None, after: float | None, unit: str) -> KeyFigure:
    if after is None:
        return KeyFigure(name, "", NOT_MEASURED, "", "")
    note = ""
    if before is not None:
        change = after / before - 1
        note = f"{percent(abs(change))} {'more' if change > 0 else 'less'}" if abs(change) >= 0.005 else "as before"
    return KeyFigure(name, significant(before) if before else "", significant(after), unit, note)


def _accuracy(record: Record) -> list[KeyFigure]:
    accuracy = mapping(record.confirmation.get("accuracy"))
    n = count(accuracy.get("n"))
    agreeing = figure(accuracy.get("agreeing"))
    sample = f"n{NARROW}={NARROW}{n:,}" if n else ""
    if agreeing is not None:
        return [
            KeyFigure(
                "close outputs" if accuracy.get("criterion") == "relative_l2" else "same answers",
                "",
                percent(agreeing.point, 1),
                "",
                sample,
            )
        ]
    before, after = (figure(accuracy.get(side)) for side in ("before", "after"))
    if before is None or after is None:
        return []
    metric = metric_words(accuracy)
    note = f"{metric.interval(after)}, {sample}" if sample else metric.interval(after)
    return [KeyFigure(metric.name, metric.value(before.point), metric.value(after.point), "", note)]
