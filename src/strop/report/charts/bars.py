"""Bars: one with a part of it filled, and one that is divided into parts."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from strop.report.charts.svg import drawing, percent, tag

HEIGHT = 22.0


def filled_bar(share: float, filled: float | None, *, label: str) -> Markup:
    """Returns a bar of `share` of the width; `filled` (0 to 1) of it is solid, all of it where that is None."""
    width = max(0.004, min(1.0, share))
    parts = [tag("rect", class_="bar room", x=0, y=4, width=percent(width), height=14, rx=2)]
    solid = width if filled is None else width * min(1.0, max(0.0, filled))
    if solid > 0:
        kind = "bar plain" if filled is None else "bar solid"
        parts.append(tag("rect", class_=kind, x=0, y=4, width=percent(solid), height=14, rx=2))
    return drawing(*parts, height=HEIGHT, label=label, class_="bars")


def divided_bar(parts: Sequence[tuple[str, float]], whole: float, *, label: str, kind: str) -> Markup:
    """Returns the parts (name, size) side by side, `whole` being all of the width; each has a tint of its own."""
    marks, start = [], 0.0
    for index, (name, size) in enumerate(parts):
        width = size / whole
        marks.append(
            tag(
                "rect",
                tag("title", name),
                class_=f"part tint{index % 5}",
                x=percent(start),
                y=3,
                width=percent(max(0.0, width - 0.003)),
                height=20,
                rx=2,
            )
        )
        start += width
    return drawing(*marks, height=26, label=label, class_=f"bars {kind}")
