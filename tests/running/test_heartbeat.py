"""A run leaves a sign of life that says what it is doing, and marks its end however it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.pulse import read_pulse
from bench.records.store import Store
from bench.running import heartbeat
from bench.running.driver import run_sweep, survey
from bench.running.engine import InProcessEngine
from bench.running.heartbeat import Audience, Heartbeat
from bench.running.sweep import Sweep, plan
from bench.running.task import Progress


class Listener:
    """Reads the sign of life whenever it is told of something."""

    def __init__(self, run: Path, beat: Heartbeat) -> None:
        self._run = run
        self._beat = beat
        self.seen: list[tuple[str, ...]] = []

    def progress(self, progress: Progress) -> None:
        self._look()

    def finished(self, card: Card) -> None:
        self._look()

    def _look(self) -> None:
        self._beat._write()
        pulse = read_pulse(self._run)
        assert pulse is not None
        self.seen.append((str(pulse.computed), *(f"{cell.phase} {cell.done}/{cell.total}" for cell in pulse.running)))


def test_it_says_what_each_cell_is_doing_and_how_many_are_done(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    store, wanted = Store(tmp_path), sweep(seeds=2)
    run = store.start("r", wanted.to_toml())
    todo = survey(plan(wanted), store, "r")

    with Heartbeat(run, {cell.key: cell for cell in todo.to_run}) as beat:
        listener = Listener(run, beat)
        run_sweep(wanted, todo, store, "r", InProcessEngine(), Audience(beat, listener))

    assert listener.seen[0] == ("0", "load 0/0")
    assert ("0", "evaluate 4/4") in listener.seen
    assert ("1",) in listener.seen
    assert listener.seen[-1] == ("2",)
    pulse = read_pulse(run)
    assert pulse is not None
    assert pulse.ended is not None
    assert (pulse.to_run, pulse.computed, pulse.running) == (2, 2, ())


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError])
def test_an_end_by_an_error_is_an_end(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), Heartbeat(tmp_path, {}):
        raise error

    pulse = read_pulse(tmp_path)
    assert pulse is not None
    assert not pulse.is_alive


def test_it_beats_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    beaten = threading.Event()
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    cells: dict[str, Cell] = {}
    with Heartbeat(tmp_path, cells):
        monkeypatch.setattr(heartbeat, "write_pulse", lambda run, pulse: beaten.set())

        assert beaten.wait(timeout=30)
