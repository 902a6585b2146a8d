"""What holds for all kinds of plots, with runs that lack nearly everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import ConfigError, StoreError, UnknownPlugin
from bench.records.status import Status
from bench.records.store import Store
from bench.reporting import plots

KINDS = pytest.mark.parametrize("kind", plots.KINDS)


def whole(make_summary: Any, *, methods: tuple[str, ...] = ("mend", "ft")) -> pd.DataFrame:
    """A summary with all metrics that the kinds draw by default."""
    sizes = {"gpt2-1m": 1_000_000, "gpt2-3m": 3_000_000}
    metrics = dict.fromkeys(name for kind in plots.KINDS.values() for name in kind.metrics)
    values = {(method, model): dict.fromkeys(metrics, (0.5, 0.1)) for method in methods for model in sizes}
    single = make_summary(values, sizes)
    return pd.concat([single, single.assign(mode="batch:5")], ignore_index=True)


@KINDS
def test_a_run_without_cells_gives_a_figure_that_says_so(
    kind: str, store: Store, add_failed: Any, draw: Any, words: Any, tmp_path: Path
) -> None:
    (tmp_path / "results" / "run" / "cells").mkdir(parents=True)

    files = draw(kind, store.load("run"))

    assert "nothing to draw" in words(files)
    assert len(pd.read_csv(files.csv)) == 0
    assert files.png.stat().st_size > 1000


@KINDS
def test_a_run_with_failures_only_gives_a_figure_that_says_so(
    kind: str, store: Store, add_failed: Any, draw: Any, words: Any
) -> None:
    add_failed(Status.OOM)
    add_failed(method="ft", mode="sequential:4")

    assert "nothing to draw" in words(draw(kind, store.load("run")))


@KINDS
def test_one_method_with_one_edit_gives_a_figure(kind: str, make_summary: Any, draw: Any) -> None:
    summary = whole(make_summary, methods=("mend",)).assign(n=1, ci_low=float("nan"), ci_high=float("nan"))

    assert draw(kind, summary).png.exists()


@KINDS
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_values_give_a_figure(kind: str, value: float, make_summary: Any, draw: Any) -> None:
    summary = whole(make_summary).assign(mean=value, ci_low=value, ci_high=value)

    assert draw(kind, summary).png.exists()


@KINDS
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_not_drawn(
    kind: str, value: float, make_summary: Any, draw: Any, words: Any
) -> None:
    summary = whole(make_summary).assign(mean=value, ci_low=value, ci_high=value)

    assert "nothing to draw" in words(draw(kind, summary))


@KINDS
def test_a_model_whose_size_is_unknown_gives_a_figure(kind: str, make_summary: Any, draw: Any) -> None:
    assert draw(kind, whole(make_summary).assign(parameters=pd.NA)).png.exists()


@KINDS
def test_the_same_numbers_give_the_same_bytes(kind: str, make_summary: Any, draw: Any, tmp_path: Path) -> None:
    summary = whole(make_summary)

    first, second = draw(kind, summary, tmp_path / "1"), draw(kind, summary, tmp_path / "2")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@KINDS
def test_text_from_data_is_no_mathtext(kind: str, make_summary: Any, draw: Any) -> None:
    summary = whole(make_summary).replace({"mend": "$x_{$", "gpt2-1m": "<b>&\x1b[31m"})

    assert draw(kind, summary).png.exists()


@KINDS
def test_options_of_other_kinds_are_refused(kind: str) -> None:
    found = plots.find(kind)
    for option in {"metrics", "x", "y"} - set(found.options):
        with pytest.raises(ConfigError, match=f"plot '{kind}' takes .*, not --{option}"):
            found.chosen({option: ("success",)})


def test_an_unknown_kind_gets_the_nearest() -> None:
    with pytest.raises(UnknownPlugin, match="no plot called 'scalling'. Did you mean 'scaling'"):
        plots.find("scalling")


def test_an_axis_shows_one_metric() -> None:
    with pytest.raises(ConfigError, match="an axis shows one metric"):
        plots.find("tradeoff").chosen({"x": ("success", "drawdown")})


def test_a_metric_is_drawn_once() -> None:
    metrics = plots.find("scaling").chosen({"metrics": ("success", "drawdown", "success")})

    assert [metric.name for metric in metrics] == ["success", "drawdown"]


def test_settings_that_a_method_always_has_stand_below_the_figure(make_summary: Any, draw: Any, words: Any) -> None:
    one = whole(make_summary, methods=("mend",))
    summary = pd.concat(
        [one.assign(config=config) for config in ("steps=5,rank=8", "steps=5,rank=8,no_norm=true")], ignore_index=True
    )

    text = words(draw("scaling", summary, metrics="success"))

    assert "settings: mend: steps=5, rank=8" in text
    assert text.count("no_norm=true") == 2  # a panel a mode
    assert text.count("steps=5") == 1


def test_what_failed_is_named_below_the_figure(
    store: Store, add_done: Any, add_failed: Any, draw: Any, words: Any
) -> None:
    add_done()
    add_failed(Status.OOM, method="ke")

    assert "without a result: ke on gpt2-3m (oom)" in words(draw("tradeoff", store.load("run")))


def test_a_folder_that_can_not_be_written_is_said(make_summary: Any, draw: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file"):
        draw("heat", whole(make_summary), tmp_path / "file")


@pytest.mark.slow
def test_plots_need_no_torch() -> None:
    code = "import sys, bench.reporting.plots; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
