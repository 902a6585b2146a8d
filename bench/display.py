"""Shows a run while it goes on: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.mode import SINGLE
from bench.records.status import Status
from bench.reporting.formats import plain
from bench.reporting.numbers import duration
from bench.running import task

__all__ = ["RunDisplay", "shown_run"]

_COLOURS = {Status.DONE: "green", Status.SKIPPED: "yellow", Status.INTERRUPTED: "yellow"}
_BAR_WIDTH = 10  # characters
_NARROW = 80  # characters; a narrower terminal gets no bars
_WIDE = 100  # characters; a narrower terminal gets no success on the tune split
_REST_WIDTH = len("⠋   fit 600/600 loss 0.123 1.5 min left  0:00:00")  # of a line, without its name and bar
_SUCCESS_WIDTH = len(" success 0.812")
_QUIET_SECONDS = 30.0  # between two plain lines about the same cell


@contextmanager
def shown_run(console: Console, cells: Mapping[str, Cell]) -> Iterator[RunDisplay]:
    """Show the cells of a run, by key, while the block runs."""
    if not console.is_terminal:
        yield RunDisplay(console, cells, None)
        return
    whole = Column(no_wrap=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=whole),
        *((BarColumn(bar_width=_BAR_WIDTH),) if console.width >= _NARROW else ()),
        TextColumn("{task.fields[detail]}", markup=False, table_column=whole),
        TimeElapsedColumn(table_column=whole),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield RunDisplay(console, cells, bars)


class RunDisplay:
    """Prints one line a finished cell, and how far the running ones are.

    Args:
        console: where to print.
        cells: the cells to be computed, by key.
        bars: live bars, or None off a terminal.
    """

    def __init__(self, console: Console, cells: Mapping[str, Cell], bars: Progress | None) -> None:
        self._console = console
        self._cells = cells
        self._bars = bars
        self._running: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._count = 0
        self._all = bars.add_task("cells", total=len(cells), detail=f"0/{len(cells)}") if bars and cells else None

    def progress(self, progress: task.Progress) -> None:
        """Show how far a running cell has come."""
        cell = self._cells[progress.key]
        if self._bars is None:
            now = time.monotonic()
            last = self._said.setdefault(progress.key, now)
            if now - last >= _QUIET_SECONDS:
                self._said[progress.key] = now
                detail = _detail(progress, is_wide=True)
                self._console.print(Text(plain(f"  {_title(cell)}: {detail}")), soft_wrap=True)
            return
        if progress.key not in self._running:
            self._running[progress.key] = self._bars.add_task(self._name(cell), detail="")
        self._bars.update(
            self._running[progress.key],
            completed=progress.done,
            total=progress.total or None,
            detail=_detail(progress, is_wide=self._console.width >= _WIDE),
        )

    def _name(self, cell: Cell) -> str:
        """Give a cell's name, cut so that the numbers beside it have room."""
        name = plain(_title(cell))
        room = self._console.width - _REST_WIDTH - (_BAR_WIDTH + 1 if self._console.width >= _NARROW else 0)
        room -= _SUCCESS_WIDTH if self._console.width >= _WIDE else 0
        return name if len(name) <= room else f"{name[: max(room, 8) - 1]}…"

    def finished(self, card: Card) -> None:
        """Print a cell's line: method model dataset mode status metrics time."""
        self._count += 1
        if self._bars is not None:
            if card.key in self._running:
                self._bars.remove_task(self._running.pop(card.key))
            if self._all is not None:
                self._bars.update(self._all, completed=self._count, detail=f"{self._count}/{len(self._cells)}")
        cell = card.cell
        line = Text(plain(f"{cell.label}  {cell.model}  {cell.dataset}  {cell.mode}  seed {cell.seed}  "))
        line.append(str(card.status), style=_COLOURS.get(card.status, "red"))
        line.append(f"  {duration(card.seconds)}")
        if card.explanation:
            line.append(plain(f"  {card.explanation}"))
        self._console.print(line, soft_wrap=True)


def _title(cell: Cell) -> str:
    return f"{cell.label} {cell.model}" + ("" if cell.mode == SINGLE else f" {cell.mode}")


def _detail(progress: task.Progress, *, is_wide: bool) -> str:
    parts = [progress.phase]
    if progress.total:
        parts.append(f"{progress.done}/{progress.total}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3g}")
    if progress.success is not None and is_wide:
        parts.append(f"success {progress.success:.3f}")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " ".join(parts)
