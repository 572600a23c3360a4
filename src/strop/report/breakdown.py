"""The table of `strop breakdown`, a bar a stage, and the sentences below it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from strop.report.text import Document, number

BAR = 30


def breakdown_table(document: Document) -> Table:
    """Returns a row a stage with its milliseconds, its share, and a bar as long as its share."""
    name = document["name"].rpartition("/")[2]
    title = f"{name}: {number(document['per_second'])} a second, {document['items']} items in turn"
    table = Table(title=Text(title), title_justify="left")
    for name in ("stage", "ms an item", "share", ""):
        table.add_column(name, justify="left" if name in ("stage", "") else "right", no_wrap=name != "stage")
    for row in document["stages"]:
        name = "  " * row["depth"] + row["name"].rpartition(" > ")[2]
        cells = (name, number(row["ms"]), f"{row['share']:.1%}", bar(row["share"]))
        table.add_row(*(Text(cell) for cell in cells))
    total = (number(document["sum_ms"]), f"{document['sum_ms'] / document['item_ms']:.1%}")
    table.add_row(*(Text(cell, style="bold") for cell in ("wall", *total, "")))
    return table


def breakdown_lines(document: Document) -> list[str]:
    """Returns the gap to the benchmark, synchronous against overlapped, and the advice, a line each."""
    lines = [] if document["gap"] is None else [document["gap"]["words"]]
    benchmark = document["benchmark"]
    if benchmark is not None:
        reused, fresh = benchmark["reused"], benchmark["fresh"]
        ratio = benchmark["fresh_takes_times"]
        lines.append(
            f"the model alone: {number(reused['per_second'])} a second on the same input every time, "
            f"{number(fresh['per_second'])} on fresh inputs with copies "
            f"({ratio['point']:.3f} x the time, {ratio['low']:.3f} to {ratio['high']:.3f})"
        )
    lines.append(f"bottleneck: {document['bottleneck']}")
    overlap = document["overlap"]
    expected = number(overlap["predicted_per_second"])
    if overlap["measured_per_second"] is not None:
        lines.append(
            f"in turn {number(document['per_second'])} a second; overlapped {number(overlap['measured_per_second'])} "
            f"measured with {overlap['workers']} items under way, {expected} predicted from the {overlap['limit']}"
        )
    elif overlap["skipped"]:
        lines.append(f"overlapped: {overlap['skipped']}")
    return [*lines, *(f"try: {text}" for text in document["advice"])]


def bar(share: float, width: int = BAR) -> str:
    """Returns a bar of blocks, `width` long for a share of 1.

    Example:
        >>> bar(0.5, 8), bar(0.26, 4)
        ('████', '█')
    """
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
