"""Ray actors give the numbers of local workers, and one that dies, hangs or is damaged costs its cell only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("ray.exceptions", reason="the extra editbench[ray] is not installed")

import ray  # where it is missing, this file ends above

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.records.store import Store
from bench.running.driver import run_sweep, survey
from bench.running.engine import LocalEngine
from bench.running.ray_engine import RayEngine, _connected, _Share
from bench.running.sweep import Sweep, plan
from bench.running.task import Checkpoint, Message, Outcome, Progress, Task

slow = pytest.mark.slow  # Ray and its workers take seconds to start

CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]
_PATIENCE_SECONDS = 120.0

# Where the tests themselves run in a shell's background, their children are born deaf to Ctrl-C.
_MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from bench.cli import main
main()
"""


def nothing(message: Message) -> None:
    pass


class Listener:
    """Hears and says nothing."""

    def progress(self, progress: Progress) -> None:
        pass

    def finished(self, card: Card) -> None:
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray with room for two workers, which engines find there and leave there."""
    with _connected("", 2):
        yield
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.fixture
def task(toy: Path, tmp_path: Path) -> Callable[[Cell], Task]:
    """Make the task of a cell, with every plug-in file that the test wrote."""
    return lambda cell: Task(cell=cell, plugins=tuple(sorted(tmp_path.glob("*.py"))), checkpoint_minutes=0)


def by_key(outcomes: Iterator[tuple[Cell, Outcome]]) -> dict[str, Outcome]:
    return {cell.key: outcome for cell, outcome in outcomes}


@slow
def test_two_actors_give_the_scores_of_two_local_workers_bit_for_bit(
    cluster: None, cells: CellMaker, task: Callable[[Cell], Task]
) -> None:
    todo = cells(methods=("mend", "none"), seeds=2)
    said: list[Message] = []

    here = by_key(LocalEngine(2).run(todo, task, nothing))
    there = by_key(RayEngine(2).run(todo, task, said.append))

    assert set(here) == set(there) == {cell.key for cell in todo}
    for key, outcome in here.items():
        assert outcome.result.status is Status.DONE
        for table in ("answers", "scores"):
            pd.testing.assert_frame_equal(
                outcome.result.tables[table], there[key].result.tables[table], check_exact=True
            )
        assert outcome.fitted is None or outcome.fitted.tensors == there[key].fitted.tensors
    assert {message.key for message in said} == set(here)
    assert {message.key for message in said if isinstance(message, Checkpoint)} == {
        cell.key for cell in todo if cell.method == "mend"
    }


@slow
def test_a_cell_whose_actor_was_killed_is_computed_again_and_the_run_completes(
    cluster: None, sweep: Callable[..., Sweep], editor_file: EditorFile, tmp_path: Path, capsys: Any
) -> None:
    killed_once = f"""
    def edit(self, requests, *, memory, generator):
        from pathlib import Path
        if not Path({str(tmp_path / "killed")!r}).exists():
            Path({str(tmp_path / "killed")!r}).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return WeightEdit(changes={{}})
    """
    wanted = sweep(methods=("killed", "none"), plugins=(editor_file("killed", killed_once),))
    said: list[str] = []
    store = Store(tmp_path / "results", report=said.append)
    store.start("r", wanted.to_toml())

    cards = run_sweep(wanted, survey(plan(wanted), store, "r"), store, "r", RayEngine(1), Listener())

    assert [(card.cell.method, card.status) for card in cards] == [("none", Status.DONE), ("killed", Status.DONE)]
    assert "the second attempt; at the first one the worker process ended in phase" in cards[1].notes[-1]
    assert len(said) == 1
    assert capsys.readouterr().out == ""  # Ray keeps quiet about it


@slow
def test_what_hangs_is_ended_with_its_stack_and_what_is_damaged_is_replaced(
    cluster: None, cells: CellMaker, task: Callable[[Cell], Task], editor_file: EditorFile
) -> None:
    says = "raise EditError(str(os.getpid()))"
    sources = {
        "first": says,
        "second": says,
        "damaging": f"torch.set_default_dtype(torch.float64); {says}",
        "third": says,
        "hanging": "time.sleep(1000)  # for ever",
        "last": says,
    }
    head = "def edit(self, requests, *, memory, generator): "
    plugins = tuple(editor_file(name, head + source) for name, source in sources.items())
    todo = cells(methods=tuple(sources), plugins=plugins)

    outcomes = dict(RayEngine(1, timeout_seconds=3.0).run(todo, task, nothing))

    first, second, damaging, third, hanging, last = (outcomes[cell].result.failure for cell in todo)
    assert first and second and damaging and third and hanging and last
    assert first.message == second.message == damaging.message.split(";")[0]
    assert len({first.message, third.message, last.message}) == 3
    assert outcomes[todo[4]].result.status is Status.TIMEOUT
    assert "time.sleep(1000)  # for ever" in hanging.traceback


@slow
@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_the_end_of_the_driver_leaves_no_process(
    how: str, model_folder: Callable[[str], Path], toy: Path, editor_file: EditorFile, tmp_path: Path
) -> None:
    hangs = f"""
    def edit(self, requests, *, memory, generator):
        from pathlib import Path
        Path({str(tmp_path / "begun")!r}).touch()
        time.sleep(1000)
    """
    words = ["run", "--methods", "none,hanging", "--models", model_folder("causal"), "--datasets", "toy", "--edits", 4]
    words += ["--plugin", toy, "--plugin", editor_file("hanging", hangs), "--threads", 1, "--results", "out"]
    command = [sys.executable, "-c", _MAIN, *map(str, words), "--engine", "ray", "--workers", "1"]
    mark = {"EDITBENCH_TEST_MARK": str(tmp_path)}  # all processes of this run inherit it, and no other has it
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | mark | {"COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: child.poll() is not None or (tmp_path / "begun").exists(), "the run never began")
        assert len(marked(tmp_path)) > 3  # the driver, Ray's server and node, a worker
        os.killpg(child.pid, signal.SIGINT) if how == "Ctrl-C" else child.kill()
        out, err = child.communicate(timeout=_PATIENCE_SECONDS)
        wait_for(lambda: not marked(tmp_path), "processes are left")
    finally:
        for pid in marked(tmp_path):
            os.kill(pid, signal.SIGKILL)
    if how == "Ctrl-C":
        assert (child.returncode, err) == (130, "")
        assert out.splitlines()[-1].startswith("interrupted: finished cells and checkpoints of fits stay")


def wait_for(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def marked(folder: Path) -> list[int]:
    """Find the processes that were born with the mark of a test; those that have ended have no environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"EDITBENCH_TEST_MARK={folder}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("share", "fit"),
    [
        (_Share(cpus=3, gpus=0.0), 2),
        (_Share(cpus=1, gpus=1.0), 4),
        (_Share(cpus=1, gpus=3.0), 1),
        (_Share(cpus=1, gpus=0.5), 8),
        (_Share(cpus=1, gpus=0.4), 8),  # two to a GPU: no part lies on two of them
        (_Share(cpus=9, gpus=0.0), 0),
    ],
)
def test_a_node_of_eight_cpus_and_four_gpus_has_room_for(share: _Share, fit: int) -> None:
    assert share.room({"CPU": 8.0, "GPU": 4.0}) == fit
