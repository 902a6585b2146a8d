"""What the unedited model gave: computed for the first method, read by those that follow."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.editing.request import Text
from bench.models.answers import Answers
from bench.models.encoding import Batch
from bench.models.language_model import LanguageModel
from bench.models.replay import Kept
from bench.running.measure import Measure

__all__ = ["Before", "Unedited"]

_MOST_BYTES = 512 * 2**20  # of all that one model's batches are kept for


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What is known of a batch before its edits.

    Args:
        answers: of the unedited model; None where nothing is compared with them.
        kept: what the blocks below all edits give for the batch; None where that is of no use.
    """

    answers: Answers | None = None
    kept: Kept | None = None


class Unedited:
    """What was measured of the unedited model; and for whole batches its answers and what its lower blocks gave.

    Batches are planned from the data alone, so that the next method, seed or mode asks for the very same ones. What
    has been kept of them is never thrown out again: a sweep asks in turn, and the oldest is what the next cell begins
    with.

    Args:
        lm: the model; its weights must stay as they are.
        most_bytes: of all that is kept of batches.
    """

    def __init__(self, lm: LanguageModel, *, most_bytes: int = _MOST_BYTES) -> None:
        self.measures: dict[str, list[Measure]] = {}  # by the key of a set of questions
        self._lm = lm
        self._left = most_bytes
        self._known: dict[Hashable, Before] = {}

    def before(
        self, pairs: Sequence[tuple[Text, Text]], batch: Batch | None, depths: tuple[int, ...], *, is_compared: bool
    ) -> Before:
        """Give what is known of a batch before its edits.

        Args:
            pairs: prompt and answer of each row, as they are without any edit.
            batch: these pairs, or None if the edited model reads other prompts; nothing can be replayed then.
            depths: how many blocks of each stack lie below all edits.
            is_compared: the unedited answers are wanted.
        """
        key = (tuple(pairs), depths if batch is not None else None, is_compared)
        found = self._known.get(key)
        if found is None:
            found = self._compute(pairs, batch, depths, is_compared=is_compared)
            size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(found))
            if size <= self._left:
                self._left -= size
                self._known[key] = found
        return found

    def _compute(
        self, pairs: Sequence[tuple[Text, Text]], batch: Batch | None, depths: tuple[int, ...], *, is_compared: bool
    ) -> Before:
        lm = self._lm
        if batch is None:
            return Before(answers=lm.answers(lm.batch(pairs), is_sparse=True)) if is_compared else Before()
        kept = lm.keep(batch, depths)
        return Before(answers=lm.answers(batch, kept=kept, is_sparse=True) if is_compared else None, kept=kept)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors that are kept alive."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Before):
        yield from _tensors([value.answers and value.answers.logits, value.kept and value.kept.outputs])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
