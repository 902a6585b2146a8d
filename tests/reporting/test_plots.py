"""The trade-off plot: its numbers, its frontier, its labels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from bench.errors import StoreError, UnknownPlugin
from bench.reporting.labels import Label, place_labels
from bench.reporting.plots import tradeoff
from bench.reporting.style import looks


def points(*numbers: tuple[str, float, float]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    return {(name, "gpt2-3m"): {"drawdown": (x, 0.01), "success": (y, 0.02)} for name, x, y in numbers}


def test_a_plot_is_png_svg_and_its_numbers(make_summary: Any, tmp_path: Path) -> None:
    files = tradeoff(make_summary(points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8))), tmp_path / "plots")

    numbers = pd.read_csv(files.csv).set_index("method")
    svg = files.svg.read_text()

    assert files.png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert numbers.loc["mend", ["mean_x", "mean_y", "ci_low_y", "n_x"]].tolist() == [0.02, 0.9, 0.88, 200]
    for text in ("mend", "ft", "gpt2-3m", "drawdown (fraction, ← better)", "success (fraction, better →)", "n = 200"):
        assert text in svg


def test_the_frontier_holds_what_nothing_beats_on_both(make_summary: Any, tmp_path: Path) -> None:
    best = points(("none", 0.0, 0.0), ("mend", 0.02, 0.9), ("ke", 0.03, 0.7), ("enn", 0.05, 0.9), ("ft", 0.1, 0.95))

    numbers = pd.read_csv(tradeoff(make_summary(best), tmp_path).csv)

    assert set(numbers.loc[numbers["is_frontier"], "method"]) == {"none", "mend", "ft"}


def test_the_frontier_turns_with_the_metrics(make_summary: Any, tmp_path: Path) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9), ("ke", 0.03, 0.7), ("ft", 0.1, 0.95)))

    numbers = pd.read_csv(tradeoff(summary, tmp_path, x="success", y="drawdown").csv)

    assert set(numbers.loc[numbers["is_frontier"], "method"]) == {"mend", "ft"}


def test_the_same_summary_gives_the_same_bytes(make_summary: Any, tmp_path: Path) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8)))

    first, second = tradeoff(summary, tmp_path / "1"), tradeoff(summary, tmp_path / "2")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_models_are_panels(make_summary: Any, tmp_path: Path) -> None:
    values = {
        ("mend", model): {"drawdown": (0.1, 0.01), "success": (0.9, 0.01)}
        for model in ("gpt2-1m", "gpt2-3m", "gpt2-10m")
    }

    svg = tradeoff(make_summary(values), tmp_path).svg.read_text()

    assert all(svg.count(f">{model}<") == 1 for model in ("gpt2-1m", "gpt2-3m", "gpt2-10m"))
    assert svg.count(">mend<") == 3


def test_a_method_that_lacks_a_metric_is_named_not_drawn(make_summary: Any, tmp_path: Path) -> None:
    values = points(("mend", 0.02, 0.9), ("ft", 0.1, 0.8))
    del values[("ft", "gpt2-3m")]["drawdown"]

    files = tradeoff(make_summary(values), tmp_path)

    assert pd.read_csv(files.csv)["method"].tolist() == ["mend"]
    assert "without one of the two here or there: ft" in files.svg.read_text()


def test_configurations_of_a_method_are_told_apart(make_summary: Any, tmp_path: Path) -> None:
    one = make_summary(points(("mend", 0.02, 0.9)))
    configs = ("default", "rank=64,steps=300,no_such_long_field=true", "kl=true")
    summary = pd.concat([one.assign(config=config) for config in configs], ignore_index=True)
    summary.loc[(summary["config"] == "kl=true") & (summary["metric"] == "drawdown"), "metric"] = "success_request"

    files = tradeoff(summary, tmp_path)

    svg = files.svg.read_text()
    assert pd.read_csv(files.csv)["config"].tolist() == list(configs[:2])
    assert [svg.count(f">{line}<") for line in ("mend", "rank=64,steps=300", "no_such_long_field=true")] == [2, 1, 1]
    assert "here or there: mend[kl=true]" in svg


def test_nothing_to_draw_is_said(make_summary: Any, tmp_path: Path) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9)))

    files = tradeoff(summary, tmp_path, x="portability")

    assert "nothing to draw" in files.svg.read_text()
    assert len(pd.read_csv(files.csv)) == 0


def test_text_from_data_is_no_mathtext_and_no_markup(make_summary: Any, tmp_path: Path) -> None:
    values = {("$x_{$", "<b>&"): {"drawdown": (0.1, 0.01), "success": (0.9, 0.01)}}

    svg = tradeoff(make_summary(values), tmp_path).svg.read_text()

    assert "$x_{$" in svg
    assert "&lt;b&gt;&amp;" in svg


def test_an_interval_that_can_not_be_given_is_no_bar(make_summary: Any, tmp_path: Path) -> None:
    summary = make_summary(points(("mend", 0.02, 0.9)))
    summary[["ci_low", "ci_high"]] = float("nan")

    assert tradeoff(summary, tmp_path).png.exists()


def test_an_unknown_metric_is_refused(make_summary: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownPlugin, match="'sucess'"):
        tradeoff(make_summary(points(("mend", 0.02, 0.9))), tmp_path, y="sucess")


def test_a_folder_that_can_not_be_written_is_said(make_summary: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file"):
        tradeoff(make_summary(points(("mend", 0.02, 0.9))), tmp_path / "file")


def test_labels_of_close_points_cover_neither_each_other_nor_a_marker() -> None:
    figure = Figure(figsize=(4.6, 3.7))
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    spots = [(0.5 + 0.02 * place, 0.5 + 0.015 * (place % 3)) for place in range(6)]
    labels = [
        Label(text=f"method{place}", x=x, y=y, x_bar=(x, x), y_bar=(y, y), colour="black")
        for place, (x, y) in enumerate(spots)
    ]

    place_labels(ax, labels)
    canvas.draw()

    notes = [child for child in ax.get_children() if isinstance(child, Annotation)]
    boxes = [Text.get_window_extent(note) for note in notes]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert not any(box.contains(*ax.transData.transform(spot)) for box in boxes for spot in spots)


def test_a_method_looks_the_same_whatever_follows_it() -> None:
    assert looks(["mend", "ft"])["ft"] == looks(["mend", "ft", "ke"])["ft"]
    assert len(set(looks(f"m{place}" for place in range(20)).values())) == 20
