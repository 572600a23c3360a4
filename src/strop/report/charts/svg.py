"""Builds SVG elements; whatever is put in is escaped."""

from __future__ import annotations

from markupsafe import Markup, escape


def tag(name: str, *inside: str, **attributes: str | float | None) -> Markup:
    """Returns an element; in attributes' names an underscore is a hyphen, one at the end is dropped; None is left out.

    Example:
        >>> str(tag("text", "a < b", x=1.5, class_="small"))
        '<text x="1.5" class="small">a &lt; b</text>'
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, Markup("").join(map(escape, inside)))


def drawing(*inside: str, height: float, label: str | None, class_: str = "") -> Markup:
    """Returns an <svg> as wide as its place; label: what it says to those who cannot see it (None: nothing)."""
    described: dict[str, str] = {"aria_hidden": "true"} if label is None else {"role": "img", "aria_label": label}
    kind = f"chart {class_}".strip()
    return tag("svg", *inside, class_=kind, width="100%", height=height, focusable="false", **described)


def percent(position: float) -> str:
    """Returns a share of the width, 0 to 1, as a percentage."""
    return f"{100 * position:.2f}%"


def _value(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
