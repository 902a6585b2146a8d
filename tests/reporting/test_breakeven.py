"""After how many edits a fit has paid off."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

# mend: 100 s + 0.1 s an edit; ft: 1.1 s an edit. 100 + 0.1 n = 1.1 n at n = 100 and 110 s.
COSTS = {
    ("mend", "m"): {"fit_seconds": (100.0, 10.0), "edit_seconds": (0.1, 0.0)},
    ("ft", "m"): {"edit_seconds": (1.1, 0.1)},
}


def test_the_crossing_is_where_both_cost_the_same(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("breakeven", make_summary(COSTS))

    (crossing,) = pd.read_csv(files.csv).query("row == 'crossing'").to_dict("records")
    assert (crossing["method"], crossing["against_method"]) == ("mend", "ft")
    assert (crossing["edits"], crossing["seconds"]) == (pytest.approx(100), pytest.approx(110))
    assert crossing["edits_low"] == pytest.approx(90 / (1.2 - 0.1))
    assert crossing["edits_high"] == pytest.approx(110 / (1.0 - 0.1))
    assert "mend < ft from 100" in words(files)


def test_no_fit_is_said_in_words(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("breakeven", make_summary({("ft", "m"): {"edit_seconds": (1.1, 0.1)}}))

    assert "breakeven needs a method with fit_seconds; of ft none is fitted" in words(files)


def test_a_fit_that_never_pays_off_is_said_in_words(make_summary: Any, draw: Any, words: Any) -> None:
    costs = {**COSTS, ("ft", "m"): {"edit_seconds": (0.05, 0.01)}}

    assert "no fit ever pays off" in words(draw("breakeven", make_summary(costs)))


def test_what_costs_next_to_nothing_is_named_and_stretches_no_axis(make_summary: Any, draw: Any, words: Any) -> None:
    costs = {**COSTS, ("none", "m"): {"edit_seconds": (2e-6, 0.0)}}

    text = words(draw("breakeven", make_summary(costs)))

    assert "below the axis: none (2.0 µs an edit)" in text
    assert "1 µs" not in text
