"""How samples are distributed: a smoothed density, its median with the interval, and the percentiles they earn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from strop.report.charts.intervals import interval_mark
from strop.report.charts.scale import Scale
from strop.report.charts.svg import drawing, percent, tag
from strop.report.reading import Figure

HEIGHT = 92.0
_FOOT = 22.0
"""Below the curve: the median with its interval."""
_POINTS = 160
_NAME = 0.11
"""Of the width, what the name of a percentile takes on a phone."""


def density_row(
    scale: Scale,
    samples: Sequence[float],
    median: Figure | None,
    *,
    label: str,
    kind: str,
    percentiles: Sequence[tuple[str, float]] = (),
) -> Markup:
    """Returns one row: the density of `samples` over the axis, the median's interval below it.

    percentiles: (name, value) of those to mark. Curves are drawn to the same height, as samples may differ in number.
    """
    floor = HEIGHT - _FOOT
    parts = [
        tag("line", class_="grid", x1=percent(scale.at(mark)), x2=percent(scale.at(mark)), y1=0, y2=HEIGHT)
        for mark in scale.marks()
    ]
    parts.append(_curve(scale, samples, floor))
    parts.append(tag("line", class_="floor", x1="0%", x2="100%", y1=floor, y2=floor))
    free = 0.0
    for name, value in sorted(percentiles, key=lambda pair: -pair[1]):
        if scale.holds(value):
            at = scale.at(value)
            place = percent(at)
            parts.append(tag("line", class_="percentile", x1=place, x2=place, y1=floor - 14, y2=floor))
            # The farthest has its name in any case, the others where it does not cover that.
            if not free or at < free - _NAME:
                parts.append(tag("text", name, class_="tick", x=place, y=floor - 18, text_anchor="middle"))
                free = at
    if median is not None:
        parts.append(interval_mark(scale, median, floor + _FOOT / 2, kind=kind))
    return drawing(*parts, height=HEIGHT, label=label, class_=f"row density {kind}")


def range_of_samples(groups: Sequence[Sequence[float]]) -> tuple[float, float, int]:
    """Returns low and high of what is worth drawing, and how many samples lie above: tails must not press the rest.

    Example:
        >>> range_of_samples([[1.0, 1.1, 1.2, 1.3, 90.0]])
        (1.0, 1.9, 1)
    """
    low = min(min(group) for group in groups)
    high = max(min(max(group), _reach(group)) for group in groups)
    return low, high, sum(value > high for group in groups for value in group)


def _reach(samples: Sequence[float]) -> float:
    """Returns how far a distribution is drawn: Tukey's far fence, 3 interquartile ranges above the third quartile."""
    lower, upper = np.percentile(samples, (25, 75))
    return float(upper + 3 * max(upper - lower, 0.02 * upper))


def density(samples: Sequence[float], points: np.ndarray) -> np.ndarray:
    """Returns the Gaussian kernel density of `samples` at `points`, with Silverman's bandwidth.

    Example:
        >>> density([0.0, 0.0], np.array([0.0, 9.0])).round(3).tolist()
        [3.989, 0.0]
    """
    values = np.asarray(samples, float)
    quartiles = np.percentile(values, (25, 75))
    spread = min(float(values.std()), float(quartiles[1] - quartiles[0]) / 1.34) or float(values.std())
    width = max(0.9 * spread * len(values) ** -0.2, float(np.ptp(points)) / 90) or 1.0
    distances = (points[:, None] - values[None, :]) / width
    return np.asarray(np.exp(-0.5 * distances**2).mean(axis=1) / (width * math.sqrt(2 * math.pi)))


def _curve(scale: Scale, samples: Sequence[float], floor: float) -> Markup:
    points = np.linspace(scale.low, scale.high, _POINTS)
    heights = density(samples, points)
    heights = heights / max(float(heights.max()), 1e-300)
    top = 6.0
    line = " ".join(
        f"{100 * scale.at(float(x)):.2f},{floor - (floor - top) * float(y):.1f}"
        for x, y in zip(points, heights, strict=True)
    )
    first, last = (100 * scale.at(float(points[end])) for end in (0, -1))
    area = tag("polygon", class_="area", points=f"{first:.2f},{floor} {line} {last:.2f},{floor}")
    stroke = tag("polyline", class_="outline", points=line)
    # The height is the row's own, so only the width is stretched.
    return tag(
        "svg", area, stroke, viewBox=f"0 0 100 {HEIGHT:g}", preserveAspectRatio="none", width="100%", height=HEIGHT
    )
