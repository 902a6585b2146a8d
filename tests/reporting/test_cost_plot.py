"""Cost of an edit against success."""

from __future__ import annotations

from typing import Any

import pandas as pd


def test_the_fit_stands_below_the_name_and_decides_on_the_size(make_summary: Any, draw: Any, words: Any) -> None:
    values = {
        ("mend", "m"): {"success": (0.9, 0.02), "edit_seconds": (0.02, 0.001), "fit_seconds": (300.0, 5.0)},
        ("ft", "m"): {"success": (0.8, 0.02), "edit_seconds": (0.2, 0.01)},
    }

    files = draw("cost", make_summary(values))

    assert "mend fit 5.0 min" in words(files)
    assert "ft no fit" in words(files)
    assert pd.read_csv(files.csv).set_index("method")["fit_seconds"].to_dict()["mend"] == 300.0


def test_an_edit_that_costs_next_to_nothing_stands_at_the_edge(make_summary: Any, draw: Any, words: Any) -> None:
    values = {
        (name, "m"): {"success": (0.5, 0.02), "edit_seconds": (seconds, 0.0)}
        for name, seconds in (("none", 2e-6), ("mend", 0.02), ("ft", 0.2))
    }

    files = draw("cost", make_summary(values))

    assert "◀ 2 µs" in words(files)
    assert pd.read_csv(files.csv).set_index("method").loc["none", "mean_x"] == 2e-6
