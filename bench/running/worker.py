"""Computes cells one after the other, keeping models and their unedited answers warm."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch

from bench import registry
from bench.editing.config import build_config
from bench.editing.dataset import Dataset
from bench.errors import BenchError, ModelError, NotFinite
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model
from bench.models.options import LoadOptions
from bench.records.card import Failure, timestamp
from bench.records.cell import Cell
from bench.records.result import uncompleted
from bench.records.status import Status
from bench.running.clock import measured
from bench.running.environment import environment
from bench.running.measure import Measure
from bench.running.room import is_out_of_memory
from bench.running.runner import CellRun
from bench.running.task import Message, Outcome, Progress, Task

__all__ = ["Worker"]


class Worker:
    """Holds one model at a time; cells of the same model find it loaded.

    Args:
        on_message: told how far the running cell has come, and given the checkpoints of its fit.
    """

    def __init__(self, on_message: Callable[[Message], None] = lambda message: None) -> None:
        self._on_message = on_message
        self._loaded: tuple[tuple[object, ...], LanguageModel] | None = None
        self._known_answers: dict[str, list[Measure]] = {}

    def run(self, task: Task) -> Outcome:
        """Compute one cell; whatever goes wrong becomes its status. Only KeyboardInterrupt passes."""
        cell, started = task.cell, timestamp()
        device = torch.device(cell.device)
        torch.set_num_threads(cell.threads)
        run: CellRun | None = None
        phase = "load"
        try:
            for path in task.plugins:
                registry.add_file(path)
            self._on_message(Progress(key=cell.key, phase="load"))
            with measured(device) as load_cost:
                lm = self._model(cell)
            self._known_answers.update(task.known_answers)
            dataset = _dataset(cell, lm.kind)
            run = CellRun(task, lm, dataset, self._known_answers, self._on_message)
            run.spent("load", load_cost)
            return run.compute(started)
        except (Exception, SystemExit) as error:  # the cell boundary: a fault of one cell must not cost the others
            phase = run.phase if run else phase
            self._loaded = None  # nobody knows what a plug-in that failed has left in the model
            return Outcome(
                result=uncompleted(
                    _status(error),
                    started=started,
                    ended=timestamp(),
                    failure=Failure(phase=phase, message=_message(error), traceback=traceback.format_exc()),
                    environment=environment(device),
                    costs=run.costs() if run else None,
                    parameters=run.lm.architecture.parameters if run else None,
                ),
                fitted=run.fitted if run else None,
            )

    def _model(self, cell: Cell) -> LanguageModel:
        options = LoadOptions(
            revision=cell.model_revision,
            is_chat=cell.chat,
            gpus=cell.gpus,
            runs_remote_code=cell.remote_code,
            reads_pickle=cell.pickle,
        )
        key = (cell.model, cell.model_digest, cell.dtype, cell.device, options)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # let go of the old one first
            self._known_answers.clear()
            lm = load_model(cell.model, device=cell.device, dtype=cell.dtype, options=options)
            if lm.identity != cell.model_digest:
                raise ModelError(f"model {cell.model!r} changed on disk while the run was going on. Start it again.")
            self._loaded = (key, lm)
        return self._loaded[1]


def _dataset(cell: Cell, kind: ModelKind) -> Dataset[object]:
    cls = registry.load("datasets", cell.dataset)
    dataset: Dataset[object] = cls(build_config(cls.Config, cell.dataset_config, owner=cell.dataset), kind)
    return dataset


def _status(error: BaseException) -> Status:
    if isinstance(error, NotFinite):
        return Status.NAN
    return Status.OOM if is_out_of_memory(error) else Status.FAILED


def _message(error: BaseException) -> str:
    name, text = type(error).__name__, str(error).strip()
    if isinstance(error, BenchError):
        return text or name
    return f"{name}: {text}" if text else name
