"""Published numbers beside measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import StoreError
from bench.reporting.plots.published import COLUMNS, read

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "published_mend.csv"
SIZES = {"gpt2-1m": 1_000_000, "gpt2-3m": 3_000_000}


def test_the_reference_has_what_the_paper_says() -> None:
    rows = read(REFERENCE).set_index(["table", "model", "method", "config", "edits", "metric"])

    assert rows.loc[("table 4", "distilGPT-2", "mend", "default", 1, "success"), "value"] == 0.86
    assert rows.loc[("table 3", "GPT-J 6B", "mend", "default", 1, "drawdown_perplexity"), "value"] == 0.031
    assert rows.loc[("table 5", "BART-base", "enn", "default", 125, "success"), "value"] == 0.11
    assert rows.loc[("table 4", "BERT-base", "mend", "default", 1, "success"), ["value", "bound"]].tolist() == [
        0.99,
        ">",
    ]
    assert rows.index.is_unique
    assert (rows["protocol"].str.len() > 20).all()


def test_published_numbers_are_in_the_csv_and_change_no_measured_one(make_summary: Any, draw: Any, words: Any) -> None:
    values = {("mend", model): {"success": (0.9, 0.02)} for model in SIZES}

    alone = pd.read_csv(draw("scaling", make_summary(values, SIZES), metrics="success").csv)
    files = draw("scaling", make_summary(values, SIZES), metrics="success", published=read(REFERENCE))

    numbers = pd.read_csv(files.csv)
    measured = numbers[numbers["origin"] == "measured"]
    published = numbers[numbers["origin"] == "published"]
    assert files.png.name == "scaling-success-published.png"
    pd.testing.assert_frame_equal(measured[alone.columns], alone, check_dtype=False)
    assert published.set_index("model")["value"].to_dict() == {
        "GPT-Neo 2.7B": 0.81,
        "GPT-J 6B": 0.88,
        "distilGPT-2": 0.86,
    }
    assert "mend (published)" in words(files)
    assert "arXiv:2110.11309" in words(files)


def test_methods_that_the_run_has_not_are_not_shown(make_summary: Any, draw: Any, words: Any) -> None:
    values = {("ft", model): {"success": (0.5, 0.02)} for model in SIZES}

    text = words(draw("scaling", make_summary(values, SIZES), metrics="success", published=read(REFERENCE)))

    assert "ft (published)" in text
    assert "mend" not in text


def test_an_ablation_is_shown_beside_that_of_the_run(make_summary: Any, draw: Any, words: Any) -> None:
    values = {("mend", model): {"success": (0.5, 0.02)} for model in SIZES}
    one = make_summary(values, SIZES)
    summary = pd.concat([one.assign(config=config) for config in ("steps=5", "steps=5,no_norm=true")])

    text = words(draw("scaling", summary, metrics="success", published=read(REFERENCE)))

    assert "mend no_norm=true (published)" in text
    assert "no_sharing" not in text


def test_the_trade_off_shows_them_in_panels_of_their_own(make_summary: Any, draw: Any, words: Any) -> None:
    values = {("mend", "gpt2-3m"): {"success": (0.9, 0.02), "drawdown_perplexity": (0.1, 0.02)}}

    files = draw("tradeoff", make_summary(values), published=read(REFERENCE), x="drawdown_perplexity")

    assert "published: distilGPT-2" in words(files)
    assert pd.read_csv(files.csv)["is_published"].tolist() == [False, True, True, True]


def test_the_batch_plot_shows_table_5(make_summary: Any, draw: Any) -> None:
    one = make_summary({("mend", "t5"): {"success": (0.9, 0.02)}})
    summary = pd.concat([one.assign(mode=mode) for mode in ("single", "batch:5")])

    numbers = pd.read_csv(draw("batch", summary, metrics="success", published=seq2seq_as_causal()).csv)

    published = numbers[numbers["origin"] == "published"]
    assert dict(zip(published["x"], published["mean"], strict=True)) == {
        1: 0.98,
        5: 0.97,
        25: 0.89,
        75: 0.78,
        125: 0.67,
    }


def seq2seq_as_causal() -> pd.DataFrame:
    return read(REFERENCE).replace({"kind": {"seq2seq": "causal"}})


def test_a_file_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("source,table\na,b\n")

    with pytest.raises(StoreError, match="no column 'model'"):
        read(tmp_path / "p.csv")


def test_an_unknown_metric_is_refused_with_the_nearest(tmp_path: Path) -> None:
    line = "s,t,m,causal,1,d,p,mend,default,1,sucess,0.5,"
    (tmp_path / "p.csv").write_text(f"{','.join(COLUMNS)}\n{line}\n")

    with pytest.raises(StoreError, match="'sucess', which is unknown. Did you mean 'success'"):
        read(tmp_path / "p.csv")


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    line = "s,t,m,causal,1,d,p,mend,default,1,success,high,"
    (tmp_path / "p.csv").write_text(f"{','.join(COLUMNS)}\n{line}\n")

    with pytest.raises(StoreError, match="must be numbers"):
        read(tmp_path / "p.csv")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can not be read"):
        read(tmp_path / "nothing.csv")
