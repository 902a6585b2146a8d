"""The sign of life of a driver: who is alive, who ended, who was killed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.records.card import timestamp
from bench.records.pulse import FILE, RunningCell, new_pulse, read_pulse, write_pulse


def test_what_was_written_is_read(tmp_path: Path) -> None:
    cell = RunningCell(key="k", title="ft  small", phase="fit", done=3, total=8, seconds_left=4.5, since=timestamp())
    pulse = replace(new_pulse(to_run=9), computed=2, running=(cell,))

    write_pulse(tmp_path, pulse)

    found = read_pulse(tmp_path)
    assert found is not None
    assert replace(found, updated=pulse.updated) == pulse
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_this_process_is_alive_until_it_says_that_it_ended() -> None:
    pulse = new_pulse(to_run=1)

    assert (pulse.is_alive, pulse.is_mine) == (True, True)
    assert not replace(pulse, ended=timestamp()).is_alive


def test_a_process_that_is_gone_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert not replace(new_pulse(to_run=1), pid=child.pid).is_alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say when a process began")
def test_another_process_with_its_number_is_not_taken_for_it() -> None:
    assert not replace(new_pulse(to_run=1), birth="1").is_alive


@pytest.mark.parametrize(
    ("updated", "is_alive"), [("now", True), ("2026-01-01T00:00:00.000+00:00", False), ("soon", False)]
)
def test_a_driver_elsewhere_is_alive_if_it_was_heard_of_lately(updated: str, is_alive: bool) -> None:
    assert (
        replace(new_pulse(to_run=1), host="elsewhere", updated=timestamp() if updated == "now" else updated).is_alive
        == is_alive
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\x80"])
def test_what_can_not_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")

    assert read_pulse(tmp_path) is None


def test_a_full_disk_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    write_pulse(tmp_path, new_pulse(to_run=1))

    assert list(tmp_path.iterdir()) == []
