"""A disk that is full stops a run with one sentence; nothing is torn, and with room it goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.records.card import read_card
from bench.records.run_data import RunData

pytestmark = pytest.mark.slow

_SIZE = 256 * 1024  # bytes: room for the first cells of the run, not for all


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a few hundred kilobytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def command(model_folder: Callable[[str], Path], toy: Path) -> list[str]:
    places = ["--models", str(model_folder("causal")), "--datasets", "toy", "--plugin", str(toy), "--run", "r"]
    words = ["run", "--methods", "none", "--edits", "4", "--seeds", "16", "--threads", "1", "--in-process", *places]
    return [sys.executable, "-c", "from bench.cli import main; main()", *words]


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(small_disk: Path, command: list[str], tmp_path: Path) -> None:
    command = [*command, "--results", str(small_disk)]

    full = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    cells = list((small_disk / "r" / "cells").iterdir())
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    subprocess.run(["mount", "-o", f"remount,size={64 * _SIZE}", str(small_disk)], check=True)
    roomy = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (full.returncode, again.returncode, roomy.returncode) == (2, 2, 0), (full.stderr, roomy.stderr)
    for said in (full, again):
        assert said.stderr.startswith("bench: ")
        assert "No space left on device. Make room or choose a folder" in said.stderr
        assert len(said.stderr.splitlines()) == 1
    assert 0 < len(cells) < 16
    for folder in cells:
        assert not folder.name.startswith(".")
        read_card(folder, verify=True)
    run = RunData(small_disk / "r")
    assert (len(run.cards), run.problems) == (16, ())
    assert "(0 to run, 16 cached" not in roomy.stdout
    assert "moved" not in roomy.stdout


def test_a_limit_on_the_size_of_files_is_told_in_the_same_way(command: list[str], tmp_path: Path) -> None:
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from bench.cli import main; main()"
    )
    command = [*command[:2], limited, *command[3:], "--results", "out"]

    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert said.returncode == 2, said.stderr
    assert "can not be written: " in said.stderr
    assert "File too large. Make room" in said.stderr
    assert list((tmp_path / "out" / "r" / "cells").iterdir()) == []
