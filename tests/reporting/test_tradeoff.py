"""The trade-off plot: its numbers, its frontier, its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from bench.errors import StoreError, UnknownPlugin


def points(*numbers: tuple[str, float, float]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    return {(name, "gpt2-3m"): {"drawdown": (x, 0.01), "success": (y, 0.02)} for name, x, y in numbers}


def test_a_plot_is_png_svg_and_its_numbers(make_summary: Any, draw: Any) -> None:
    files = draw("tradeoff", make_summary(points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8))))

    numbers = pd.read_csv(files.csv).set_index("method")
    svg = files.svg.read_text()

    assert files.png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert numbers.loc["mend", ["mean_x", "mean_y", "ci_low_y", "n_x"]].tolist() == [0.02, 0.9, 0.88, 200]
    for text in ("mend", "ft", "gpt2-3m", "drawdown (fraction, ← better)", "success (fraction, better →)", "n = 200"):
        assert text in svg


def test_the_frontier_holds_what_nothing_beats_on_both(make_summary: Any, draw: Any) -> None:
    best = points(("none", 0.0, 0.0), ("mend", 0.02, 0.9), ("ke", 0.03, 0.7), ("enn", 0.05, 0.9), ("ft", 0.1, 0.95))

    numbers = pd.read_csv(draw("tradeoff", make_summary(best)).csv)

    assert set(numbers.loc[numbers["is_frontier"], "method"]) == {"none", "mend", "ft"}


def test_the_frontier_turns_with_the_metrics(make_summary: Any, draw: Any) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9), ("ke", 0.03, 0.7), ("ft", 0.1, 0.95)))

    numbers = pd.read_csv(draw("tradeoff", summary, x="success", y="drawdown").csv)

    assert set(numbers.loc[numbers["is_frontier"], "method"]) == {"mend", "ft"}


def test_the_same_summary_gives_the_same_bytes(make_summary: Any, draw: Any, tmp_path: Path) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8)))

    first, second = draw("tradeoff", summary, tmp_path / "1"), draw("tradeoff", summary, tmp_path / "2")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_models_are_panels(make_summary: Any, draw: Any) -> None:
    values = {
        ("mend", model): {"drawdown": (0.1, 0.01), "success": (0.9, 0.01)}
        for model in ("gpt2-1m", "gpt2-3m", "gpt2-10m")
    }

    svg = draw("tradeoff", make_summary(values)).svg.read_text()

    assert all(svg.count(f">{model}<") == 1 for model in ("gpt2-1m", "gpt2-3m", "gpt2-10m"))
    assert svg.count(">mend<") == 3


def test_a_method_that_lacks_a_metric_is_named_not_drawn(make_summary: Any, draw: Any) -> None:
    values = points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8))
    del values[("ft", "gpt2-3m")]["drawdown"]

    files = draw("tradeoff", make_summary(values))

    assert pd.read_csv(files.csv)["method"].tolist() == ["mend"]
    assert "without one of the two here or there: ft" in files.svg.read_text()


def test_configurations_of_a_method_are_told_apart(make_summary: Any, draw: Any, words: Any) -> None:
    one = make_summary(points(("mend", 0.02, 0.9)))
    configs = ("default", "rank=64,steps=300,no_such_long_field=true", "kl=true")
    summary = pd.concat([one.assign(config=config) for config in configs], ignore_index=True)
    summary.loc[(summary["config"] == "kl=true") & (summary["metric"] == "drawdown"), "metric"] = "success_request"

    files = draw("tradeoff", summary)

    svg = files.svg.read_text()
    assert pd.read_csv(files.csv)["config"].tolist() == list(configs[:2])
    assert [svg.count(f">{line}<") for line in ("mend", "rank=64,steps=300", "no_such_long_field=true")] == [2, 1, 1]
    assert "here or there: mend[kl=true]" in words(files)


def test_nothing_to_draw_is_said(make_summary: Any, draw: Any) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9)))

    files = draw("tradeoff", summary, x="portability")

    assert "nothing to draw" in files.svg.read_text()
    assert len(pd.read_csv(files.csv)) == 0


def test_text_from_data_is_no_mathtext_and_no_markup(make_summary: Any, draw: Any) -> None:
    values = {("$x_{$", "<b>&"): {"drawdown": (0.1, 0.01), "success": (0.9, 0.01)}}

    svg = draw("tradeoff", make_summary(values)).svg.read_text()

    assert "$x_{$" in svg
    assert "&lt;b&gt;&amp;" in svg


def test_an_interval_that_can_not_be_given_is_no_bar(make_summary: Any, draw: Any) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9)))
    summary[["ci_low", "ci_high"]] = float("nan")

    assert draw("tradeoff", summary).png.exists()


def test_an_unknown_metric_is_refused(make_summary: Any, draw: Any) -> None:
    with pytest.raises(UnknownPlugin, match="'sucess'"):
        draw("tradeoff", make_summary(points(("mend", 0.02, 0.9))), y="sucess")


def test_a_folder_that_can_not_be_written_is_said(make_summary: Any, draw: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file"):
        draw("tradeoff", make_summary(points(("mend", 0.02, 0.9))), tmp_path / "file")
