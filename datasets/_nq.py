"""Questions of Natural Questions (NQ-open), which edits of other questions must leave alone.

Source: Kwiatkowski et al. 2019; Lee et al. 2019 (NQ-open, arXiv:1906.00300). The question is written as in
eric-mitchell/mend: a capital letter, a question mark, and the shortest of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.datasets._entries import Entry, read_entries
from bench.datasets._fact_splits import split_of
from bench.datasets._rows import Asked
from bench.editing.dataset import Split

__all__ = ["as_question", "nq_questions"]

_MARK = "nq question: "  # with which EasyEdit's files begin each question


def nq_questions(path: Path, split: Split) -> Iterator[Asked]:
    """Yield the questions of a split of a JSON Lines file with `question` and `answer`, a list.

    Raises:
        DataError: a line is wrong.
    """
    for entry in read_entries(path):
        question = as_question(entry.text("question"))
        answer = _shortest(entry)
        if split_of(question) is split:
            yield Asked(question, answer, "distant")


def as_question(text: str) -> str:
    """Write a question of NQ as a sentence: a capital letter and a question mark."""
    bare = text.removeprefix(_MARK).strip()
    return f"{bare[:1].upper()}{bare[1:]}{'' if bare.endswith('?') else '?'}"


def _shortest(entry: Entry) -> str:
    answers = [answer for answer in entry.texts("answer") if answer.strip()]
    if not answers:
        raise entry.wrong("the field 'answer' holds no answer")
    return min(answers, key=len)
