"""`kill -9` in the middle of a fit: the same command goes on from the checkpoint to the same state, bit for bit."""

from __future__ import annotations

import json
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
_PATIENCE_SECONDS = 60.0
_STEPS = 8
_HANGS_AT = 5  # counted in micro-batches, two a step: in the third step
_KEPT_STEPS = 2

# Its fit stops at a step while the file `hang` is there; it says which process it runs in.
_SLOW = f'''"""MEND that can be made to wait."""

import os
import time
from pathlib import Path

from bench.editing.learned import LearnedEditor
from bench.methods.mend import Mend


class Slow(Mend, LearnedEditor):  # a base that is read without importing
    name = "slow"
    version = 1
    source = "a test"
    kinds = ("causal", "seq2seq", "classifier")
    taken = 0

    def loss(self, batch, *, is_training):
        folder = Path(__file__).parent
        self.taken += is_training
        if is_training and self.taken == {_HANGS_AT} and (folder / "hang").exists():
            (folder / "worker").write_text(str(os.getpid()))
            while (folder / "hang").exists():
                time.sleep(0.01)
        return super().loss(batch, is_training=is_training)
'''


def wait_for(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def steps_of_checkpoint() -> int:
    """Give the step of the only checkpoint, 0 before there is one or while it is replaced."""
    try:
        (card,) = Path("out/editors").glob("*.checkpoint/card.json")
        return int(json.loads(card.read_text())["details"]["step"])
    except (ValueError, FileNotFoundError):
        return 0


@pytest.fixture
def command(options: list[object], tmp_path: Path, plain_registry: None) -> list[str]:
    path = tmp_path / "slow.py"
    path.write_text(_SLOW, encoding="utf-8")
    fit = f"steps={_STEPS},edits_per_step=4,micro_batch=2,validate_every=3,validation_edits=4"
    words = [word for word in options if word not in ("--in-process", "none")]
    words.insert(words.index("--methods") + 1, f"slow[{fit}]")
    return list(map(str, [*words, "--plugin", path, "--threads", 1, "--checkpoint-minutes", 0]))


@pytest.fixture
def driver(bench: Bench, command: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """That run in a process of its own, when its fit waits and the checkpoint of the step before is written."""
    (tmp_path / "hang").touch()
    child = subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        worker = tmp_path / "worker"
        wait_for(lambda: child.poll() is not None or (worker.exists() and worker.read_text()), "the fit never began")
        assert child.poll() is None, child.communicate()
        wait_for(lambda: child.poll() is not None or steps_of_checkpoint() == _KEPT_STEPS, "no checkpoint")
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_the_fit_goes_on_to_the_state_of_one_that_was_never_interrupted(
    victim: str, driver: subprocess.Popen[str], bench: Bench, command: list[str], tmp_path: Path
) -> None:
    worker = int((tmp_path / "worker").read_text())
    os.kill(driver.pid if victim == "driver" else worker, signal.SIGKILL)
    (tmp_path / "hang").unlink()
    out, _ = driver.communicate(timeout=_PATIENCE_SECONDS)

    again = bench(*command)
    whole = bench(*command, "--results", "whole", "--in-process")

    lost = "the worker process was killed by SIGKILL in phase 'fit'. The system may have run out of memory."
    second = [f"the second attempt; at the first one {lost}"] if victim == "worker" else []
    assert [line.endswith(f" is tried once more at the end: {lost}") for line in out.splitlines()].count(True) == len(
        second
    )
    assert (again.code, whole.code) == (0, 0)
    (resumed,) = Path("out/editors").iterdir()
    (uninterrupted,) = Path("whole/editors").iterdir()
    assert resumed.name == uninterrupted.name
    assert (resumed / "state.safetensors").read_bytes() == (uninterrupted / "state.safetensors").read_bytes()
    (card,) = Path("out/r/cells").glob("*/card.json")
    went_on = f"the fit was interrupted and gone on with at step {_KEPT_STEPS}"
    assert json.loads(card.read_text())["notes"] == [went_on, *second]
    (same,) = Path("whole/r/cells").iterdir()
    assert (card.parent / "answers.parquet").read_bytes() == (same / "answers.parquet").read_bytes()
