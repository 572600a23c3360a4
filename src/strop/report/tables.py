"""Tables of plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text


def new_table(title: str, columns: Sequence[str], *, left: Sequence[int], unbroken: Sequence[int] = ()) -> Table:
    """Returns an empty table; left: the columns set flush left; unbroken: those that are never broken over lines."""
    table = Table(title=Text(title), title_justify="left")
    for index, name in enumerate(columns):
        justify: Literal["left", "right"] = "left" if index in left else "right"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=index in unbroken)
    return table


def add_row(table: Table, *cells: str) -> None:
    """Adds a row of plain text: to rich, `[batch, 3]` in a string would be markup, and vanish."""
    table.add_row(*(Text(cell) for cell in cells))
