"""Prepares the editor of a cell: from its start or from a checkpoint, with what all its parts cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import safetensors.torch

from bench.editing.dataset import Dataset, Split
from bench.editing.edit import State
from bench.editing.editor import Editor, FitProgress, PreparationData
from bench.editing.learned import LearnedEditor
from bench.editing.learner import Diverged
from bench.errors import DataError
from bench.models.language_model import LanguageModel
from bench.records.canonical import key_of
from bench.running.choice import fitting, kept_from_fit
from bench.running.clock import Cost, measured
from bench.running.surroundings import seeded
from bench.running.task import Checkpoint, Fitted, Message, Progress, Task, diverged_identity

__all__ = ["Fitting", "prepares", "restored"]


class Fitting:
    """One preparation, which hands out checkpoints as it goes on.

    Args:
        task: the cell, perhaps with a checkpoint to go on from.
        lm: its model.
        dataset: its dataset.
        on_message: told how far it has come, and given the checkpoints.
    """

    def __init__(
        self, task: Task, lm: LanguageModel, dataset: Dataset[Any], on_message: Callable[[Message], None]
    ) -> None:
        earlier = task.checkpoint
        self._task = task
        self._lm = lm
        self._dataset = dataset
        self._on_message = on_message
        self._costs_before: Mapping[str, float] = earlier.costs if earlier else {}
        self._resumed_at = (*earlier.resumed_at, earlier.step) if earlier else ()
        self._progress: FitProgress | None = None
        self._cost = Cost()
        self._last = time.monotonic()
        self._notes: list[str] = []

    def run(self, cls: type[Editor[Any]], config: object, scored: Collection[str]) -> tuple[State, Fitted]:
        """Prepare an editor; one that diverged comes with its last good state and the problem.

        Args:
            cls: the editor.
            config: its configuration.
            scored: ids of the cases that the editor will be scored on.

        Raises:
            DataError: the fit would choose its state on the very cases that it is scored on.
        """
        data, problem = self._data(cls, scored), None
        # A fit may be there already: what is drawn from a global random state must not reach what is drawn behind it.
        with measured(self._lm.device) as self._cost, seeded(self._task.cell.seed) as used:
            try:
                state = cls.prepare(self._lm, config, data)
            except Diverged as error:
                key = key_of(diverged_identity(self._task.cell))
                problem = f"{error} Its last good state, of step {error.step}, is kept as editor {key!r}."
                state = error.state
        if used:
            self._notes.append(f"the fit has used the global random state of {', '.join(used)}")
        size = {"state_bytes": float(state.bytes)} if state.tensors or state.values else {}
        fitted = Fitted(
            tensors=_stored(state),
            values=state.values,
            log=tuple(data.log),
            costs=self._costs() | size,
            resumed_at=self._resumed_at,
            problem=problem,
            notes=tuple(self._notes),
        )
        return state, fitted

    def _data(self, cls: type[Editor[Any]], scored: Collection[str]) -> PreparationData:
        tune = [case for case in self._dataset.cases(Split.TUNE) if case.request.id not in scored]
        if not tune and self._task.cell.split == Split.TUNE and issubclass(cls, LearnedEditor):
            raise DataError(
                f"all cases of the tune split are scored, so that {cls.name!r} would choose its state on the very "
                "cases that it is scored on. Ask for fewer edits."
            )
        cases = list(self._dataset.cases(Split.FIT))
        if prepares(cls):
            cases, too_long = fitting(self._lm, cases)
            tune, too_long_to_tune = fitting(self._lm, tune)
            self._notes += kept_from_fit(too_long, too_long_to_tune)
        checkpoint = self._task.checkpoint
        return PreparationData(
            cases=tuple(cases),
            tune=tuple(tune),
            texts=tuple(self._dataset.texts(Split.FIT)),
            seed=self._task.cell.seed,
            on_progress=self._report,
            resume=restored(checkpoint) if checkpoint else None,
            keep=self._keep,
        )

    def _report(self, progress: FitProgress) -> None:
        self._progress = progress
        self._on_message(
            Progress(
                key=self._task.cell.key,
                phase="fit",
                done=progress.step,
                total=progress.steps,
                loss=progress.loss,
                success=progress.success,
                seconds_left=progress.seconds_left,
            )
        )

    def _keep(self, make: Callable[[], State]) -> None:
        """Hand out a checkpoint if one is due."""
        if time.monotonic() - self._last < 60 * self._task.checkpoint_minutes:
            return
        state, progress = make(), self._progress
        self._cost.refresh()
        self._on_message(
            Checkpoint(
                key=self._task.cell.key,
                tensors=_stored(state),
                values=state.values,
                costs=self._costs(),
                step=progress.step if progress else 0,
                steps=progress.steps if progress else 0,
                resumed_at=self._resumed_at,
            )
        )
        self._last = time.monotonic()

    def _costs(self) -> dict[str, float]:
        """Give what all parts have cost: their seconds, and the highest of their peaks."""
        before, now = self._costs_before, self._cost
        reserved = max(before.get("peak_reserved_bytes", 0.0), float(now.peak_reserved_bytes))
        return ({"peak_reserved_bytes": reserved} if reserved else {}) | {
            "seconds": before.get("seconds", 0.0) + now.seconds,
            "cpu_seconds": before.get("cpu_seconds", 0.0) + now.cpu_seconds,
            "peak_memory_bytes": max(before.get("peak_memory_bytes", 0.0), float(now.peak_memory_bytes)),
        }


def restored(stored: Fitted | Checkpoint) -> State:
    """Give the state that was sent or stored as bytes."""
    return State(tensors=safetensors.torch.load(stored.tensors), values=stored.values)


def prepares(cls: type[Editor[Any]]) -> bool:
    """Say whether an editor learns anything before it edits."""
    return getattr(cls.prepare, "__func__", None) is not getattr(Editor.prepare, "__func__", None)


def _stored(state: State) -> bytes:
    return safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in state.tensors.items()})
