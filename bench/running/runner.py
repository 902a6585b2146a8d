"""Computes one cell: prepares the editor, makes the edits, scores them, and says what it cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pandas as pd

from bench import registry
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split
from bench.editing.edit import State, WeightEdit
from bench.editing.editor import Editor
from bench.editing.written import written
from bench.errors import NotFinite
from bench.models.language_model import LanguageModel
from bench.records.card import timestamp
from bench.records.cell import Cell
from bench.records.mode import Mode, parse_mode
from bench.records.result import CellResult, broken_off, completed, uncompleted
from bench.records.schema import AnswerRow, Phase, answers_frame
from bench.records.status import Status
from bench.running.choice import choose, rows_left_out
from bench.running.clock import Cost, measured
from bench.running.costs import Costs
from bench.running.environment import environment
from bench.running.fitting import Fitting, restored
from bench.running.independent import edit_independently
from bench.running.inquiry import Inquiries, known_answers
from bench.running.measure import Measure
from bench.running.questions import Question, ask, check_vocabulary
from bench.running.room import Room
from bench.running.scoring import measure_unedited
from bench.running.sequence import edit_in_sequences
from bench.running.task import Fitted, Message, Outcome, Progress, Task
from bench.running.trial import Trial
from bench.running.unedited import Unedited

__all__ = ["CellRun"]


class CellRun:
    """The computation of one cell, in phases.

    Args:
        task: the cell to compute, perhaps with a fit of its editor, or a part of one.
        lm: its model, unedited.
        dataset: its dataset.
        unedited: what is known of the unedited model, shared by its cells.
        on_message: told how far it has come, and given the checkpoints of its fit.
    """

    def __init__(
        self,
        task: Task,
        lm: LanguageModel,
        dataset: Dataset[Any],
        unedited: Unedited,
        on_message: Callable[[Message], None],
    ) -> None:
        self.cell = task.cell
        self.lm = lm
        self.phase = "base"
        self.place = ""  # in a sequence
        self.fitted: Fitted | None = None
        self.asked: dict[str, list[Measure]] = {}  # what the unedited model was asked in this cell
        self._dataset = dataset
        self._unedited = unedited
        self._task = task
        self._on_message = on_message
        self._mode = parse_mode(task.cell.mode)
        self._notes: list[str] = []
        self._rows: list[AnswerRow] = []
        self._costs = Costs()
        self._room = Room()

    def compute(self, started: str) -> Outcome:
        """Compute the cell.

        Args:
            started: when the cell began, for its card.

        Raises:
            BenchError: what the editor, the dataset or the model can not do.
            NotFinite: an edit holds NaN or infinity.
        """
        cell, lm = self.cell, self.lm
        cls: type[Editor[Any]] = registry.load("methods", cell.method)
        config: object = build_config(cls.Config, cell.config, owner=cell.method)
        reason = cls.unsupported(lm.architecture, config, at_once=self._mode.at_once)
        if reason:
            return Outcome(result=uncompleted(Status.SKIPPED, started=started, ended=timestamp(), reason=reason))
        self._enter("base")
        check_vocabulary(lm, self._dataset)
        asking = self._original if cell.known_only else None
        choice = choose(lm, self._dataset.cases(Split(cell.split)), cell.edits, asking=asking)
        cases = choice.cases
        questions = ask(cases)
        with measured(lm.device) as cost:
            original = self._original(questions)
        if self.asked:  # otherwise it cost nothing here
            self.spent("base", cost)
        state = self._prepare(cls, config, {case.request.id for case in cases})
        editor = cls(lm, config, state)
        change = editor.base_change()
        inquiries = Inquiries.of(cases, questions, self._mode, cell.seed)
        self._rows += inquiries.unedited(lm, known_answers(questions, original), Phase.ORIGINAL)
        with written(lm, change or WeightEdit(changes={})):
            if change is not None:
                base = measure_unedited(lm, questions, room=self._room)
                self._rows += inquiries.unedited(lm, known_answers(questions, base), Phase.BASE)
            # what is known of the unedited model holds as long as fitting has left it as it was
            self._edit(editor, inquiries, self._unedited if change is None else Unedited(lm))
        result = completed(
            cell,
            answers=answers_frame(self._rows),
            costs=self.costs(),
            started=started,
            ended=timestamp(),
            environment=environment(lm.device),
            parameters=lm.architecture.parameters,
            notes=(
                *choice.notes,
                *rows_left_out(self._dataset),
                *_unusual(cell),
                *self._notes,
                *_left_out(inquiries.void, self._mode),
                *self._room.notes(),
            ),
        )
        return Outcome(result=result, fitted=self.fitted, asked=self.asked)

    def spent(self, phase: str, cost: Cost) -> None:
        """Note what a phase cost."""
        self._costs.spent(phase, cost)

    def costs(self) -> pd.DataFrame:
        """Give all costs noted so far as a table."""
        return self._costs.frame(self.cell.key)

    def with_observed(self, result: CellResult) -> CellResult:
        """Add to a cell that is not done what was seen of its sequences; nothing of edits that stand alone.

        The collapse of a model is data: it is kept although no answer after it is a number.
        """
        has_edited = any(row.phase == Phase.EDITED for row in self._rows)
        if not (has_edited and self._mode.is_sequential and self.cell.has_quality):
            return result
        return broken_off(result, self.cell, answers_frame(self._rows))

    def _enter(self, phase: str, *, done: int = 0, place: str = "") -> None:
        self.phase, self.place = phase, place
        total = 0 if phase == "fit" else self.cell.edits
        self._on_message(Progress(key=self.cell.key, phase=phase, done=done, total=total))

    def _original(self, questions: Sequence[Question]) -> list[Measure]:
        """Measure the unedited model, once for all methods that are asked the same."""
        texts = [f"{q.probe.prompt!r}\t{q.answer!r}" for q in questions]
        key = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        known = self._unedited.measures
        if key not in known:
            known[key] = self.asked[key] = measure_unedited(self.lm, questions, room=self._room)
        return known[key]

    def _edit(self, editor: Editor[Any], inquiries: Inquiries, unedited: Unedited) -> None:
        """Make the edits and score them, in the way of the cell's mode."""
        trial = Trial(
            cell=self.cell,
            lm=self.lm,
            editor=editor,
            inquiries=inquiries,
            rows=self._rows,
            costs=self._costs,
            room=self._room,
            unedited=unedited,
            enter=self._enter,
        )
        if self._mode.is_sequential:
            self._notes += edit_in_sequences(trial)
        else:
            edit_independently(trial)

    def _prepare(self, cls: type[Editor[Any]], config: object, scored: Collection[str]) -> State:
        """Fit the editor, or take the state of an earlier fit and its cost."""
        known = self._task.fitted
        if known is not None:
            for measure, value in known.costs.items():
                self._costs.note("fit", measure, value, is_cached=True)
            self._notes += known.notes
            return restored(known)
        self._enter("fit")
        fitting = Fitting(self._task, self.lm, self._dataset, self._on_message)
        state, fitted = fitting.run(cls, config, scored)
        if state.tensors or state.values:  # otherwise nothing was fitted, and there is nothing to pay off
            self.fitted = fitted
            for measure, value in fitted.costs.items():
                self._costs.note("fit", measure, value)
        if fitted.problem:
            raise NotFinite(fitted.problem)
        self._notes += fitted.notes
        self._notes += [f"the fit was interrupted and gone on with at step {step}" for step in fitted.resumed_at]
        return state


def _unusual(cell: Cell) -> list[str]:
    """Say what an option made of the prompts, or that a way of running is unproven."""
    notes = ["prompts were put into the model's chat template"] if cell.chat else []
    if cell.gpus > 1:
        notes.append(f"the model was spread over {cell.gpus} GPUs, which is unproven")
    if cell.device == "mps":
        notes.append("the device mps is unproven")
    return notes


def _left_out(void: Collection[object], mode: Mode) -> list[str]:
    if not void:
        return []
    together = "sequence" if mode.is_sequential else "group"
    return [f"locality probes left out because another request of their {together} changes what they ask: {len(void)}"]
