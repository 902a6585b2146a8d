"""Chooses the cases of a cell: those that fit into the model, and, if asked for, that it gets right before any edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from bench.editing.dataset import Dataset
from bench.editing.request import EditCase, Probe, ProbeKind, Text
from bench.errors import DataError
from bench.models.language_model import LanguageModel
from bench.running.measure import Measure
from bench.running.questions import Question, ask

__all__ = ["Choice", "choose", "fitting", "kept_from_fit", "rows_left_out"]

_AT_ONCE = 64  # cases that the unedited model is asked about together
_SPARE_TOKENS = 8  # what tokenizers put around a text, and the space between a prompt and its answer
_NAMED = 20  # cases that do not fit and are named on a card, which must not grow with the dataset

Asking = Callable[[Sequence[Question]], Sequence[Measure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The cases of a cell, and what was left out on the way to them.

    Args:
        cases: as many as were asked for.
        problems: a sentence for each case before the last one chosen that does not fit.
        unknown: cases that the unedited model does not get right; None if nobody asked.
    """

    cases: list[EditCase]
    problems: tuple[str, ...]
    unknown: int | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the numbers must know."""
        notes = list(self.problems[:_NAMED])
        if self.problems:
            notes.insert(0, f"cases left out because they do not fit into the model: {len(self.problems)}")
        if len(self.problems) > _NAMED:
            notes.append(f"{len(self.problems) - _NAMED} more cases that do not fit are not named here")
        if self.unknown is not None:
            asked = self.unknown + len(self.cases)
            notes.insert(
                0,
                f"known cases only: {self.unknown} of {asked} were left out, which the unedited model gets wrong",
            )
        return tuple(notes)


def choose(lm: LanguageModel, cases: Iterable[EditCase], count: int, *, asking: Asking | None = None) -> Choice:
    """Give the first `count` cases that fit into the model and that it knows, if that is asked for.

    A case is known if the unedited model gives its old target for its prompt: every token is the most probable one,
    under teacher forcing.

    Args:
        lm: the model, unedited.
        cases: of a split, in order; no more are read than are needed, and at most some dozens beyond.
        count: how many are wanted.
        asking: measures the unedited model's answers; None: every case counts as known.

    Raises:
        DataError: there are fewer than `count`.
    """
    misfits: list[_Misfit] = []
    kept: list[EditCase] = []
    unknown = 0
    encoded = _encoded(lm, cases, misfits, is_asked=asking is not None)
    if asking is None:
        kept = list(islice(encoded, count))
    while asking is not None and len(kept) < count and (chunk := list(islice(encoded, _AT_ONCE))):
        for case, is_known in zip(chunk, _known(chunk, asking), strict=True):
            if len(kept) < count:
                kept += [case] if is_known else []
                unknown += not is_known
    if len(kept) < count:
        problems = [misfit.problem for misfit in misfits]
        raise DataError(_too_few(lm, count, len(kept), problems, unknown if asking else None))
    # Some cases were read ahead, to be asked about together: what does not fit among them was not in the way.
    passed = tuple(misfit.problem for misfit in misfits if misfit.fitting_before < len(kept) + unknown)
    return Choice(cases=kept, problems=passed, unknown=unknown if asking else None)


def fitting(lm: LanguageModel, cases: Iterable[EditCase]) -> tuple[list[EditCase], list[str]]:
    """Give the cases that fit into the model, and the ids of those that do not: a fit draws from what this gives."""
    kept, left_out = [], []
    for case in cases:
        if _problem(lm, case) is None:
            kept.append(case)
        else:
            left_out.append(case.request.id)
    return kept, left_out


def kept_from_fit(fit: Sequence[str], tune: Sequence[str]) -> list[str]:
    """Give a note that counts and names the cases of both splits that do not fit; none if all do."""
    ids = [*fit, *tune]
    if not ids:
        return []
    names = ", ".join(map(repr, ids[:_NAMED])) + (", …" if len(ids) > _NAMED else "")
    counts = f"{len(fit)} of the fit split, {len(tune)} of the tune split"
    return [f"cases kept from the fit because they do not fit into the model: {counts} ({names})"]


def rows_left_out(dataset: Dataset[Any]) -> list[str]:
    """Give a note with how many rows of a dataset's files give no case, by reason; none if all do."""
    counts = dataset.left_out()
    if not counts:
        return []
    reasons = "; ".join(f"{count:,}: {reason}" for reason, count in counts.items())
    return [f"rows of the dataset's files that are in no split: {sum(counts.values()):,} ({reasons})"]


class _Misfit(NamedTuple):
    """A case that does not fit.

    Args:
        problem: a sentence that names it.
        fitting_before: how many cases that do fit were before it.
    """

    problem: str
    fitting_before: int


def _encoded(
    lm: LanguageModel, cases: Iterable[EditCase], misfits: list[_Misfit], *, is_asked: bool
) -> Iterator[EditCase]:
    """Yield the cases that fit, and note those that do not."""
    fitting_before = 0
    for case in cases:
        problem = _problem(lm, case, is_asked=is_asked)
        if problem is None:
            fitting_before += 1
            yield case
        else:
            misfits.append(_Misfit(f"case {case.request.id!r} was left out: {problem}", fitting_before))


def _problem(lm: LanguageModel, case: EditCase, *, is_asked: bool = False) -> DataError | None:
    """Say what of a case does not fit into the model. Only what could be too long is tokenised."""
    request = case.request
    pairs = [(request.prompt, request.target), *((q.probe.prompt, q.answer) for q in ask([case]))]
    if is_asked and request.old_target is not None:
        pairs.append((request.prompt, request.old_target))
    try:
        for prompt, answer in pairs:
            if not _is_short(lm, prompt, answer):
                lm.encoder.encode(prompt, answer)
    except DataError as error:
        return error
    return None


def _is_short(lm: LanguageModel, prompt: Text, answer: Text) -> bool:
    """Say whether a text fits for certain: a token is at least one character of plain ASCII."""
    encoder = lm.encoder
    if encoder.is_chat or not isinstance(prompt, str) or not isinstance(answer, str):
        return False  # nobody knows how long a chat's template is
    if not prompt.strip() or not answer.strip() or not (prompt + answer).isascii():
        return False  # of a text alone the first token can not be scored
    if encoder.label_ids and answer not in encoder.label_ids:
        return False
    return encoder.max_length is None or len(prompt) + len(answer) + _SPARE_TOKENS <= encoder.max_length


def _known(cases: Sequence[EditCase], asking: Asking) -> list[bool]:
    """Say for each case whether the unedited model gives its old target; a case without one is not known."""
    places = [place for place, case in enumerate(cases) if case.request.old_target is not None]
    questions = []
    for place in places:
        request = cases[place].request
        assert request.old_target is not None  # see above
        probe = Probe(id="known", kind=ProbeKind.REQUEST, prompt=request.prompt, answer=request.old_target)
        questions.append(Question(case=place, probe=probe, answer=request.old_target))
    measures = asking(questions) if questions else ()
    right = {place for place, measure in zip(places, measures, strict=True) if measure.tokens_correct == measure.tokens}
    return [place in right for place in range(len(cases))]


def _too_few(lm: LanguageModel, count: int, found: int, problems: Sequence[str], unknown: int | None) -> str:
    why = [f"{len(problems)} do not fit"] if problems else []
    why += [f"{unknown} it gets wrong"] if unknown else []
    known = "" if unknown is None else " and that it gets right"
    first = f" The first that does not: {problems[0]}" if problems and not found else ""
    return (
        f"{count} edits were asked for and the split has {found} that fit into {lm.name!r}{known}"
        + (f" ({', '.join(why)})" if why else "")
        + (f". Ask for at most {found} with --edits." if found else f".{first}")
    )
