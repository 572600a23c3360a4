"""Where accuracy was lost: by class, or by groups the user names. An average may hold while one class falls apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from strop.measure.statistics import paired_difference
from strop.quality.contract import Metric
from strop.quality.evaluate import Evaluation
from strop.quality.hits import are_classes, hits

FEWEST = 10
"""Below this many samples a slice says too little to be called the worst."""
MOST_ROWS = 50
OUTSIDE = "(no group)"


@dataclass(frozen=True, slots=True)
class Slice:
    """One class or group: its value before and after, and how much was lost.

    worse: the interval of the drop, at 95 % for all slices together (Bonferroni), lies above zero. low, high are None
    where the metric is no ratio of sums.
    """

    name: str
    n: int
    before: float
    after: float
    drop: float
    low: float | None
    high: float | None

    @property
    def worse(self) -> bool:
        """Whether the loss is more than luck."""
        return self.low is not None and self.low > 0

    def to_json(self) -> dict[str, object]:
        """Returns the slice as a JSON object, rounded."""
        figures = {name: getattr(self, name) for name in ("before", "after", "drop", "low", "high")}
        rounded = {name: None if value is None else round(value, 6) for name, value in figures.items()}
        return {"slice": self.name, "n": self.n, **rounded}


def slices_report(
    a: Evaluation, b: Evaluation, groups: Mapping[str, str] | None = None, *, level: float = 0.95
) -> dict[str, object] | None:
    """Returns the slices of b against a as a JSON object, the worst loss first; None where there is nothing to slice.

    groups: the group of each sample, by key; without it the slices are the classes of the targets. Of a metric that is
    of all samples together (F1, a correlation), a class's figure is the share of its samples that are right.
    """
    if groups is None and (not are_classes(a.targets) or hits(a) is None or hits(b) is None):
        return None
    names = [OUTSIDE if groups is None else groups.get(key, OUTSIDE) for key in a.keys]
    if groups is None:
        names = [str(target) for target in a.targets]
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    if len(members) < 2:
        return None
    figure = _figure(a, b, by_class=groups is None)
    inside = 1 - (1 - level) / len(members)
    found = [figure.of(name, np.array(places), inside) for name, places in members.items()]
    found.sort(key=lambda one: (one.n < FEWEST, -one.drop, one.after if figure.higher_is_better else -one.after))
    worst = found[0] if found[0].n >= FEWEST else None
    by = "class" if groups is None else "group"
    return {
        "by": by,
        "metric": figure.name,
        "total": len(found),
        "fewest": FEWEST,
        "worst": None if worst is None else worst.to_json() | {"worse": worst.worse},
        "rows": [one.to_json() for one in found[:MOST_ROWS]],
        "words": _words(by, figure.name, found, worst),
    }


@dataclass(frozen=True, slots=True)
class _Figure:
    """What is worked out of each slice: a ratio of the rows of both sides, or, without rows, the metric itself."""

    name: str
    higher_is_better: bool
    rows: tuple[np.ndarray, np.ndarray] | None
    metrics: tuple[Metric, Metric]

    def of(self, name: str, places: np.ndarray, level: float) -> Slice:
        sign = -1.0 if self.higher_is_better else 1.0
        low: float | None = None
        high: float | None = None
        if self.rows is None:
            before, after = (metric.value_of(places) for metric in self.metrics)
        else:
            first, second = (side[places] for side in self.rows)
            before, after = (float(side[:, 0].sum() / max(side[:, 1].sum(), 1e-12)) for side in (first, second))
            if np.isfinite([first, second]).all() and first[:, 1].sum() > 0:
                difference = paired_difference(first, second, level=level).difference
                low, high = sorted((sign * difference.low + 0.0, sign * difference.high + 0.0))
        return Slice(name, len(places), before, after, sign * (after - before) + 0.0, low, high)


def _figure(a: Evaluation, b: Evaluation, *, by_class: bool) -> _Figure:
    metrics = (a.metric, b.metric)
    if a.rows is not None and b.rows is not None:
        return _Figure(a.metric.name, a.metric.higher_is_better, (a.rows, b.rows), metrics)
    before, after = (hits(a), hits(b)) if by_class else (None, None)
    if before is None or after is None:
        return _Figure(a.metric.name, a.metric.higher_is_better, None, metrics)
    ones = np.ones(a.n)
    return _Figure("right", True, (np.column_stack([before, ones]), np.column_stack([after, ones])), metrics)


def _words(by: str, metric: str, found: Sequence[Slice], worst: Slice | None) -> str:
    plural = {"class": "classes", "group": "groups"}[by]
    if worst is None:
        most = max(one.n for one in found)
        return (
            f"{len(found)} {plural}, none with {FEWEST} samples or more (at most {most}): too few to name a worst one"
        )
    if worst.drop <= 0:
        return f"no {by} of {len(found)} lost anything in {metric}"
    sure = "more than luck" if worst.worse else f"within what luck does to the worst of {len(found)}"
    if worst.low is None:
        sure = "no interval for this metric"
    return (
        f"worst {by}: {worst.name}, {metric} {worst.before:.4g} -> {worst.after:.4g} on {worst.n} samples "
        f"(of {len(found)} {plural}; {sure})"
    )
