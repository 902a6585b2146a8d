"""A table on the terminal and as CSV, JSON, Markdown and LaTeX; all text is escaped for each.

CSV and JSON hold full numbers and are for programs: give them `RunData.summary` (long) or
`Table.frame()` (wide). The others hold printed numbers and are for people.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from bench.records.status import Status
from bench.reporting.tables import Column, Table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as RichTable

__all__ = ["csv", "latex", "markdown", "plain", "records", "terminal"]

_COLOURS = {str(Status.DONE): "green", str(Status.SKIPPED): "yellow", str(Status.INTERRUPTED): "yellow"}
_GAP = 2  # between the columns of the terminal table, characters
_LONGEST_WORD = 20  # characters; longer names are folded if there is no room
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "µ": r"\textmu{}",
}


def terminal(table: Table, width: int) -> Group:
    """Give the table and its notes as something that a rich console prints.

    Args:
        table: what to print.
        width: of the console. Where the table is wider, columns that say the same in every row
            become a line above it; where that does not do, it is cut into several.
    """
    from rich.console import Group
    from rich.text import Text

    columns = table.columns
    above = []
    if not _fits(table, columns, width):
        same = [column for column in columns if _is_constant(table, column)]
        columns = tuple(column for column in columns if column not in same)
        if same:
            above.append(Text(" · ".join(f"{column.name} {plain(table.rows[0].text(column))}" for column in same)))
    grids = [_grid(table, block, width) for block in _blocks(table, columns, width)] if table.rows else []
    return Group(*above, *grids, *(Text(plain(note)) for note in table.notes))


def csv(frame: pd.DataFrame) -> str:
    """Give a frame as CSV with a header; missing numbers are empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def records(frame: pd.DataFrame) -> str:
    """Give a frame as a JSON list of objects; what is missing or no number is null."""
    rows = [{str(name): _json(value) for name, value in row.items()} for row in frame.to_dict("records")]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def markdown(table: Table) -> str:
    """Give the table as Markdown, its notes as a list below."""
    titles = [_markdown(column.title) for column in table.columns]
    rules = ["---:" if _is_number(column) else "---" for column in table.columns]
    lines = [
        titles,
        rules,
        *([_markdown(row.text(column)) for column in table.columns] for row in table.rows),
    ]
    text = [f"| {' | '.join(line)} |" for line in lines]
    notes = [f"- {_markdown(note)}" for note in table.notes]
    return "\n".join([*text, *([""] if notes else []), *notes]) + "\n"


def latex(table: Table) -> str:
    """Give the table as LaTeX; needs the packages booktabs and textcomp, T1 fonts for quotes."""
    align = "".join("r" if _is_number(column) else "l" for column in table.columns)
    head = " & ".join(_latex(column.title) for column in table.columns)
    rows = [" & ".join(_latex(row.text(column)) for column in table.columns) for row in table.rows]
    body = [rf"{row} \\" for row in rows]
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", rf"{head} \\", r"\midrule", *body, r"\bottomrule"]
    notes = [rf"\par\noindent {_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{tabular}", *notes]) + "\n"


def plain(text: str) -> str:
    """Show control characters instead of sending them to a terminal; line ends become spaces."""
    text = re.sub(r"[\r\n\t]+", " ", text)
    return "".join(character if character.isprintable() else _shown(character) for character in text)


def _grid(table: Table, columns: Sequence[Column], width: int) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    # Rich breaks words where a table is too wide, so the widths are dealt out here.
    widths = [_narrowest(table, column) for column in columns]
    wanted = [max(0, _widest(table, column) - narrow) for column, narrow in zip(columns, widths, strict=True)]
    spare = width - sum(widths) - _GAP * (len(columns) - 1)
    for place in sorted(range(len(columns)), key=wanted.__getitem__):
        more = max(0, min(spare, wanted[place]))
        widths[place] += more
        spare -= more
    grid = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for column, column_width in zip(columns, widths, strict=True):
        side: Literal["left", "right"] = "right" if _is_number(column) else "left"
        grid.add_column(Text(_title(column)), justify=side, overflow="fold", width=column_width)
    for row in table.rows:
        cells = [Text(plain(row.text(column))) for column in columns]
        for column, cell in zip(columns, cells, strict=True):
            if column.name == "status":
                cell.stylize(_COLOURS.get(cell.plain, "red"))
        grid.add_row(*cells)
    return grid


def _blocks(table: Table, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Cut the columns into tables that fit, each with the columns that name the row."""
    names = [column for column in columns if column.metric is None and column.name not in ("n", "time")]
    blocks = [names]
    for column in columns:
        if column in names:
            continue
        if _fits(table, [*blocks[-1], column], width) or len(blocks[-1]) == len(names):
            blocks[-1] = [*blocks[-1], column]
        else:
            blocks.append([*names, column])
    return blocks


def _fits(table: Table, columns: Sequence[Column], width: int) -> bool:
    return sum(_narrowest(table, column) for column in columns) + _GAP * (len(columns) - 1) <= width


def _title(column: Column) -> str:
    # Underscores become spaces so that a long header can break.
    return column.title if column.metric is None else column.title.replace("_", " ")


def _texts(table: Table, column: Column) -> list[str]:
    return [_title(column), *(plain(row.text(column)) for row in table.rows)]


def _widest(table: Table, column: Column) -> int:
    # A header may break; what is in the cells is better read in one line.
    return max(len(text) for text in _texts(table, column)[1:])


def _narrowest(table: Table, column: Column) -> int:
    """The longest word of a column, within reason: no narrower without breaking words."""
    return min(_LONGEST_WORD, max(len(word) for text in _texts(table, column) for word in text.split() or [""]))


def _is_constant(table: Table, column: Column) -> bool:
    is_identity = column.metric is None and column.name not in ("method", "status", "n", "time")
    return is_identity and len({row.text(column) for row in table.rows}) == 1


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_number(column: Column) -> bool:
    return column.metric is not None or column.name in ("n", "time", "seeds")


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", plain(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in plain(text))


def _json(value: Any) -> object:
    if pd.isna(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return None
    return value.item() if hasattr(value, "item") else value
