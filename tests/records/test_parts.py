"""Each metric against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from bench.editing.request import ProbeKind
from bench.records import parts
from bench.records.metrics import METRICS
from bench.records.parts import cost_parts, normalised, score
from bench.records.schema import CostRow, answers_frame, check_answers, costs_frame
from bench.records.statistics import units


def result(answers: pd.DataFrame, name: str) -> float | None:
    """The metric over all edits, or None if it has no row."""
    data = units(score("k", answers), METRICS[name])
    return None if data is None else float(METRICS[name].aggregate(*data))


def test_every_metric_is_made_of_parts_that_exist() -> None:
    needed = {part for metric in METRICS.values() for part in metric.parts}
    costs = {"edit_seconds", "edit_seconds_amortised", "fit_seconds", "peak_memory_bytes"}

    assert needed == set(parts.PARTS) | set(parts.LOOKS) | costs


def test_the_kinds_scored_are_kinds_of_probes() -> None:
    assert {"request", "rephrase", "locality", "portability", "text"} == {kind.value for kind in ProbeKind}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("success_request", 1.0),
        ("success_rephrase", 0.5),
        ("success", 0.75),  # e1: 2 of 2, e2: 1 of 2
        ("token_accuracy", 7 / 8),  # 2+2 and 2+1 of 2+2 each
        ("drawdown", 0.5),
        ("drawdown_relation", 1.0),
        ("drawdown_distant", 0.0),
        ("base_drawdown", 0.0),
        ("locality_accuracy", 0.5),
    ],
)
def test_a_metric_of_two_known_edits(answers: pd.DataFrame, name: str, expected: float) -> None:
    assert result(answers, name) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "drawdown_subject",
        "portability",
        "prefers_new",
        "success_generated",
        "perplexity",
        "drawdown_perplexity",
        "locality_kl",
    ],
)
def test_a_metric_without_a_probe_has_no_row(answers: pd.DataFrame, name: str) -> None:
    assert result(answers, name) is None


def test_success_counts_every_edit_the_same_however_many_probes_it_has(make_row: Any) -> None:
    rows = [make_row("e1", "q", "request", "edited", hit=True)]
    rows += [make_row("e2", f"r{place}", "rephrase", "edited", hit=False) for place in range(9)]

    assert result(answers_frame(rows), "success") == 0.5


def test_token_accuracy_pools_tokens(make_row: Any) -> None:
    rows = [
        make_row("e1", "q", "request", "edited", tokens=1, tokens_correct=1),
        make_row("e2", "q", "request", "edited", tokens=9, tokens_correct=0),
    ]

    assert result(answers_frame(rows), "token_accuracy") == pytest.approx(0.1)


def test_an_answer_without_tokens_is_no_match(make_row: Any) -> None:
    frame = answers_frame([make_row("e1", "q", "request", "edited", tokens=0, tokens_correct=0)])

    assert result(frame, "success_request") == 0.0
    assert result(frame, "token_accuracy") is None


def test_perplexity_pools_nll_and_tokens_as_the_reference_does(make_row: Any) -> None:
    """editors.md, section 11, check 14: nll (2, 3, 1) a token, tokens (10, 30, 20)."""
    rows = []
    for place, (nll, tokens) in enumerate(((2.0, 10), (3.0, 30), (1.0, 20))):
        for phase, more in (("original", 0.0), ("edited", 0.1)):
            log_prob = -(nll + more) * tokens
            rows.append(make_row(f"e{place}", "t", "text", phase, tokens=tokens, log_prob=log_prob))
    frame = answers_frame(rows)

    assert result(frame, "perplexity") == pytest.approx(9.647190, abs=5e-7)
    assert result(frame, "drawdown_perplexity") == pytest.approx(9.647190 - 8.729138, abs=1e-6)


def test_drawdown_is_against_the_base_and_base_drawdown_against_the_original(make_row: Any) -> None:
    hits = {"original": (True, True, True), "base": (True, True, False), "edited": (True, False, False)}
    rows = [
        make_row("e1", f"l{place}", "locality", phase, hit=hit)
        for phase, found in hits.items()
        for place, hit in enumerate(found)
    ]

    assert result(answers_frame(rows), "drawdown") == pytest.approx(1 / 3)
    assert result(answers_frame(rows), "base_drawdown") == pytest.approx(1 / 3)


def test_drawdown_may_be_negative(make_row: Any) -> None:
    rows = [
        make_row("e1", "l", "locality", "original", hit=False),
        make_row("e1", "l", "locality", "edited", hit=True),
    ]

    assert result(answers_frame(rows), "drawdown") == -1.0


def test_prefers_new_counts_only_probes_with_an_old_target(make_row: Any) -> None:
    new = {"alternative_tokens": 1, "log_prob": -1.0}
    rows = [
        make_row("e1", "a", "request", "edited", **new, alternative_log_prob=-2.0),
        make_row("e1", "b", "rephrase", "edited", **new, alternative_log_prob=-0.5),
        make_row("e1", "c", "rephrase", "edited", **new, alternative_log_prob=-1.0),  # a tie is no preference
        make_row("e1", "d", "rephrase", "edited", alternative_log_prob=None),
    ]

    assert result(answers_frame(rows), "prefers_new") == pytest.approx(1 / 3)


def test_locality_kl_is_the_mean_over_locality_probes_of_each_edit(make_row: Any) -> None:
    rows = [
        make_row("e1", "a", "locality", "edited", kl=0.2),
        make_row("e1", "b", "locality", "edited", kl=0.4),
        make_row("e2", "a", "locality", "edited", kl=0.0),
        make_row("e2", "q", "request", "edited", kl=9.0),
    ]

    assert result(answers_frame(rows), "locality_kl") == pytest.approx(0.15)


def test_success_generated_compares_normalised_text(make_row: Any) -> None:
    rows = [
        make_row("e1", "q", "request", "edited", output=" rome. "),
        make_row("e1", "r", "rephrase", "edited", output="Rome is"),
        make_row("e1", "s", "rephrase", "edited", output=None),
    ]

    assert result(answers_frame(rows), "success_generated") == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  New \n  York. ", "new york"),
        ("«STRASSE»", "strasse"),
        ("Straße", "strasse"),
        ("+49", "+49"),
        ("St. John's!", "st. john's"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_normalising_keeps_what_belongs_to_an_answer(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_the_score_of_an_edit_is_value_by_weight_and_counts_its_probes(answers: pd.DataFrame) -> None:
    scores = score("k", answers)
    row = scores[(scores["metric"] == "success") & (scores["edit_id"] == "e2")].iloc[0]

    assert (row["cell"], row["step"], row["value"], row["weight"], row["probes"]) == ("k", 0, 0.5, 1.0, 2)


def test_no_answers_give_no_scores() -> None:
    assert score("k", answers_frame([])).empty


def test_a_nan_answer_ends_as_not_finite(make_row: Any) -> None:
    from bench.errors import NotFinite

    with pytest.raises(NotFinite, match=r"'e1'.*'q'"):
        check_answers(answers_frame([make_row("e1", "q", "request", "edited", log_prob=math.nan)]))


def test_a_doubled_answer_is_refused(make_row: Any) -> None:
    from bench.errors import StoreError

    with pytest.raises(StoreError, match="two answers"):
        check_answers(answers_frame([make_row("e1", "q", "request", "edited")] * 2))


def test_costs_become_metrics_by_edit_or_by_cell() -> None:
    rows = [
        CostRow(phase="fit", measure="seconds", value=50.0, cached=True),
        CostRow(phase="fit", measure="seconds", value=10.0),
        CostRow(phase="edit", measure="seconds", value=1.0, edit_id="e1"),
        CostRow(phase="edit", measure="seconds", value=2.0, edit_id="e2"),
        CostRow(phase="edit", measure="seconds", value=9.0, edit_id="e3"),
        CostRow(phase="edit", measure="seconds", value=99.0),  # of all edits together: no latency
        CostRow(phase="edit", measure="edit_seconds_amortised", value=0.5),
        CostRow(phase="edit", measure="edit_seconds_amortised", value=0.7),
        CostRow(phase="fit", measure="peak_memory_bytes", value=3e6),
        CostRow(phase="edit", measure="peak_memory_bytes", value=7e6),
    ]
    table = cost_parts(costs_frame("k", rows))
    found = {}
    for name in ("edit_seconds", "edit_seconds_p95", "edit_seconds_amortised", "fit_seconds", "peak_memory_bytes"):
        data = units(table, METRICS[name])
        assert data is not None
        found[name] = (float(METRICS[name].aggregate(*data)), data.values.shape[1])

    assert found == {
        "edit_seconds": (2.0, 3),
        "edit_seconds_p95": (pytest.approx(2.0 + 0.9 * 7.0), 3),
        "edit_seconds_amortised": (pytest.approx(0.6), 2),
        "fit_seconds": (60.0, 1),
        "peak_memory_bytes": (7e6, 1),
    }


def test_every_score_names_the_group_of_its_edit(answers: pd.DataFrame) -> None:
    grouped = answers.assign(edit_group=answers["edit_id"].map({"e1": "g1", "e2": "g2"}))

    scores = score("k", grouped)

    assert set(scores[["edit_id", "edit_group"]].itertuples(index=False, name=None)) == {("e1", "g1"), ("e2", "g2")}
    assert score("k", answers)["edit_group"].isna().all()
