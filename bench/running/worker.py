"""Computes cells one after the other, keeping models and their unedited answers warm."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from bench import registry
from bench.editing.config import build_config
from bench.editing.dataset import Dataset
from bench.errors import BenchError, ModelError, NotFinite
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model
from bench.models.memory import is_out_of_memory
from bench.models.options import LoadOptions
from bench.records.card import Failure, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.running.clock import measured
from bench.running.environment import environment
from bench.running.runner import CellRun
from bench.running.surroundings import Surroundings, seeded, surroundings
from bench.running.task import Message, Outcome, Progress, Task
from bench.running.traces import Traces
from bench.running.unedited import Unedited

__all__ = ["CHECK", "Worker"]

CHECK = "check"  # the phase in which it is found that a computed cell has left something changed
_DRAWN = (
    "the global random state of {} was used. It is seeded for each cell: the same cell gives the same numbers, but an "
    "edit depends on what was drawn before it"
)


class _Damage(BenchError):
    """A cell left the model or the process another way than it found them."""


class _Loaded(NamedTuple):
    key: tuple[object, ...]
    lm: LanguageModel
    traces: Traces
    unedited: Unedited


class Worker:
    """Holds one model at a time; cells of the same model find it loaded.

    Args:
        on_message: told how far the running cell has come, and given the checkpoints of its fit.
    """

    def __init__(self, on_message: Callable[[Message], None] = lambda message: None) -> None:
        self._on_message = on_message
        self._loaded: _Loaded | None = None

    def run(self, task: Task) -> Outcome:
        """Compute one cell; whatever goes wrong becomes its status. Only KeyboardInterrupt passes.

        After a cell that ran out of memory, or left the model or this process another way than it found them, the
        worker holds no model any more, and its outcome asks for an end of the process.
        """
        cell, started = task.cell, timestamp()
        self._on_message(Progress(key=cell.key, phase="load"))
        torch.set_num_threads(cell.threads)
        environment(torch.device(cell.device))  # what it remembers is found out while there is memory
        run: CellRun | None = None
        with surroundings() as around:
            try:
                run = self._begun(task)
                with seeded(cell.seed) as used:
                    outcome = run.compute(started)
                self._check(cell, around)
                return _with_note(outcome, _DRAWN.format(", ".join(used))) if used else outcome
            except (Exception, SystemExit) as error:  # the cell boundary: a fault of one cell must not cost the others
                status = _status(error)
                failure = Failure(
                    phase=_phase(error, run), message=_message(error, run), traceback=traceback.format_exc()
                )
            # behind the handler, where what failed holds no tensors any more
            changes = [] if status is Status.OOM else self._changes(around)
        outcome = _failed(cell, run, status, failure, started)
        if status is Status.OOM or changes:
            self._loaded = None
            outcome = replace(outcome, ends_worker=True)
        if changes:  # its fit may have been made with a changed model
            outcome = replace(outcome, fitted=None)
        if changes and failure.phase != CHECK:
            outcome = _with_note(outcome, f"it has also changed {'; '.join(changes)}")
        return outcome

    def _begun(self, task: Task) -> CellRun:
        """Load what a cell needs."""
        cell = task.cell
        for path in task.plugins:
            registry.add_file(path)
        with measured(torch.device(cell.device)) as load_cost:
            _, lm, _, unedited = self._model(cell)
        unedited.measures.update(task.known_answers)
        run = CellRun(task, lm, _dataset(cell, lm.kind), unedited, self._on_message)
        run.spent("load", load_cost)
        return run

    def _check(self, cell: Cell, around: Surroundings) -> None:
        """Check that a computed cell has left everything as it was; raises _Damage if not."""
        changes = self._changes(around)
        if changes:
            raise _Damage(
                f"{cell.method!r} changed {'; '.join(changes)}. An editor must return its change and leave the model "
                "and the process as they are."
            )

    def _changes(self, around: Surroundings) -> list[str]:
        try:
            return [*(self._loaded.traces.changes() if self._loaded else ()), *around.changes()]
        except Exception as error:  # a GPU whose kernel has failed, a model that was taken to pieces: damage for sure
            return [f"the model so that it can not be read any more ({type(error).__name__}: {error})"]

    def _model(self, cell: Cell) -> _Loaded:
        options = LoadOptions(
            revision=cell.model_revision,
            is_chat=cell.chat,
            gpus=cell.gpus,
            runs_remote_code=cell.remote_code,
            reads_pickle=cell.pickle,
        )
        key = (cell.model, cell.model_digest, cell.dtype, cell.device, options)
        if self._loaded is None or self._loaded.key != key:
            self._loaded = None  # let go of the old one first
            lm = load_model(cell.model, device=cell.device, dtype=cell.dtype, options=options)
            if lm.identity != cell.model_digest:
                raise ModelError(f"model {cell.model!r} changed on disk while the run was going on. Start it again.")
            self._loaded = _Loaded(key, lm, Traces(lm), Unedited(lm))
        return self._loaded


def _dataset(cell: Cell, kind: ModelKind) -> Dataset[object]:
    cls = registry.load("datasets", cell.dataset)
    dataset: Dataset[object] = cls(build_config(cls.Config, cell.dataset_config, owner=cell.dataset), kind)
    return dataset


def _with_note(outcome: Outcome, note: str) -> Outcome:
    return replace(outcome, result=replace(outcome.result, notes=(*outcome.result.notes, note)))


def _failed(cell: Cell, run: CellRun | None, status: Status, failure: Failure, started: str) -> Outcome:
    result = uncompleted(
        status,
        started=started,
        ended=timestamp(),
        failure=failure,
        environment=environment(torch.device(cell.device)),
        costs=run.costs() if run else None,
        parameters=run.lm.architecture.parameters if run else None,
    )
    return Outcome(
        result=run.with_observed(result) if run else result,
        fitted=run.fitted if run else None,
    )


def _phase(error: BaseException, run: CellRun | None) -> str:
    if isinstance(error, _Damage):
        return CHECK
    return run.phase if run else "load"


def _status(error: BaseException) -> Status:
    if isinstance(error, NotFinite):
        return Status.NAN
    return Status.OOM if is_out_of_memory(error) else Status.FAILED


def _message(error: BaseException, run: CellRun | None) -> str:
    name, text = type(error).__name__, str(error).strip()
    if not isinstance(error, BenchError):
        text = f"{name}: {text}" if text else name
    place = run.place if run and not isinstance(error, _Damage) else ""
    return f"{place}: {text or name}" if place else text or name
