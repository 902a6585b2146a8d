"""Ctrl-C and `kill -9` in the middle of a run: what was finished stays, nothing is torn, no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # a driver and a worker import torch

Bench = Callable[..., Any]
_PATIENCE_SECONDS = 120.0

# Where the tests themselves run in a shell's background, their children are born deaf to Ctrl-C.
_MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from bench.cli import main
main()
"""

# Its preparation never ends while the file `hang` is there; it says which process it runs in.
_HANGING = """
@classmethod
def prepare(cls, lm, config, data):
    from pathlib import Path
    folder = Path(__file__).parent
    while (folder / "hang").exists():
        (folder / "worker").write_text(f"{os.getpid()}\\n")
        time.sleep(0.01)
    return State()

def edit(self, requests, *, memory, generator):
    return WeightEdit(changes={})
"""


def wait_for(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def command(options: list[object], editor_file: Callable[[str, str], Path]) -> list[str]:
    """A run of two cells in a worker process: the control, and one that hangs while the file `hang` is there."""
    words = [word for word in options if word != "--in-process"]
    return list(map(str, [*words, "--methods", "none,hanging", "--plugin", editor_file("hanging", _HANGING)]))


@pytest.fixture
def driver(bench: Bench, command: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """That run, in a process group of its own as a shell starts it, when its second cell hangs."""
    (tmp_path / "hang").touch()
    child = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        worker = tmp_path / "worker"
        wait_for(lambda: child.poll() is not None or (worker.exists() and worker.read_text()), "the run never began")
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_what_was_finished_stays_and_is_not_computed_again(
    how: str, driver: subprocess.Popen[str], bench: Bench, command: list[str], tmp_path: Path
) -> None:
    worker = int((tmp_path / "worker").read_text())
    if how == "Ctrl-C":
        os.killpg(driver.pid, signal.SIGINT)  # a terminal sends it to the workers, too
    else:
        driver.kill()
    out, err = driver.communicate(timeout=_PATIENCE_SECONDS)

    wait_for(lambda: not is_alive(worker), "the worker is still there")
    (done,) = Path("out/r/cells").iterdir()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in done.iterdir()}
    (tmp_path / "hang").unlink()
    again = bench(*command, "--in-process")

    assert "done" in out.splitlines()[1]
    if how == "Ctrl-C":
        assert driver.returncode == 130
        last = "interrupted: finished cells and checkpoints of fits stay; the same command goes on from there."
        assert out.splitlines()[-1] == last
        assert err == ""
    assert again.code == 0
    assert "2 cells (1 to run, 1 cached, 0 skipped)" in again.out
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in done.iterdir()} == before
    assert sorted(path.name.split("-")[0] for path in Path("out/r/cells").iterdir()) == ["hanging", "none"]
