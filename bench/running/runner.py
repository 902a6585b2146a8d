"""Computes one cell: prepares the editor, makes the edits, scores them, and says what it cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import safetensors.torch
import torch

from bench import registry
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split
from bench.editing.edit import Edit, State, WeightEdit
from bench.editing.editor import Editor, FitProgress, PreparationData
from bench.editing.request import EditCase
from bench.editing.written import written
from bench.errors import EditError, NotFinite
from bench.models.language_model import LanguageModel
from bench.records.card import timestamp
from bench.records.cell import Cell
from bench.records.result import completed, uncompleted
from bench.records.schema import AnswerRow, CostRow, Phase, answers_frame, costs_frame
from bench.records.status import Status
from bench.running.clock import Cost, measured
from bench.running.environment import environment
from bench.running.questions import Question, ask, encodable
from bench.running.scoring import Measure, measure_edited, measure_unedited, speak
from bench.running.task import Fitted, Outcome, Progress

__all__ = ["CellRun", "edit_generator"]

_AT_ONCE = {"factored": 32, "written": 1}  # edits that are made and scored together
_ALONE = 20  # edits made one at a time, after one to warm up, for the latency of an edit


class CellRun:
    """The computation of one cell, in phases.

    Args:
        cell: what to compute.
        lm: its model, unedited.
        dataset: its dataset.
        known_answers: unedited answers by question set, shared by the cells of a model.
        on_progress: told how far it has come.
    """

    def __init__(
        self,
        cell: Cell,
        lm: LanguageModel,
        dataset: Dataset[Any],
        known_answers: dict[str, list[Measure]],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.cell = cell
        self.lm = lm
        self.phase = "base"
        self.fitted: Fitted | None = None
        self._dataset = dataset
        self._known_answers = known_answers
        self._on_progress = on_progress
        self._costs: list[CostRow] = []

    def compute(self, fitted: Fitted | None, started: str) -> Outcome:
        """Compute the cell.

        Args:
            fitted: the state of an earlier fit, or None to fit now.
            started: when the cell began, for its card.

        Raises:
            BenchError: what the editor, the dataset or the model can not do.
            NotFinite: an edit holds NaN or infinity.
        """
        cell, lm = self.cell, self.lm
        cls: type[Editor[Any]] = registry.load("methods", cell.method)
        config: object = build_config(cls.Config, cell.config, owner=cell.method)
        reason = cls.unsupported(lm.architecture, config, at_once=1)
        if reason:
            return Outcome(result=uncompleted(Status.SKIPPED, started=started, ended=timestamp(), reason=reason))
        digest = lm.digest()
        self._enter("base", cell.edits)
        cases, problems = encodable(lm, self._dataset.cases(Split(cell.split)), cell.edits)
        questions = ask(cases)
        with measured(lm.device) as cost:
            original = self._original(questions)
        self.spent("base", cost)
        state = self._prepare(cls, config, fitted)
        editor = cls(lm, config, state)
        change = editor.base_change()
        answers = [_rows(cases, questions, original, Phase.ORIGINAL)]
        with written(lm, change or WeightEdit(changes={})):
            if change is not None:
                answers.append(_rows(cases, questions, measure_unedited(lm, questions), Phase.BASE))
            answers.append(self._edited(editor, cases, questions))
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
            notes=tuple(problems),
        )
        return Outcome(result=result, fitted=self.fitted)

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
        self._on_progress(Progress(key=self.cell.key, phase=phase, total=total))

    def _original(self, questions: Sequence[Question]) -> list[Measure]:
        """Measure the unedited model, once for all methods that are asked the same."""
        texts = [f"{q.probe.prompt!r}\t{q.answer!r}" for q in questions]
        key = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if key not in self._known_answers:
            self._known_answers[key] = measure_unedited(self.lm, questions)
        return self._known_answers[key]

    def _prepare(self, cls: type[Editor[Any]], config: object, fitted: Fitted | None) -> State:
        """Fit the editor, or take the state of an earlier fit and its cost."""
        if fitted is not None:
            for measure, value in fitted.costs.items():
                self._note("fit", measure, value, is_cached=True)
            return State(tensors=safetensors.torch.load(fitted.tensors), values=fitted.values)
        self._enter("fit")
        data = self._preparation_data()
        with measured(self.lm.device) as cost:
            state = cls.prepare(self.lm, config, data)
        self.spent("fit", cost)
        if state.tensors or state.values:
            self._note("fit", "state_bytes", state.bytes)
            tensors = {name: t.detach().cpu().contiguous() for name, t in state.tensors.items()}
            costs = {
                "seconds": cost.seconds,
                "cpu_seconds": cost.cpu_seconds,
                "peak_memory_bytes": float(cost.peak_memory_bytes),
                "state_bytes": float(state.bytes),
            }
            self.fitted = Fitted(
                tensors=safetensors.torch.save(tensors), values=state.values, log=tuple(data.log), costs=costs
            )
        return state

    def _preparation_data(self) -> PreparationData:
        def report(fit: FitProgress) -> None:
            self._on_progress(
                Progress(
                    key=self.cell.key,
                    phase="fit",
                    done=fit.step,
                    total=fit.steps,
                    loss=fit.loss,
                    seconds_left=fit.seconds_left,
                )
            )

        return PreparationData(
            cases=tuple(self._dataset.cases(Split.FIT)),
            tune=tuple(self._dataset.cases(Split.TUNE)),
            texts=tuple(self._dataset.texts(Split.FIT)),
            seed=self.cell.seed,
            on_progress=report,
        )

    def _edited(self, editor: Editor[Any], cases: Sequence[EditCase], questions: Sequence[Question]) -> list[AnswerRow]:
        """Make the edits and score them, some at a time."""
        self._latency(editor, cases)
        by_case: dict[int, list[Question]] = {}
        for question in questions:
            by_case.setdefault(question.case, []).append(question)
        rows: list[AnswerRow] = []
        edit_cost, evaluate_cost = Cost(), Cost()
        size = _AT_ONCE[self.cell.application]
        for first in range(0, len(cases), size):
            chunk = cases[first : first + size]
            self._enter("edit", len(cases))
            groups = [[case.request] for case in chunk]
            generators = [edit_generator(self.cell.seed, [case.request.id]) for case in chunk]
            with measured(self.lm.device) as cost:
                edits = editor.edit_each(groups, generators=generators)
            _add(edit_cost, cost)
            _check(edits, chunk)
            for case, edit in zip(chunk, edits, strict=True):
                self._note("edit", "edit_bytes", edit.bytes, case.request.id)
            asked = [q for index in range(first, first + len(chunk)) for q in by_case[index]]
            self.phase = "evaluate"
            with measured(self.lm.device) as cost:
                rows.extend(self._score(cases, asked, edits, first))
            _add(evaluate_cost, cost)
            self._on_progress(Progress(key=self.cell.key, phase="evaluate", done=first + len(chunk), total=len(cases)))
        self.spent("edit", edit_cost)
        self.spent("evaluate", evaluate_cost)
        self._note("edit", "edit_seconds_amortised", edit_cost.seconds / len(cases))
        return rows

    def _score(
        self, cases: Sequence[EditCase], asked: Sequence[Question], edits: Sequence[Edit], first: int
    ) -> list[AnswerRow]:
        application = self.cell.application
        measures = measure_edited(self.lm, asked, edits, first_case=first, application=application)
        spoken = [i for i, question in enumerate(asked) if question.is_generated]
        outputs: dict[int, str] = {}
        if spoken:
            texts = speak(self.lm, [asked[i] for i in spoken], edits, first_case=first, application=application)
            outputs = dict(zip(spoken, texts, strict=True))
        return _rows(cases, asked, measures, Phase.EDITED, outputs)

    def _latency(self, editor: Editor[Any], cases: Sequence[EditCase]) -> None:
        """Time single edits, each alone in its batch, after one that is not counted."""
        self._enter("edit", len(cases))
        for index, case in enumerate([cases[0], *cases[:_ALONE]]):
            generator = edit_generator(self.cell.seed, [case.request.id])
            with measured(self.lm.device, memory=False) as cost:
                editor.edit([case.request], memory=None, generator=generator)
            if index > 0:
                self.spent("edit", cost, edit_id=case.request.id)


def edit_generator(seed: int, ids: Sequence[str]) -> torch.Generator:
    """Give the generator of one group: it depends on the cell's seed and the ids of the requests alone."""
    digest = hashlib.sha256("\n".join([str(seed), *ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _check(edits: Sequence[Edit], cases: Sequence[EditCase]) -> None:
    if len(edits) != len(cases):
        raise EditError(f"the editor gave {len(edits)} edits for {len(cases)} groups of requests.")
    for edit, case in zip(edits, cases, strict=True):
        if not isinstance(edit, Edit):
            raise EditError(f"the editor gave a {type(edit).__name__} where an Edit is expected.")
        if not edit.is_finite:
            raise NotFinite(f"the edit of request {case.request.id!r} holds NaN or infinity.")


def _add(total: Cost, part: Cost) -> None:
    total.seconds += part.seconds
    total.cpu_seconds += part.cpu_seconds
    total.peak_memory_bytes = max(total.peak_memory_bytes, part.peak_memory_bytes)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A question's measure with that of its alternative, if there is one."""

    question: Question
    measure: Measure
    output: str | None
    alternative: Measure | None


def _rows(
    cases: Sequence[EditCase],
    questions: Sequence[Question],
    measures: Sequence[Measure],
    phase: Phase,
    outputs: Mapping[int, str] | None = None,
) -> list[AnswerRow]:
    """Give one row a probe: an alternative is scored as a question of its own, and joins its probe here."""
    pairs: list[_Pair] = []
    for index, (question, measure) in enumerate(zip(questions, measures, strict=True)):
        if question.is_alternative:
            last = pairs.pop()
            pairs.append(_Pair(last.question, last.measure, last.output, measure))
        else:
            pairs.append(_Pair(question, measure, (outputs or {}).get(index), None))
    return [
        AnswerRow(
            edit_id=cases[pair.question.case].request.id,
            probe_id=pair.question.probe.id,
            kind=pair.question.probe.kind,
            scope=pair.question.probe.scope,
            phase=phase,
            tokens=pair.measure.tokens,
            tokens_correct=pair.measure.tokens_correct,
            log_prob=pair.measure.log_prob,
            alternative_log_prob=pair.alternative.log_prob if pair.alternative else None,
            alternative_tokens=pair.alternative.tokens if pair.alternative else None,
            kl=pair.measure.kl,
            prompt=_text(pair.question.probe.prompt),
            answer=_text(pair.question.answer),
            output=pair.output,
        )
        for pair in pairs
    ]


def _text(text: str | tuple[int, ...]) -> str:
    return text if isinstance(text, str) else " ".join(map(str, text))
