"""Metrics over the requests that one edit installs."""

from __future__ import annotations

from typing import Any

import pandas as pd

VALUES = {("mend", "m"): {"success": (0.9, 0.02), "drawdown": (0.01, 0.005)}}


def modes(make_summary: Any, *names: str) -> pd.DataFrame:
    return pd.concat([make_summary(VALUES).assign(mode=name) for name in names], ignore_index=True)


def test_single_is_one_at_once(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("batch", modes(make_summary, "single", "batch:5", "batch:25"), metrics="success")

    assert pd.read_csv(files.csv)["x"].tolist() == [1, 5, 25]
    assert all(f" {number} " in words(files) for number in (1, 5, 25))


def test_sequences_are_no_batches(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("batch", modes(make_summary, "single", "sequential:10"))

    assert "batch needs two modes" in words(files)
