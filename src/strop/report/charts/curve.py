"""Points in a plane, throughput across and latency up, joined where only the load differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from strop.report.charts.intervals import axis_labels
from strop.report.charts.scale import Scale
from strop.report.charts.svg import drawing, percent, tag

HEIGHT = 320.0
_MANY = 12
_TOP, _FOOT = 22.0, 40.0


@dataclass(frozen=True, slots=True)
class Point:
    """A measured point: its number in the table, what it is (points of one series are joined), where it lies."""

    number: int
    series: str
    across: float
    up: float
    is_emphasized: bool = False


def curve(
    points: Sequence[Point],
    across: Scale,
    up: Scale,
    *,
    label: str,
    write_across: Callable[[float], str],
    write_up: Callable[[float], str],
) -> Markup:
    """Returns the plane with its points, numbered."""

    def height(value: float) -> float:
        return HEIGHT - _FOOT - (HEIGHT - _FOOT - _TOP) * up.at(value)

    parts: list[Markup] = []
    for mark in up.marks():
        parts.append(tag("line", class_="grid", x1="0%", x2="100%", y1=height(mark), y2=height(mark)))
        parts.append(tag("text", write_up(mark), class_="tick", x=2, y=height(mark) - 4))
    parts += axis_labels(across, write_across, HEIGHT - _FOOT + 20)
    for name in dict.fromkeys(point.series for point in points):
        line = sorted((point for point in points if point.series == name), key=lambda point: point.across)
        places = " ".join(f"{100 * across.at(point.across):.2f},{height(point.up):.1f}" for point in line)
        parts.append(
            tag(
                "svg",
                tag("polyline", class_="outline", points=places),
                viewBox=f"0 0 100 {HEIGHT:g}",
                preserveAspectRatio="none",
                width="100%",
                height=HEIGHT,
            )
        )
    radius = 9 if len(points) <= _MANY else 7.5
    for point in points:
        x, y = percent(across.at(point.across)), height(point.up)
        kind = "spot sweet" if point.is_emphasized else "spot"
        parts.append(tag("circle", class_=kind, cx=x, cy=y, r=radius + 2 * point.is_emphasized))
        parts.append(tag("text", str(point.number), class_=f"{kind} number", x=x, y=y + 4, text_anchor="middle"))
    return drawing(*parts, height=HEIGHT, label=label, class_="plane")
