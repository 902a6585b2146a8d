"""A fit that was interrupted goes on from its checkpoint; what does not belong to it is refused or moved aside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from bench.errors import StoreError
from bench.records.card import Card, Failure
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.records.store import Store
from bench.running.driver import run_sweep, survey
from bench.running.engine import InProcessEngine
from bench.running.fits import Fits
from bench.running.sweep import Sweep, plan
from bench.running.task import Checkpoint, Message, Outcome, Progress, Task, fit_identity

SweepMaker = Callable[..., Sweep]
EditorFile = Callable[[str, str], Path]
_FIT = ("mend.steps=6", "mend.edits_per_step=4", "mend.validate_every=2", "mend.validation_edits=4")


class Silent:
    def progress(self, progress: Progress) -> None:
        pass

    def finished(self, card: Card) -> None:
        pass


class CutOff:
    """An engine that is interrupted when a fit has handed out so many checkpoints."""

    def __init__(self, after: int) -> None:
        self._left = after

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        def hear(message: Message) -> None:
            on_message(message)
            self._left -= isinstance(message, Checkpoint)
            if self._left == 0:
                raise KeyboardInterrupt

        yield from InProcessEngine().run(cells, task, hear)


@pytest.fixture
def wanted(sweep: SweepMaker) -> Callable[..., Sweep]:
    """A sweep of one small fit that hands out a checkpoint after every step."""

    def make(**changes: object) -> Sweep:
        return sweep(**{"methods": ("mend",), "sets": _FIT, "checkpoint_minutes": 0.0} | changes)

    return make


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Store:
    return Store(tmp_path / "results", report=said.append)


def compute(sweep: Sweep, store: Store) -> list[Card]:
    store.start("r", sweep.to_toml())
    return run_sweep(sweep, survey(plan(sweep), store, "r"), store, "r", InProcessEngine(), Silent())


def cut_off(sweep: Sweep, store: Store, after: int) -> None:
    store.start("r", sweep.to_toml())
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, survey(plan(sweep), store, "r"), store, "r", CutOff(after), Silent())


def folders(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "editors").iterdir())


def stored_state(store: Store) -> bytes:
    (path,) = (store.root / "editors").glob("*/state.safetensors")
    return path.read_bytes()


def fit_costs(store: Store) -> dict[str, float]:
    table = store.load("r").costs.query("phase == 'fit'")
    return dict(zip(table["measure"], table["value"], strict=True))


@pytest.mark.parametrize("after", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5, 6))])
def test_the_same_command_goes_on_with_an_interrupted_fit_to_the_same_state(
    after: int, wanted: SweepMaker, store: Store, tmp_path: Path
) -> None:
    whole = Store(tmp_path / "whole")
    compute(wanted(), whole)
    cut_off(wanted(), store, after)
    (begun,) = folders(store)

    (card,) = compute(wanted(), store)

    assert begun.endswith(".checkpoint")
    assert folders(store) == [begun.removesuffix(".checkpoint")]
    assert stored_state(store) == stored_state(whole)
    assert card.notes == (f"the fit was interrupted and gone on with at step {after}",)
    pd.testing.assert_frame_equal(store.load("r").answers(), whole.load("r").answers(), check_exact=True)


def test_the_price_of_a_fit_in_parts_is_that_of_all_parts(wanted: SweepMaker, store: Store) -> None:
    cut_off(wanted(), store, 3)
    (card,) = (store.root / "editors").glob("*.checkpoint/card.json")
    content = json.loads(card.read_text())
    content["details"]["costs"] = {"seconds": 1000.0, "cpu_seconds": 2000.0, "peak_memory_bytes": 2.0**50}
    card.write_text(json.dumps(content))

    compute(wanted(), store)

    costs = fit_costs(store)
    assert 1000 < costs["seconds"] < 1100
    assert 2000 < costs["cpu_seconds"] < 2100
    assert costs["peak_memory_bytes"] == 2.0**50


def test_a_fit_without_interruption_leaves_no_checkpoint(wanted: SweepMaker, store: Store) -> None:
    (card,) = compute(wanted(), store)

    assert folders(store) == [Path(next(iter((store.root / "editors").iterdir()))).name]
    assert ".checkpoint" not in folders(store)[0]
    assert card.notes == ()


def test_no_checkpoint_is_made_before_one_is_due(wanted: SweepMaker, store: Store) -> None:
    sweep = wanted(checkpoint_minutes=60.0)
    store.start("r", sweep.to_toml())

    run_sweep(sweep, survey(plan(sweep), store, "r"), store, "r", CutOff(1), Silent())

    assert len(folders(store)) == 1


@pytest.mark.parametrize("damage", ["a byte", "cut", "no card"])
def test_a_corrupt_checkpoint_is_moved_aside_and_the_fit_starts_anew(
    damage: str, wanted: SweepMaker, store: Store, said: list[str], tmp_path: Path
) -> None:
    cut_off(wanted(), store, 3)
    (state,) = (store.root / "editors").glob("*.checkpoint/state.safetensors")
    content = state.read_bytes()
    match damage:
        case "a byte":
            state.write_bytes(content[:-1] + b"x")
        case "cut":
            state.write_bytes(content[:-100])
        case _:
            state.with_name("card.json").write_text('{"key"')

    (card,) = compute(wanted(), store)

    key = state.parent.name.removesuffix(".checkpoint")
    assert folders(store) == [key, f"{key}.checkpoint.broken-1"]
    assert len(said) == 1
    assert f"It was moved to '{key}.checkpoint.broken-1'" in said[0]
    assert card.status == Status.DONE
    assert card.notes == ()


def test_a_checkpoint_of_another_version_is_moved_aside(
    wanted: SweepMaker, store: Store, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(wanted(), store, 3)
    monkeypatch.setattr("bench.running.fits.CHECKPOINT_VERSION", 2)

    (card,) = compute(wanted(), store)

    assert card.notes == ()
    assert "was written by another version, 1" in said[0]


def test_a_checkpoint_of_another_configuration_is_refused_with_both_keys(wanted: SweepMaker, store: Store) -> None:
    cut_off(wanted(), store, 3)
    (theirs,) = (store.root / "editors").iterdir()
    other = wanted(sets=(*_FIT, "mend.lr=0.5"))
    ours = Fits(store.root, store.report)
    (cell,) = [planned.cell for planned in plan(other)]
    shutil.copytree(theirs, target := ours._begun.folder(fit_identity(cell)))

    with pytest.raises(StoreError) as caught:
        compute(other, store)

    message = str(caught.value)
    assert theirs.name.removesuffix(".checkpoint") in message
    assert target.name.removesuffix(".checkpoint") in message
    assert "they differ in config.lr (0.001, not 0.5)" in message
    assert target.exists()


def test_a_cell_whose_worker_was_lost_in_a_fit_goes_on_without_being_asked(wanted: SweepMaker, store: Store) -> None:
    sweep = wanted()
    cut_off(sweep, store, 3)
    (cell,) = [planned.cell for planned in plan(sweep)]
    failure = Failure(phase="worker", message="the worker process was killed by SIGKILL.")
    lost = uncompleted(Status.FAILED, started="", ended="", failure=failure)
    store.write("r", cell, lost)

    (card,) = compute(sweep, store)

    assert card.status == Status.DONE
    assert card.notes == ("the fit was interrupted and gone on with at step 3",)


def test_a_cell_whose_worker_was_lost_before_a_checkpoint_stays_failed(wanted: SweepMaker, store: Store) -> None:
    sweep = wanted()
    (cell,) = [planned.cell for planned in plan(sweep)]
    failure = Failure(phase="worker", message="the worker process was killed by SIGKILL.")
    store.start("r", sweep.to_toml())
    store.write("r", cell, uncompleted(Status.FAILED, started="", ended="", failure=failure))

    assert survey(plan(sweep), store, "r").to_run == ()


def test_a_fit_that_diverges_has_the_status_nan_and_its_last_good_state_is_kept(
    wanted: SweepMaker, store: Store
) -> None:
    (card,) = compute(wanted(sets=(*_FIT, "mend.steps=30", "mend.lr=1e30", "mend.clip=1e38")), store)

    assert card.status == Status.NAN
    assert card.failure is not None
    assert card.failure.phase == "fit"
    (kept,) = (store.root / "editors").iterdir()
    assert card.failure.message.endswith(f"is kept as editor '{kept.name}'.")
    assert json.loads((kept / "card.json").read_text())["details"]["problem"] == card.failure.message
    assert fit_costs(store)["seconds"] > 0
    tensors = load_file(kept / "state.safetensors")
    assert tensors
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_a_diverged_fit_is_no_fit_that_another_cell_finds(wanted: SweepMaker, store: Store) -> None:
    sets = (*_FIT, "mend.steps=30", "mend.lr=1e30", "mend.clip=1e38")
    compute(wanted(sets=sets), store)

    (card,) = compute(wanted(sets=sets, edits=5), store)

    assert card.status == Status.NAN


def test_the_name_of_a_model_is_not_part_of_a_fit(sweep: SweepMaker) -> None:
    (cell,) = [planned.cell for planned in plan(sweep())]

    assert fit_identity(replace(cell, model="elsewhere")) == fit_identity(cell)
    assert fit_identity(replace(cell, model_digest="other")) != fit_identity(cell)


_CURIOUS = """
@classmethod
def prepare(cls, lm, config, data):
    return State(values={"tune": [case.request.id for case in data.tune]})

def edit(self, requests, *, memory, generator): return WeightEdit(changes={})
"""


def test_cases_of_the_tune_split_that_are_scored_are_kept_from_the_fit(
    sweep: SweepMaker, store: Store, editor_file: EditorFile
) -> None:
    path = editor_file("curious", _CURIOUS)
    compute(sweep(methods=("curious",), plugins=(path,), split="tune", edits=9), store)

    (card,) = (store.root / "editors").glob("*/card.json")
    assert json.loads(card.read_text())["details"]["values"] == {"tune": ["tiny/0209", "tiny/0210", "tiny/0211"]}
    assert set(store.load("r").answers()["edit_id"]) == {f"tiny/02{number:02d}" for number in range(9)}


def test_a_fit_that_would_choose_its_state_on_what_it_is_scored_on_is_refused(wanted: SweepMaker, store: Store) -> None:
    (card,) = compute(wanted(split="tune", edits=12), store)

    assert card.status == Status.FAILED
    assert card.failure is not None
    assert "would choose its state on the very cases that it is scored on" in card.failure.message
