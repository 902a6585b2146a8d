"""Edits that are kept one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.records.cell import Cell
from bench.records.result import completed
from bench.records.schema import AnswerRow, answers_frame, costs_frame
from bench.records.store import Store

LENGTH = 4


def answers(group: str) -> Iterator[AnswerRow]:
    """Every edit works at once; at the end only the last two do. The fixed question is lost by the fourth edit."""
    for number in range(1, LENGTH + 1):
        age = LENGTH - number
        for step in sorted({0, age}):
            yield row(f"{group}{number}", group, step, "request", is_right=step == 0 or number > 2)
    yield row(group, group, 0, "locality", is_right=True, phase="original")
    for step in (1, LENGTH):
        yield row(group, group, step, "locality", is_right=step == 1)


def row(edit: str, group: str, step: int, kind: str, *, is_right: bool, phase: str = "edited") -> AnswerRow:
    return AnswerRow(
        edit_id=edit, edit_group=group, step=step, probe_id=kind, kind=kind, phase=phase, tokens=1,
        tokens_correct=int(is_right), log_prob=-1.0, prompt="p", answer="a",
    )  # fmt: skip


def add_sequences(store: Store, make_cell: Any) -> None:
    cell: Cell = make_cell(mode=f"sequential:{LENGTH}", edits=2 * LENGTH, application="written")
    frame = answers_frame([*answers("a"), *answers("b")])
    times = {"started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:00:42+00:00"}
    result = completed(cell, answers=frame, costs=costs_frame(cell.key, []), environment={}, parameters=3, **times)
    store.write("run", cell, result)


def test_edits_are_shown_when_made_and_at_the_end(store: Store, make_cell: Any, draw: Any, words: Any) -> None:
    add_sequences(store, make_cell)

    files = draw("sequence", store.load("run"))

    numbers = pd.read_csv(files.csv, keep_default_na=False).set_index(["metric", "when"])
    assert numbers.loc[("success", "now"), ["x", "mean"]].to_numpy().tolist() == [[x, 1] for x in (1, 2, 3, 4)]
    at_end = numbers.loc[("success", "at the end"), ["x", "mean", "n"]].to_numpy().tolist()
    assert at_end == [[1, 0, 2], [2, 0, 2], [3, 1, 2], [4, 1, 2]]
    assert numbers.loc[("drawdown_fixed", ""), ["x", "mean"]].to_numpy().tolist() == [[1, 0], [4, 1]]
    assert "mend now" in words(files)
    assert "mend at the end" in words(files)


def test_a_run_without_sequences_says_so(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done()

    assert "no finished cell of sequential mode has success or drawdown_fixed" in words(
        draw("sequence", store.load("run"))
    )
