"""Computes one cell: prepares the editor, makes the edits, scores them, and says what it cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pandas as pd
import torch

from bench import registry
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split
from bench.editing.edit import Edit, State, WeightEdit
from bench.editing.editor import Editor
from bench.editing.request import EditCase
from bench.editing.written import written
from bench.errors import EditError, NotFinite
from bench.models.language_model import LanguageModel
from bench.records.card import timestamp
from bench.records.cell import Cell
from bench.records.mode import parse_mode
from bench.records.result import completed, uncompleted
from bench.records.schema import AnswerRow, CostRow, Phase, answers_frame, costs_frame
from bench.records.status import Status
from bench.running.choice import choose, rows_left_out
from bench.running.clock import Cost, measured
from bench.running.environment import environment
from bench.running.fitting import Fitting, restored
from bench.running.grouping import Group, group_cases, void_probes
from bench.running.measure import Measure
from bench.running.questions import Question, ask, check_vocabulary
from bench.running.room import Room
from bench.running.rows import answer_rows
from bench.running.scoring import measure_edited, measure_unedited, speak
from bench.running.task import Fitted, Message, Outcome, Progress, Task

__all__ = ["CellRun", "edit_generator"]

_AT_ONCE = {"factored": 32, "written": 1}  # requests whose edits are made and scored together, or one whole group
_ALONE = 20  # requests whose edits are made one at a time, after one to warm up, for the latency of an edit …
_FEWEST_ALONE = 5  # … but at least so many edits


class CellRun:
    """The computation of one cell, in phases.

    Args:
        task: the cell to compute, perhaps with a fit of its editor, or a part of one.
        lm: its model, unedited.
        dataset: its dataset.
        known_answers: unedited answers by question set, shared by the cells of a model.
        on_message: told how far it has come, and given the checkpoints of its fit.
    """

    def __init__(
        self,
        task: Task,
        lm: LanguageModel,
        dataset: Dataset[Any],
        known_answers: dict[str, list[Measure]],
        on_message: Callable[[Message], None],
    ) -> None:
        self.cell = task.cell
        self.lm = lm
        self.phase = "base"
        self.fitted: Fitted | None = None
        self.asked: dict[str, list[Measure]] = {}  # what the unedited model was asked in this cell
        self._dataset = dataset
        self._known_answers = known_answers
        self._task = task
        self._on_message = on_message
        self._notes: list[str] = []
        self._costs: list[CostRow] = []
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
        mode = parse_mode(cell.mode)
        reason = cls.unsupported(lm.architecture, config, at_once=mode.at_once)
        if reason:
            return Outcome(result=uncompleted(Status.SKIPPED, started=started, ended=timestamp(), reason=reason))
        digest = lm.digest()
        self._enter("base", cell.edits)
        check_vocabulary(lm, self._dataset)
        asking = self._original if cell.known_only else None
        choice = choose(lm, self._dataset.cases(Split(cell.split)), cell.edits, asking=asking)
        cases = choice.cases
        questions = ask(cases)
        groups = group_cases(cases, mode, cell.seed)
        group_of = {place: group.name for group in groups for place in group.places}
        void = void_probes(cases, groups)
        scored = [q for q in questions if (q.case, q.probe.id) not in void]
        with measured(lm.device) as cost:
            original = self._original(questions)
        if self.asked:  # otherwise it cost nothing here
            self.spent("base", cost)
        state = self._prepare(cls, config, {case.request.id for case in cases})
        editor = cls(lm, config, state)
        change = editor.base_change()
        answers = [answer_rows(lm, cases, questions, original, Phase.ORIGINAL, group_of=group_of)]
        with written(lm, change or WeightEdit(changes={})):
            if change is not None:
                base = measure_unedited(lm, questions, room=self._room)
                answers.append(answer_rows(lm, cases, questions, base, Phase.BASE, group_of=group_of))
            answers.append(self._edited(editor, cases, scored, groups))
        if lm.digest() != digest:
            raise EditError(
                f"{cell.method!r} changed the model's own weights; an editor must return its change instead."
            )
        result = completed(
            cell,
            answers=answers_frame(row for rows in answers for row in rows),
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
                *_left_out(void),
                *self._room.notes(),
            ),
        )
        return Outcome(result=result, fitted=self.fitted, asked=self.asked)

    def spent(self, phase: str, cost: Cost, *, edit_id: str | None = None, is_cached: bool = False) -> None:
        """Note what a phase, or one edit of it, cost."""
        self._note(phase, "seconds", cost.seconds, edit_id, is_cached)
        if edit_id is None:
            self._note(phase, "cpu_seconds", cost.cpu_seconds, None, is_cached)
            self._note(phase, "peak_memory_bytes", cost.peak_memory_bytes, None, is_cached)

    def costs(self) -> pd.DataFrame:
        """Give all costs noted so far as a table."""
        return costs_frame(self.cell.key, self._costs)

    def _note(
        self, phase: str, measure: str, value: float, edit_id: str | None = None, is_cached: bool = False
    ) -> None:
        row = CostRow(phase=phase, measure=measure, value=float(value), edit_id=edit_id, cached=is_cached)
        self._costs.append(row)

    def _enter(self, phase: str, total: int = 0) -> None:
        self.phase = phase
        self._on_message(Progress(key=self.cell.key, phase=phase, total=total))

    def _original(self, questions: Sequence[Question]) -> list[Measure]:
        """Measure the unedited model, once for all methods that are asked the same."""
        texts = [f"{q.probe.prompt!r}\t{q.answer!r}" for q in questions]
        key = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if key not in self._known_answers:
            self._known_answers[key] = self.asked[key] = measure_unedited(self.lm, questions, room=self._room)
        return self._known_answers[key]

    def _prepare(self, cls: type[Editor[Any]], config: object, scored: Collection[str]) -> State:
        """Fit the editor, or take the state of an earlier fit and its cost."""
        known = self._task.fitted
        if known is not None:
            for measure, value in known.costs.items():
                self._note("fit", measure, value, is_cached=True)
            self._notes += known.notes
            return restored(known)
        self._enter("fit")
        fitting = Fitting(self._task, self.lm, self._dataset, self._on_message)
        state, fitted = fitting.run(cls, config, scored)
        if state.tensors or state.values:  # otherwise nothing was fitted, and there is nothing to pay off
            self.fitted = fitted
            for measure, value in fitted.costs.items():
                self._note("fit", measure, value)
        if fitted.problem:
            raise NotFinite(fitted.problem)
        self._notes += fitted.notes
        self._notes += [f"the fit was interrupted and gone on with at step {step}" for step in fitted.resumed_at]
        return state

    def _edited(
        self, editor: Editor[Any], cases: Sequence[EditCase], questions: Sequence[Question], groups: Sequence[Group]
    ) -> list[AnswerRow]:
        """Make the edits and score them, some at a time."""
        self._latency(editor, groups)
        rows: list[AnswerRow] = []
        edit_cost, evaluate_cost = Cost(), Cost()
        size = max(1, _AT_ONCE[self.cell.application] // len(groups[0].places))
        for first in range(0, len(groups), size):
            chunk = groups[first : first + size]
            self._enter("edit", len(cases))
            generators = [edit_generator(self.cell.seed, [r.id for r in group.requests]) for group in chunk]
            with measured(self.lm.device) as cost:
                edits = editor.edit_each([group.requests for group in chunk], generators=generators)
            _add(edit_cost, cost)
            _check(edits, chunk)
            for group, edit in zip(chunk, edits, strict=True):
                self._note("edit", "edit_bytes", edit.bytes, group.id)
            self.phase = "evaluate"
            with measured(self.lm.device) as cost:
                rows.extend(self._score(cases, questions, edits, chunk))
            _add(evaluate_cost, cost)
            done = sum(len(group.places) for group in groups[: first + size])
            self._on_message(Progress(key=self.cell.key, phase="evaluate", done=done, total=len(cases)))
        self.spent("edit", edit_cost)
        self.spent("evaluate", evaluate_cost)
        self._note("edit", "edit_seconds_amortised", edit_cost.seconds / len(cases))
        return rows

    def _score(
        self, cases: Sequence[EditCase], questions: Sequence[Question], edits: Sequence[Edit], groups: Sequence[Group]
    ) -> list[AnswerRow]:
        """Ask each group's questions under its edit."""
        edit_of = {place: index for index, group in enumerate(groups) for place in group.places}
        asked = [question for question in questions if question.case in edit_of]
        owner = [edit_of[q.case] for q in asked]
        application = self.cell.application
        measures = measure_edited(self.lm, asked, edits, owner, application=application, room=self._room)
        spoken = [i for i, question in enumerate(asked) if question.is_generated]
        outputs: dict[int, str] = {}
        if spoken:
            whose = [owner[i] for i in spoken]
            texts = speak(self.lm, [asked[i] for i in spoken], edits, whose, application=application, room=self._room)
            outputs = dict(zip(spoken, texts, strict=True))
        group_of = {place: group.name for group in groups for place in group.places}
        return answer_rows(self.lm, cases, asked, measures, Phase.EDITED, outputs=outputs, group_of=group_of)

    def _latency(self, editor: Editor[Any], groups: Sequence[Group]) -> None:
        """Time single edits, each alone in its batch, after one that is not counted."""
        self._enter("edit", self.cell.edits)
        few = max(_FEWEST_ALONE, _ALONE // len(groups[0].places))
        for index, group in enumerate([groups[0], *groups[:few]]):
            generator = edit_generator(self.cell.seed, [request.id for request in group.requests])
            with measured(self.lm.device, memory=False) as cost:
                editor.edit(group.requests, memory=None, generator=generator)
            if index > 0:
                self.spent("edit", cost, edit_id=group.id)


def edit_generator(seed: int, ids: Sequence[str]) -> torch.Generator:
    """Give the generator of one group: it depends on the cell's seed and the ids of the requests alone."""
    digest = hashlib.sha256("\n".join([str(seed), *ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _unusual(cell: Cell) -> list[str]:
    """Say what an option made of the prompts, or that a way of running is unproven."""
    notes = ["prompts were put into the model's chat template"] if cell.chat else []
    if cell.gpus > 1:
        notes.append(f"the model was spread over {cell.gpus} GPUs, which is unproven")
    if cell.device == "mps":
        notes.append("the device mps is unproven")
    return notes


def _left_out(void: Collection[object]) -> list[str]:
    if not void:
        return []
    return [f"locality probes left out because another request of their group changes what they ask: {len(void)}"]


def _check(edits: Sequence[Edit], groups: Sequence[Group]) -> None:
    if len(edits) != len(groups):
        raise EditError(f"the editor gave {len(edits)} edits for {len(groups)} groups of requests.")
    for edit, group in zip(edits, groups, strict=True):
        if not isinstance(edit, Edit):
            raise EditError(f"the editor gave a {type(edit).__name__} where an Edit is expected.")
        if not edit.is_finite:
            raise NotFinite(f"the edit of {group.title} holds NaN or infinity.")


def _add(total: Cost, part: Cost) -> None:
    total.seconds += part.seconds
    total.cpu_seconds += part.cpu_seconds
    total.peak_memory_bytes = max(total.peak_memory_bytes, part.peak_memory_bytes)
