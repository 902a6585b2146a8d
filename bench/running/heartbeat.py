"""Keeps a run's sign of life up to date, and listens to the run for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from bench.errors import StoreError
from bench.records.card import Card, timestamp
from bench.records.cell import Cell
from bench.records.pulse import BEAT_SECONDS, RunningCell, new_pulse, read_pulse, write_pulse
from bench.running.driver import Observer
from bench.running.task import Progress

__all__ = ["Audience", "Heartbeat", "refuse_second_driver"]


class Heartbeat:
    """Writes, while its block runs, what the cells of a run are doing. It has the methods of an observer.

    Args:
        run: the folder of the run.
        cells: the cells to be computed, by key.
    """

    def __init__(self, run: Path, cells: Mapping[str, Cell]) -> None:
        self._run = run
        self._cells = cells
        self._pulse = new_pulse(to_run=len(cells))
        self._running: dict[str, RunningCell] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        """Begin to beat."""
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Mark the run as ended."""
        self._over.set()
        self._thread.join()
        self._running.clear()
        self._pulse = replace(self._pulse, ended=timestamp())
        self._write()

    def progress(self, progress: Progress) -> None:
        """Note how far a running cell has come."""
        cell = self._cells[progress.key]
        with self._lock:
            before = self._running.get(progress.key)
            self._running[progress.key] = RunningCell(
                key=progress.key,
                title=f"{cell.label}  {cell.model}  {cell.dataset}  {cell.mode}  seed {cell.seed}",
                phase=progress.phase,
                done=progress.done,
                total=progress.total,
                seconds_left=progress.seconds_left,
                since=before.since if before else timestamp(),
            )

    def finished(self, card: Card) -> None:
        """Note that a cell is there."""
        with self._lock:
            self._running.pop(card.key, None)
            if card.key in self._cells:
                self._pulse = replace(self._pulse, computed=self._pulse.computed + 1)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            pulse = replace(self._pulse, running=tuple(self._running.values()))
        write_pulse(self._run, pulse)


class Audience:
    """Several observers of one run."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def progress(self, progress: Progress) -> None:
        """Pass on how far a running cell has come."""
        for observer in self._observers:
            observer.progress(progress)

    def finished(self, card: Card) -> None:
        """Pass on that a cell is there."""
        for observer in self._observers:
            observer.finished(card)


def refuse_second_driver(run: Path) -> None:
    """Check that no other driver computes a run: two would undo each other's half-written cells.

    Raises:
        StoreError: one does.
    """
    pulse = read_pulse(run)
    if pulse is not None and pulse.is_alive and not pulse.is_mine:
        raise StoreError(
            f"run {run.name!r} is being computed by process {pulse.pid} of {pulse.host!r}. `bench status {run.name}` "
            "shows how far it has come; wait for it, or give this run another name with --run."
        )
