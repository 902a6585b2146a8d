"""Metrics over the size of models."""

from __future__ import annotations

from typing import Any

import pandas as pd

SIZES = {"gpt2-1m": 1_100_000, "gpt2-3m": 3_000_000, "gpt2-10m": 10_000_000}


def values(*, methods: tuple[str, ...] = ("mend", "ft"), models: Any = SIZES) -> dict[Any, Any]:
    return {
        (method, model): {
            "success": (0.9 - 0.1 * place, 0.02),
            "drawdown": (0.01, 0.005),
            "edit_seconds": (0.02 * (place + 1), 0.001),
            "fit_seconds": (300.0 if method == "mend" else 2e-5, 0.0),
        }
        for place, method in enumerate(methods)
        for model in models
    }


def test_a_panel_a_metric_and_a_number_a_size(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("scaling", make_summary(values(), SIZES))

    svg = files.svg.read_text()
    numbers = pd.read_csv(files.csv)
    mine = numbers[(numbers["method"] == "mend") & (numbers["metric"] == "success")]
    assert all(f">{name} (" in svg for name in ("success", "drawdown", "edit_seconds", "fit_seconds"))
    assert [svg.count(f">{size}<") for size in ("1.1M", "3.0M", "10M")] == [4, 4, 4]
    assert mine[["x", "mean", "ci_low", "n"]].to_numpy().tolist() == [[size, 0.9, 0.88, 200] for size in SIZES.values()]
    assert "models: gpt2-1m 1.1M, gpt2-3m 3.0M, gpt2-10m 10M" in words(files)


def test_metrics_are_those_asked_for(make_summary: Any, draw: Any) -> None:
    files = draw("scaling", make_summary(values(), SIZES), metrics="success")

    assert files.png.name == "scaling-success.png"
    assert set(pd.read_csv(files.csv)["metric"]) == {"success"}


def test_what_is_far_below_the_axis_is_written_out(make_summary: Any, draw: Any) -> None:
    files = draw("scaling", make_summary(values(), SIZES), metrics="fit_seconds")

    assert "ft ▼ 20 µs" in files.svg.read_text()
    assert pd.read_csv(files.csv).query("method == 'ft'")["mean"].tolist() == [2e-5] * 3


def test_one_size_is_said_in_words(make_summary: Any, draw: Any, words: Any) -> None:
    files = draw("scaling", make_summary(values(models=["gpt2-3m"]), SIZES))

    assert "scaling needs two sizes of model" in words(files)
    assert len(pd.read_csv(files.csv)) == 4 * 2


def test_data_of_which_one_size_is_there_is_named(make_summary: Any, draw: Any, words: Any) -> None:
    summary = make_summary(values(), SIZES)
    other = make_summary(values(models=["bert"]), {"bert": 4_300_000}).assign(dataset="claims")

    files = draw("scaling", pd.concat([summary, other], ignore_index=True))

    assert "left out: bert" in words(files)


def test_a_method_whose_configuration_differs_by_size_is_one_line(make_summary: Any, draw: Any, words: Any) -> None:
    summary = make_summary(values(methods=("mend",)), SIZES)
    summary["config"] = summary["model"].map({"gpt2-1m": "steps=1", "gpt2-3m": "steps=2", "gpt2-10m": "steps=3"})

    text = words(draw("scaling", summary, metrics="success"))

    assert "steps" not in text
    assert "the configuration differs along the line (see CSV): mend" in text
