"""`kill -9` at 30 random moments, of a worker and of the driver by turns: the tables are those of a run left alone.

Drivers are forked from a process that has imported everything, and so are their workers: starting them anew for each
kill would take minutes. What is started the usual way is killed in tests/commands/test_interruption.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.records.card import read_card
from bench.records.metrics import METRICS
from bench.records.run_data import RunData
from bench.records.status import Status

pytestmark = pytest.mark.slow

_KILLS = 30
_PATIENCE_SECONDS = 60.0
_COSTS = [name for name, metric in METRICS.items() if metric.unit in ("seconds", "bytes")]

_NURSERY = """
import json, multiprocessing, os, signal, sys
import bench.commands.run, bench.running.worker, bench.methods.mend, bench.methods.ft
from bench.cli import main

context = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: context("fork")
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["bench", *json.loads(line)]
        try:
            main()
        except SystemExit as end:
            os._exit(int(end.code or 0))
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(70)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Nursery:
    """Starts drivers one after the other, in a session of their own."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._folder = folder

    def start(self, words: list[str]) -> int:
        """Start a driver; give its process, which is its session, too."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def end(self) -> int:
        """Wait for the driver; give its exit code, negative if it was killed."""
        return int(self._answer())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the nursery is gone"
        return answer


def session(sid: int) -> list[tuple[int, int]]:
    """Give the processes of a session that are no zombies, each with its parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == sid and words[0] != "Z":
            found.append((int(path.parent.name), int(words[1])))
    return found


def wait_for(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def tables(run: Path) -> dict[str, pd.DataFrame]:
    """Give what must be the same in any two runs: answers, scores and summaries of quality, in a fixed order."""
    data = RunData(run)
    assert data.problems == ()
    assert {card.status for card in data.cards.values()} == {Status.DONE}
    where = ["cell", "edit_id", "probe_id", "phase"]
    summary = data.summary[~data.summary["metric"].isin(_COSTS)]
    costs = data.costs
    assert not costs.duplicated(["cell", "phase", "edit_id", "measure"]).any()
    return {
        "answers": data.answers().sort_values(where, ignore_index=True),
        "scores": data.scores.sort_values(["cell", "metric", "edit_id", "step"], ignore_index=True),
        "summary": summary.sort_values(["method", "config", "mode", "metric"], ignore_index=True),
    }


def check_whole(cells: Path) -> None:
    """Every cell that can be seen is whole, to the last byte."""
    for folder in cells.glob("[!.]*"):
        read_card(folder, verify=True)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    found = Nursery(tmp_path)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def words(model_folder: Callable[[str], Path], toy: Path) -> list[str]:
    """A run of 16 small cells: fits with a checkpoint after every step, two modes that do or don't share them."""
    fit = "steps=6,edits_per_step=2,validate_every=3,validation_edits=2"
    methods = f"none,mend[{fit},group_size=2],ft[steps=3],mend[{fit},lr=2e-3]"
    places = ["--models", str(model_folder("causal")), "--datasets", "toy", "--plugin", str(toy)]
    sizes = ["--edits", "4", "--seeds", "2", "--mode", "single,batch:2", "--threads", "1", "--workers", "1"]
    return ["run", "--methods", methods, *places, *sizes, "--checkpoint-minutes", "0", "--run", "r"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_thirty_kills_change_no_table(nursery: Nursery, words: list[str], tmp_path: Path) -> None:
    moments = random.Random(6)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    started = time.monotonic()
    nursery.start([*words, "--results", str(whole)])
    assert nursery.end() == 0, (tmp_path / "log.txt").read_text()
    usual_seconds = time.monotonic() - started
    expected = tables(whole / "r")
    words = [*words, "--results", str(killed)]

    kills = 0
    while kills < _KILLS:
        driver = nursery.start(words)
        first, second = sorted(moments.uniform(0.0, usual_seconds / 3) for _ in range(2))
        time.sleep(first)
        workers = [pid for pid, parent in session(driver) if parent == driver]
        if workers:
            with contextlib.suppress(ProcessLookupError):  # it may have ended just now
                os.kill(workers[0], signal.SIGKILL)
                kills += 1
        time.sleep(second - first)
        if any(pid == driver for pid, _ in session(driver)):
            os.kill(driver, signal.SIGKILL)
            kills += 1
        code = nursery.end()
        wait_for(lambda driver=driver: not session(driver), "a worker outlived its driver")
        check_whole(killed / "r" / "cells")
        if code == 0:  # it was done before it could be killed
            assert_same(tables(killed / "r"), expected)
            shutil.rmtree(killed)
    nursery.start(words)

    assert nursery.end() == 0, (tmp_path / "log.txt").read_text()
    assert_same(tables(killed / "r"), expected)
    assert list((killed / "r" / "cells").glob(".*")) == []
    assert "broken" not in (tmp_path / "log.txt").read_text()


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)
