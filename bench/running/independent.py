"""Makes independent edits, each of one request or of a group, and scores each under itself alone."""

from __future__ import annotations

from collections.abc import Sequence

from bench.editing.edit import Edit
from bench.errors import EditError
from bench.running.clock import Cost, measured
from bench.running.costs import add
from bench.running.grouping import Group
from bench.running.trial import Trial, check_edit, edit_generator

__all__ = ["edit_independently"]

_AT_ONCE = {"factored": 32, "written": 1}  # requests whose edits are made and scored together, or one whole group
_ALONE = 20  # requests whose edits are made one at a time, after one to warm up, for the latency of an edit …
_FEWEST_ALONE = 5  # … but at least so many edits


def edit_independently(trial: Trial) -> None:
    """Make the edits and score them, some at a time."""
    groups, costs = trial.inquiries.groups, trial.costs
    _latency(trial)
    edit_cost, evaluate_cost, done = Cost(), Cost(), 0
    size = max(1, _AT_ONCE[trial.cell.application] // len(groups[0].places))
    for first in range(0, len(groups), size):
        chunk = groups[first : first + size]
        trial.enter("edit", done=done)
        generators = [edit_generator(trial.cell.seed, [r.id for r in group.requests]) for group in chunk]
        with measured(trial.lm.device) as cost:
            edits = trial.editor.edit_each([group.requests for group in chunk], generators=generators)
        add(edit_cost, cost)
        _check(edits, chunk)
        for group, edit in zip(chunk, edits, strict=True):
            costs.note("edit", "edit_bytes", edit.bytes, group.id)
        trial.enter("evaluate", done=done)
        with measured(trial.lm.device) as cost:
            _score(trial, edits, chunk)
        add(evaluate_cost, cost)
        done += sum(len(group.places) for group in chunk)
    trial.enter("evaluate", done=done)
    costs.spent("edit", edit_cost)
    costs.spent("evaluate", evaluate_cost)
    costs.note("edit", "edit_seconds_amortised", edit_cost.seconds / done)


def _score(trial: Trial, edits: Sequence[Edit], groups: Sequence[Group]) -> None:
    """Ask each group's questions under its edit."""
    edit_of = {place: index for index, group in enumerate(groups) for place in group.places}
    inquiry = trial.inquiries.about(edit_of)
    owner = [edit_of[question.case] for question in inquiry.questions]
    trial.rows.extend(trial.ask(inquiry, edits, owner, application=trial.cell.application))


def _latency(trial: Trial) -> None:
    """Time single edits, each alone in its batch, after one that is not counted."""
    trial.enter("edit")
    groups = trial.inquiries.groups
    few = max(_FEWEST_ALONE, _ALONE // len(groups[0].places))
    for index, group in enumerate([groups[0], *groups[:few]]):
        generator = edit_generator(trial.cell.seed, [request.id for request in group.requests])
        with measured(trial.lm.device, memory=False) as cost:
            trial.editor.edit(group.requests, memory=None, generator=generator)
        if index > 0:
            trial.costs.spent("edit", cost, edit_id=group.id)


def _check(edits: Sequence[Edit], groups: Sequence[Group]) -> None:
    if len(edits) != len(groups):
        raise EditError(f"the editor gave {len(edits)} edits for {len(groups)} groups of requests.")
    for edit, group in zip(edits, groups, strict=True):
        check_edit(edit, f"the edit of {group.title}")
