"""A table on the terminal and as CSV, JSON, Markdown and LaTeX; all text is escaped for each.

CSV and JSON hold full numbers and are for programs: give them `RunData.summary` (long) or
`Table.frame()` (wide). The others hold printed numbers and are for people.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import pandas as pd

from bench.records.status import Status
from bench.reporting.tables import Column, Table

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["csv", "latex", "markdown", "plain", "records", "terminal"]

_COLOURS = {
    Status.DONE: "green",
    Status.SKIPPED: "yellow",
    Status.INTERRUPTED: "yellow",
}
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


def terminal(table: Table) -> Group:
    """Give the table and its notes as something that a rich console prints."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in table.columns:
        # Underscores become spaces so that a long header can break.
        title = column.title.replace("_", " ") if column.metric is not None else column.title
        grid.add_column(Text(title), justify="right" if _is_number(column) else "left", overflow="fold")
    for row in table.rows:
        cells = [Text(plain(row.text(column))) for column in table.columns]
        for column, cell in zip(table.columns, cells, strict=True):
            if column.name == "status":
                cell.stylize(_COLOURS.get(Status(cell.plain), "red") if cell.plain in set(Status) else "yellow")
        grid.add_row(*cells)
    notes = [Text(plain(note)) for note in table.notes]
    return Group(*([grid] if table.rows else []), *notes)


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
    lines = [titles, rules, *([_markdown(row.text(column)) for column in table.columns] for row in table.rows)]
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


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_number(column: Column) -> bool:
    return column.metric is not None or column.name in ("n", "time", "seeds")


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", plain(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in plain(text))


def _json(value: object) -> object:
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    if isinstance(value, float) and math.isinf(value):
        return None
    return value.item() if hasattr(value, "item") else value
