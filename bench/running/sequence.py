"""Makes the edits of a sequence one after the other and keeps them, and scores each at once and at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bench.editing.edit import State
from bench.editing.installed import Installed
from bench.errors import NotFinite
from bench.records.mode import parse_mode
from bench.records.schema import AnswerRow
from bench.running.clock import Cost, measured
from bench.running.costs import add
from bench.running.grouping import Group
from bench.running.inquiry import Inquiry
from bench.running.trial import Trial, check_edit, edit_generator

__all__ = ["edit_in_sequences"]

_NEW: Mapping[str, int] = MappingProxyType({})  # ages of edits: all that are asked about have just been made


def edit_in_sequences(trial: Trial) -> list[str]:
    """Make the edits of each sequence and score them; between two sequences the base is put back.

    Every edit is computed by `Editor.edit` from the model with all earlier ones in it, and from the memory of the
    last. It is scored at once, on its own probes, and again at the end of its sequence. At checkpoints the fixed
    questions of the sequence are asked. Unedited answers, for the divergence, are always those of the base.

    Returns:
        Sentences for the card.

    Raises:
        NotFinite: an edit, or an answer of the edited model, is not finite.
        EditError: an edit can not be made, or something wrote into the weights.
    """
    edit_cost, evaluate_cost = Cost(), Cost()
    forgotten = 0
    _warm_up(trial)
    for number, group in enumerate(trial.inquiries.groups):
        with Installed(trial.lm) as installed:
            sequence = _Sequence(trial, group, installed, done=number * len(group.places))
            for step in range(1, len(group.places) + 1):
                add(edit_cost, sequence.edit(step))
                with measured(trial.lm.device) as cost:
                    sequence.score(step)
                add(evaluate_cost, cost)
            forgotten += installed.forgotten
    count = sum(len(group.places) for group in trial.inquiries.groups)
    trial.enter("evaluate", done=count)
    trial.costs.spent("edit", edit_cost)
    trial.costs.spent("evaluate", evaluate_cost)
    trial.costs.note("edit", "edit_seconds_amortised", edit_cost.seconds / count)
    return [f"edits whose place was taken by the next one, which has no memory of them: {forgotten}"] * bool(forgotten)


def _warm_up(trial: Trial) -> None:
    """Make one edit that is neither kept nor counted."""
    trial.enter("edit")
    first = trial.inquiries.groups[0].requests[0]
    trial.editor.edit([first], memory=None, generator=edit_generator(trial.cell.seed, [first.id]))


class _Sequence:
    """One sequence, edit after edit.

    Args:
        trial: what it belongs to.
        group: its requests, in their order.
        installed: holds its edits in force.
        done: edits of the sequences before it.
    """

    def __init__(self, trial: Trial, group: Group, installed: Installed, *, done: int) -> None:
        self._trial = trial
        self._group = group
        self._installed = installed
        self._done = done
        self._checkpoints = set(parse_mode(trial.cell.mode).checkpoints)
        self._memory: State | None = None

    def edit(self, step: int) -> Cost:
        """Make one edit and put it in force; gives what making it cost."""
        request = self._group.requests[step - 1]
        self._enter("edit", step)
        generator = edit_generator(self._trial.cell.seed, [request.id])
        with measured(self._trial.lm.device) as cost:
            edit = self._trial.editor.edit([request], memory=self._memory, generator=generator)
        check_edit(edit, "the edit")
        self._installed.add(edit)
        self._memory = edit.memory
        self._trial.costs.spent("edit", cost, edit_id=request.id)
        self._trial.costs.note("edit", "edit_bytes", edit.bytes, request.id)
        return cost

    def score(self, step: int) -> None:
        """Score the edit that was just made, the model as a whole if it is time for that, and all edits at the end."""
        places, inquiries = self._group.places, self._trial.inquiries
        self._enter("evaluate", step)
        self._ask(inquiries.about(places[step - 1 : step]))
        if step in self._checkpoints:
            change = self._installed.weight_change()
            self._ask(inquiries.yardsticks[self._group.id], age_of={self._group.id: step}, weight_change=change)
        if step == len(places):  # the last one has just been scored
            ages = {request.id: step - number for number, request in enumerate(self._group.requests, 1)}
            self._ask(inquiries.about(places[:-1]), age_of=ages)

    def _ask(self, inquiry: Inquiry, *, age_of: Mapping[str, int] = _NEW, weight_change: float | None = None) -> None:
        """Ask the model as it is now; what changes weights is written into it, and one edit at most is beside it."""
        edits, owner = [self._installed.beside], [0] * len(inquiry.questions)
        rows = self._trial.ask(inquiry, edits, owner, application="factored", earlier=self._installed)
        _check_answers(rows)
        self._trial.rows.extend(
            replace(row, step=age_of.get(row.edit_id, 0), weight_change=weight_change) for row in rows
        )

    def _enter(self, phase: str, step: int) -> None:
        place = f"edit {step} of {len(self._group.places)} of {self._group.id!r}"
        self._trial.enter(phase, done=self._done + step - 1, place=place)


def _check_answers(rows: Sequence[AnswerRow]) -> None:
    """End a sequence whose model gives no numbers any more; infinity is one: a perplexity may be infinite."""
    for row in rows:
        if math.isnan(row.log_prob):
            raise NotFinite(
                f"the log-probability of probe {row.probe_id!r} of edit {row.edit_id!r} is NaN after this edit."
            )
