"""The metrics of sequences against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from bench.records.metrics import METRICS
from bench.records.parts import score
from bench.records.result import broken_off, uncompleted
from bench.records.schema import answers_frame
from bench.records.statistics import estimate
from bench.records.status import Status

SEQUENCE = "sequence/0000"


def value(answers: pd.DataFrame, name: str) -> float | None:
    """Give a metric over all edits, or None if it has no row."""
    found = estimate(score("k", answers), METRICS[name], seed=0)
    return None if found is None else found.mean


@pytest.fixture
def make(make_row: Any) -> Any:
    """Make an answer of a sequence."""

    def row(edit: str, probe: str, kind: str, phase: str, step: int = 0, **fields: Any) -> Any:
        return make_row(edit, probe, kind, phase, step=step, **{"edit_group": SEQUENCE} | fields)

    return row


@pytest.fixture
def edits(make: Any) -> pd.DataFrame:
    """Three edits: all hold at once, only the last two at the end; the first broke its neighbour, but not at once."""
    rows = []
    for number in range(3):
        name, age = f"e{number}", 2 - number
        rows.append(make(name, "near", "locality", "original", hit=True))
        rows += [
            make(name, "q", "request", "edited", hit=True),
            make(name, "near", "locality", "edited", hit=True),
        ]
        if age:
            rows += [
                make(name, "q", "request", "edited", step=age, hit=number > 0),
                make(name, "near", "locality", "edited", step=age, hit=number > 0),
            ]
    return answers_frame(rows)


def texts(make: Any, ratios: dict[int, float], sequence: str = SEQUENCE) -> list[Any]:
    """Make passages of 10 tokens whose perplexity is 5 before any edit, and so many times that after some."""
    rows = [make(sequence, "t", "text", "original", tokens=10, log_prob=-10 * math.log(5), edit_group=sequence)]
    for step, ratio in ratios.items():
        nll = 10 * math.log(5 * ratio)
        rows.append(make(sequence, "t", "text", "edited", step=step, tokens=10, log_prob=-nll, edit_group=sequence))
    return rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("success", 2 / 3),
        ("success_request", 2 / 3),
        ("success_immediate", 1.0),
        ("success_request_immediate", 1.0),
        ("success_rephrase_immediate", None),
        ("drawdown", 1 / 3),
        ("drawdown_immediate", 0.0),
        ("locality_accuracy", 2 / 3),
        ("drawdown_fixed", None),
        ("perplexity", None),
        ("collapsed", None),
        ("weight_change", None),
    ],
)
def test_an_edit_counts_as_it_is_at_the_end_or_if_asked_for_as_it_was_at_once(
    edits: pd.DataFrame, name: str, expected: float | None
) -> None:
    assert value(edits, name) == (None if expected is None else pytest.approx(expected))


def test_scores_keep_each_age_for_curves(edits: pd.DataFrame) -> None:
    scores = score("k", edits)
    success = scores[scores["metric"] == "success_request"]

    by_step = {(row.edit_id, row.step): row.value for row in success.itertuples()}
    assert by_step == {("e0", 0): 1, ("e0", 2): 0, ("e1", 0): 1, ("e1", 1): 1, ("e2", 0): 1}


def test_where_all_is_scored_once_there_is_no_immediate_metric(answers: pd.DataFrame) -> None:
    assert value(answers, "success_immediate") is None
    assert value(answers, "success") == pytest.approx(0.75)


def test_the_sequence_is_the_unit_of_resampling(edits: pd.DataFrame) -> None:
    again = edits.assign(edit_group="sequence/0001", edit_id="f" + edits["edit_id"].str[1:])
    found = estimate(score("k", pd.concat([edits, again])), METRICS["success_request"], seed=0)

    assert found is not None
    assert (found.mean, found.n) == (pytest.approx(2 / 3), 2)


def test_looks_at_a_sequence_have_a_row_a_checkpoint_and_count_as_no_edit(make: Any, edits: pd.DataFrame) -> None:
    looks = [make(SEQUENCE, "a/near", "locality", "original", hit=True)]
    looks += [make(SEQUENCE, "a/near", "locality", "edited", step=1, hit=True, weight_change=0.125)]
    looks += [make(SEQUENCE, "a/near", "locality", "edited", step=3, hit=False, weight_change=0.5)]
    both = pd.concat([edits, answers_frame(looks)], ignore_index=True)

    scores = score("k", both)

    def curve(name: str) -> dict[int, float]:
        rows = scores[scores["metric"] == name]
        assert set(rows["edit_id"]) == set(rows["edit_group"]) == {SEQUENCE}
        return dict(zip(rows["step"], rows["value"], strict=True))

    assert curve("drawdown_fixed") == {1: 0.0, 3: 1.0}
    assert curve("weight_change") == {1: 0.125, 3: 0.5}
    assert (value(both, "drawdown_fixed"), value(both, "weight_change")) == (1.0, 0.5)
    assert value(both, "drawdown") == pytest.approx(1 / 3)  # of the edits alone
    assert value(both, "locality_accuracy") == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("ratios", "collapsed", "until"),
    [
        ({1: 1.0, 10: 9.9, 100: 9.99}, 0.0, None),
        ({1: 1.0, 10: 10.1, 100: 40.0}, 1.0, 10.0),
        ({1: 11.0, 10: 2.0, 100: 3.0}, 1.0, 1.0),  # what a model has lost once counts, even if it comes back
        ({1: 1.0, 10: math.inf}, 1.0, 10.0),
    ],
)
def test_a_collapse_is_a_perplexity_of_more_than_ten_times_the_originals(
    make: Any, ratios: dict[int, float], collapsed: float, until: float | None
) -> None:
    answers = answers_frame(texts(make, ratios))

    assert value(answers, "collapsed") == collapsed
    assert value(answers, "edits_until_collapse") == until


def test_perplexity_is_that_of_the_last_checkpoint(make: Any) -> None:
    answers = answers_frame(texts(make, {1: 1.0, 10: 2.0}))

    assert value(answers, "perplexity") == pytest.approx(10.0)
    assert value(answers, "perplexity_ratio") == pytest.approx(2.0)
    assert value(answers, "drawdown_perplexity") == pytest.approx(5.0)


def test_edits_until_collapse_is_over_the_sequences_that_collapsed(make: Any) -> None:
    names = [f"sequence/000{number}" for number in range(3)]
    ends = [{1: 1.0, 10: 20.0}, {1: 20.0, 10: 20.0}, {1: 1.0, 10: 1.0}]
    answers = answers_frame(
        [row for name, ratios in zip(names, ends, strict=True) for row in texts(make, ratios, name)]
    )

    found = estimate(score("k", answers), METRICS["edits_until_collapse"], seed=0)

    assert value(answers, "collapsed") == pytest.approx(2 / 3)
    assert found is not None
    assert (found.mean, found.n) == (5.5, 2)


def test_the_ratio_is_to_the_model_as_loaded_and_the_drawdown_to_the_base(make: Any) -> None:
    base = make(SEQUENCE, "t", "text", "base", tokens=10, log_prob=-10 * math.log(7))
    answers = answers_frame([*texts(make, {1: 2.0}), base])

    assert value(answers, "perplexity_ratio") == pytest.approx(2.0)
    assert value(answers, "drawdown_perplexity") == pytest.approx(3.0)


def test_a_sequence_that_broke_off_keeps_its_answers_and_says_whether_it_had_collapsed(
    make: Any, make_cell: Any, edits: pd.DataFrame
) -> None:
    cell = make_cell(mode="sequential:100")
    answers = pd.concat([edits, answers_frame(texts(make, {1: 1.0, 10: 50.0}))], ignore_index=True)
    times = {"started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:01:30+00:00"}

    result = broken_off(uncompleted(Status.NAN, **times), cell, answers)

    assert result.status == Status.NAN
    assert len(result.tables["answers"]) == len(answers)
    assert "collapsed" in set(result.tables["scores"]["metric"])
    assert result.tables["summary"].empty
    assert result.notes == (
        "edits whose answers are kept: 3",
        "'sequence/0000': perplexity was first above 10 times the original's at edit 10",
    )
