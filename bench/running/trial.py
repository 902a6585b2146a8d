"""What putting an editor to the test takes, in whichever mode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bench.editing.edit import Edit
from bench.editing.editor import Editor
from bench.editing.installed import Installed
from bench.errors import EditError, NotFinite
from bench.models.language_model import LanguageModel
from bench.records.cell import Cell
from bench.records.schema import AnswerRow, Phase
from bench.running.costs import Costs
from bench.running.inquiry import Inquiries, Inquiry
from bench.running.room import Room
from bench.running.rows import answer_rows
from bench.running.scoring import measure_edited, speak
from bench.running.unedited import Unedited

__all__ = ["Enter", "Trial", "check_edit", "edit_generator"]


class Enter(Protocol):
    """Is told what begins."""

    def __call__(self, phase: str, *, done: int = 0, place: str = "") -> None:
        """A phase begins, after so many edits; `place` says to a reader where in a sequence that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An editor, what it is to edit, and where it is noted what comes of that.

    Args:
        cell: its cell.
        lm: the base: the model, with what preparing the editor did to it.
        editor: prepared.
        inquiries: the cell's groups of requests, and all that is asked.
        rows: answers, appended to as they come.
        costs: noted as they come.
        room: what is known of the memory.
        unedited: what is known of the base without edits.
        enter: told what begins.
    """

    cell: Cell
    lm: LanguageModel
    editor: Editor[Any]
    inquiries: Inquiries
    rows: list[AnswerRow]
    costs: Costs
    room: Room
    unedited: Unedited
    enter: Enter

    def ask(
        self,
        inquiry: Inquiry,
        edits: Sequence[Edit],
        owner: Sequence[int],
        *,
        application: str,
        earlier: Installed | None = None,
    ) -> list[AnswerRow]:
        """Put questions to the edited model, and let it speak where that is wanted.

        Args:
            inquiry: the questions.
            edits: all that are in force.
            owner: for each question the place of its edit.
            application: `factored` or `written`.
            earlier: what a sequence has written into the model.
        """
        lm, asked = self.lm, inquiry.questions
        measures = measure_edited(
            lm,
            asked,
            edits,
            owner,
            application=application,
            room=self.room,
            unedited=self.unedited,
            earlier=earlier,
        )
        spoken = [i for i, question in enumerate(asked) if question.is_generated]
        outputs: dict[int, str] = {}
        if spoken:
            whose = [owner[i] for i in spoken]
            texts = speak(lm, [asked[i] for i in spoken], edits, whose, application=application, room=self.room)
            outputs = dict(zip(spoken, texts, strict=True))
        return answer_rows(
            lm,
            inquiry.cases,
            asked,
            measures,
            Phase.EDITED,
            outputs=outputs,
            group_of=inquiry.group_of,
        )


def edit_generator(seed: int, ids: Sequence[str]) -> torch.Generator:
    """Give the generator of one edit: it depends on the cell's seed and the ids of the requests alone."""
    digest = hashlib.sha256("\n".join([str(seed), *ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def check_edit(edit: object, title: str) -> None:
    """Check what an editor gave.

    Raises:
        EditError: it is no edit.
        NotFinite: it holds NaN or infinity; the message calls it by its title.
    """
    if not isinstance(edit, Edit):
        raise EditError(f"the editor gave a {type(edit).__name__} where an Edit is expected.")
    if not edit.is_finite:
        raise NotFinite(f"{title} holds NaN or infinity.")
