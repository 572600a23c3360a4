"""What a search found after its confirmation, for a terminal: what was gained by what, and the curve."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from strop.report.curve import points_table
from strop.report.tables import add_row, new_table
from strop.report.text import DASH, Document, interval


def afterwards_tables(document: Document) -> Iterator[Table]:
    """Yields a table for each finding that is there."""
    if document.get("ablation"):
        yield ablation_table(document["ablation"])
    if document.get("curve"):
        curve = document["curve"]
        table = points_table(curve, f"{document['label']}: throughput and latency")
        table.caption, table.caption_justify = curve["words"], "left"
        yield table


def ablation_table(ablation: Document) -> Table:
    """Returns each step alone, added to those before it, and why a step has no figure; then all together."""
    table = new_table("gained by what, against the baseline", ("step", "what", "alone", "added"), left=(0, 1))
    for step in ablation["steps"]:
        why = step["why_not"]
        what = step["words"] if why in (None, step["words"]) else f"{step['words']} (alone: {why})"
        add_row(table, step["name"], what, interval(step["alone"]), interval(step["added"]))
    factor = ablation["interaction"]
    shown = DASH if factor is None else f"{factor:.2f}"
    add_row(table, "together", f"the product of the steps alone, times {shown}", DASH, interval(ablation["together"]))
    table.caption, table.caption_justify = ablation["words"], "left"
    return table
