"""Differences between methods on the same edits."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from bench.records.store import Store


def test_a_difference_is_first_less_second_over_the_same_edits(store: Store, add_done: Any, draw: Any) -> None:
    add_done(method="mend", success=1.0)
    add_done(method="ft", success=0.0)

    numbers = pd.read_csv(draw("pairs", store.load("run"), metrics="success").csv)

    assert numbers[["first", "second", "mean", "n"]].to_numpy().tolist() == [["ft", "mend", -1.0, 12]]
    assert numbers["ci_high"].item() < 0


def test_a_pair_that_differs_nowhere_is_zero(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done(method="mend", success=0.5)
    add_done(method="ft", success=0.5)  # the same seed: the same answers

    files = draw("pairs", store.load("run"), metrics="success")

    assert pd.read_csv(files.csv)["mean"].tolist() == [0.0]
    assert "ft − mend" in words(files)


def test_cells_about_other_data_are_no_pair(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done(method="mend")
    add_done(method="ft", dataset_digest="other")

    assert "no two methods have success or drawdown on the same edits" in words(draw("pairs", store.load("run")))


def test_many_methods_are_compared_with_the_best_one(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done(method="best", success=1.0)
    for number in range(6):
        add_done(method=f"m{number}", success=0.3)

    files = draw("pairs", store.load("run"), metrics="success")

    numbers = pd.read_csv(files.csv)
    assert set(numbers["first"]) == {"best"}
    assert len(numbers) == 6
    assert (numbers["mean"] > 0).all()
    assert "of more than 15 pairs those with the best method" in words(files)


@pytest.mark.parametrize("metric", ["edit_seconds", "success_immediate"])
def test_a_metric_that_has_no_scores_of_edits_is_said(
    metric: str, store: Store, add_done: Any, draw: Any, words: Any
) -> None:
    add_done(method="mend")
    add_done(method="ft")

    assert "nothing to draw" in words(draw("pairs", store.load("run"), metrics=metric))
