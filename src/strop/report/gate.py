"""The table of `strop gate`: a row a run, old and new side by side."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from strop.report.text import Document, interval, number

METHODS = {"rerun": "old and new by turns", "probes": "against probe kernels"}


def gate_table(document: Document) -> Table:
    """Returns the runs of a gate: both times, how many times as long the new one takes, what the run says."""
    title = f"{document['model']['name']} against {document['baseline']['file']} of {document['baseline']['created']}"
    table = Table(title=Text(title), title_justify="left")
    for name in ("how", "old ms", "new ms", "new over old", "says"):
        table.add_column(name, justify="left" if name in ("how", "says") else "right", overflow="fold")
    for part in document["parts"]:
        for run in part["runs"]:
            cells = (interval(run["old_ms"]), interval(run["new_ms"]), interval(run["slowdown"], 4), run["verdict"])
            table.add_row(*(Text(cell) for cell in (METHODS[part["method"]], *cells)))
    outputs = document["outputs"]
    words = "not compared" if outputs is None else "the same" if outputs["same"] else "changed"
    distance = "" if outputs is None else f", relative L2 {number(outputs['relative_l2'], 2)}"
    table.caption = f"outputs: {words}{distance}; margin {document['margin']:.3g}"
    table.caption_justify = "left"
    return table
