"""An interval on an axis: a line from low to high, a mark at the point; many of them share one axis, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from strop.report.charts.scale import Scale
from strop.report.charts.svg import drawing, percent, tag
from strop.report.reading import Figure

HEIGHT = 30.0
AXIS_HEIGHT = 24.0


def interval_row(
    scale: Scale,
    figure: Figure | None,
    *,
    label: str,
    kind: str = "",
    reference: float | None = None,
    limit: float | None = None,
    height: float = HEIGHT,
) -> Markup:
    """Returns one row: grid, reference line, interval, mark; without a figure, the row's grid only.

    kind: CSS classes of the mark ("after", "before", "hollow"); limit: a value that is drawn as a line of its own.
    """
    middle = height / 2
    parts = [_upright(scale, mark, height, "grid") for mark in scale.marks()]
    if reference is not None and scale.holds(reference):
        parts.append(_upright(scale, reference, height, "reference"))
    if limit is not None and scale.holds(limit):
        parts.append(_upright(scale, limit, height, "limit"))
    if figure is not None:
        parts.append(interval_mark(scale, figure, middle, kind=kind))
    return drawing(*parts, height=height, label=label if figure is not None else None, class_="row")


def interval_mark(scale: Scale, figure: Figure, middle: float, *, kind: str = "") -> Markup:
    """Returns the interval with its mark at the height `middle`; an end beyond the axis is drawn as an arrow."""
    low, high = scale.at(figure.low), scale.at(figure.high)
    parts = [tag("line", class_="whisker", x1=percent(low), x2=percent(high), y1=middle, y2=middle)]
    for value, place, outwards in ((figure.low, low, -1), (figure.high, high, 1)):
        if scale.holds(value):
            parts.append(
                tag("line", class_="whisker end", x1=percent(place), x2=percent(place), y1=middle - 4, y2=middle + 4)
            )
        else:
            arrow = tag("path", class_="arrow", d=f"M0 -4L{5 * outwards} 0L0 4Z")
            parts.append(tag("svg", arrow, x=percent(place), y=middle, overflow="visible", width=1, height=1))
    if scale.holds(figure.point):
        parts.append(tag("circle", class_="mark", cx=percent(scale.at(figure.point)), cy=middle, r=5))
    return tag("g", *parts, class_=f"interval {kind}".strip())


def axis(scale: Scale, write: Callable[[float], str], *, emphasized: float | None = None) -> Markup:
    """Returns the labels of an axis, to stand above or below its rows; hidden from readers, who get the figures."""
    return drawing(*axis_labels(scale, write, 15, emphasized=emphasized), height=AXIS_HEIGHT, label=None, class_="axis")


def axis_labels(
    scale: Scale, write: Callable[[float], str], baseline: float, *, emphasized: float | None = None
) -> Sequence[Markup]:
    """Returns a label for each mark of the scale, at the height `baseline`."""
    return [
        tag(
            "text",
            write(mark),
            class_="tick strong" if mark == emphasized else "tick",
            x=percent(scale.at(mark)),
            y=baseline,
            text_anchor="middle",
        )
        for mark in scale.marks()
    ]


def _upright(scale: Scale, value: float, height: float, kind: str) -> Markup:
    place = percent(scale.at(value))
    return tag("line", class_=kind, x1=place, x2=place, y1=0, y2=height)
