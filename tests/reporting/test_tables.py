"""The table of a run, in every format, with everything that goes wrong in it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from bench.errors import StoreError, UnknownPlugin
from bench.records.status import Status
from bench.records.store import Store
from bench.reporting import formats
from bench.reporting.load import load
from bench.reporting.tables import DEFAULT_METRICS, Table, build

METRICS = ("success_request", "drawdown", "edit_seconds")


def printed(table: Table, width: int = 200) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(formats.terminal(table, width))
    return stream.getvalue()


def test_the_columns_are_in_the_fixed_order(store: Store, add_done: Any) -> None:
    add_done()

    names = [column.name for column in build(store.load("run"), METRICS).columns]

    assert names == ["method", "model", "dataset", "mode", "status", *METRICS, "n", "time"]


def test_a_row_shows_mean_half_interval_n_and_time(store: Store, add_done: Any) -> None:
    add_done(success=1.0, lost=0.0)

    text = printed(build(store.load("run"), METRICS))

    assert "1.000 ±0.121" in text  # Wilson for 12 of 12: (0.757506, 1)
    assert "4.0 ms" in text
    assert "42 s" in text
    assert " 12 " in text


def test_headers_say_which_way_is_better(store: Store, add_done: Any) -> None:
    add_done()

    titles = [column.title for column in build(store.load("run"), METRICS).columns]

    assert titles[5:8] == ["success_request ↑", "drawdown ↓", "edit_seconds ↓"]


def test_what_differs_between_rows_gets_a_column(store: Store, add_done: Any) -> None:
    add_done(application="factored")
    add_done(application="written")

    names = [column.name for column in build(store.load("run"), METRICS).columns]

    assert names[:6] == ["method", "model", "dataset", "mode", "application", "status"]


def test_a_run_with_sequences_shows_by_default_what_is_of_use_for_them(store: Store, add_done: Any) -> None:
    add_done()
    usual = [column.name for column in build(store.load("run")).columns if column.metric]
    assert usual == list(DEFAULT_METRICS)

    add_done(mode="sequential:12")

    shown = [column.name for column in build(store.load("run")).columns if column.metric]
    assert [name for name in shown if name in usual] == usual
    assert [name for name in shown if name not in usual] == [
        "success_request_immediate",
        "perplexity_ratio",
        "weight_change",
        "edits_until_collapse",
    ]
    assert shown.index("success_request_immediate") + 1 == shown.index("success_request")


def test_a_run_of_sequences_alone_leaves_out_what_there_is_no_room_for(store: Store, add_done: Any) -> None:
    add_done(mode="sequential:12")

    shown = [column.name for column in build(store.load("run")).columns if column.metric]

    assert shown[-2:] == ["edits_until_collapse", "edit_seconds"]


def test_two_seeds_are_one_row_and_a_failed_one_shows(store: Store, add_done: Any, add_failed: Any) -> None:
    add_done(seed=0)
    add_done(seed=1)
    add_failed(seed=2)

    table = build(store.load("run"), METRICS)

    assert [row.texts["status"] for row in table.rows] == ["2/3 done"]
    assert table.notes == ("failed: mend gpt2-3m facts single seed 2: in edit: ValueError: no",)


def test_a_failed_cell_is_a_row_with_its_reason_below(store: Store, add_done: Any, add_failed: Any) -> None:
    add_done()
    add_failed(Status.OOM, "8 GiB wanted", method="ke")

    table = build(store.load("run"), METRICS)

    assert [(row.texts["method"], row.texts["status"]) for row in table.rows] == [("ke", "oom"), ("mend", "done")]
    assert table.rows[0].values == {}
    assert table.notes == ("oom: ke gpt2-3m facts single seed 0: in edit: 8 GiB wanted",)


def test_a_note_of_several_cells_is_said_once(store: Store, add_done: Any) -> None:
    add_done(method="ft", notes=("a batch was halved",))
    for method, seed in (("ke", 0), ("mend", 0), ("mend", 1)):
        add_done(method=method, seed=seed, notes=("3 rows left out",))
    add_done(method="none")

    table = build(store.load("run"), METRICS)

    assert sorted(table.notes) == [
        "note: ft gpt2-3m facts single: a batch was halved",
        "note: ke, mend gpt2-3m facts single: 3 rows left out",
    ]


def test_a_run_with_only_failures_says_so(store: Store, add_failed: Any) -> None:
    add_failed()
    add_failed(Status.TIMEOUT, method="ke")

    assert "no cell of this run is done: 1 timeout, 1 failed." in printed(build(store.load("run")))


def test_an_empty_run_says_so_in_every_format(store: Store) -> None:
    store.start("run", {})
    table = build(store.load("run"))

    for text in (printed(table), formats.markdown(table), formats.latex(table)):
        assert "no cell of this run is finished yet" in text
    assert formats.records(table.frame()) == "[]\n"
    assert formats.csv(table.frame()).startswith("method,model,dataset,mode,status,success_request,")


def test_a_broken_cell_is_named_below_the_table(store: Store, add_done: Any) -> None:
    cell = add_done()
    (store.cell_folder("run", cell) / "costs.parquet").unlink()

    assert cell.folder in build(store.load("run")).notes[-1]


def test_an_unknown_metric_gets_the_nearest_name(store: Store, add_done: Any) -> None:
    add_done()

    with pytest.raises(UnknownPlugin, match="Did you mean 'drawdown'"):
        build(store.load("run"), ["drawdwn"])


def test_markup_and_control_characters_are_shown_not_obeyed(store: Store, add_failed: Any) -> None:
    add_failed(message="[bold red]x[/] \x1b[31mred\x1b[0m\u202e", model="[link=http://x]m")

    text = printed(build(store.load("run")))

    assert "[bold red]x[/] \\x1b[31mred\\x1b[0m\\u202e" in text
    assert "[link=http://x]m" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", range(60, 200, 7))
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(store: Store, add_done: Any, width: int) -> None:
    for method in ("mend", "ft"):
        add_done(method=method, overrides=("lr",))
    table = build(store.load("run"))

    lines = printed(table, width).splitlines()

    assert max(len(line) for line in lines) <= width
    assert sum(line.count("ms") for line in lines) == 2
    assert all(name in "\n".join(lines) for name in ("gpt2-3m", "facts", "single"))


def test_markdown_escapes_text(store: Store, add_failed: Any) -> None:
    add_failed(message="a|b <script>alert(1)</script> *x* `y` [z](http://e)\nsecond", method="ft_l")

    text = formats.markdown(build(store.load("run")))

    assert "<script>" not in text
    assert r"a\|b &lt;script&gt;alert(1)&lt;/script&gt; \*x\* \`y\` \[z\](http://e)" in text
    assert r"ft\_l" in text
    assert len({line.count(" | ") for line in text.splitlines()[:3]}) == 1


def test_latex_escapes_text(store: Store, add_failed: Any) -> None:
    add_failed(message=r"50% of $5 & {x}_1 ^2 ~ # \input{/etc/passwd} <", method="ft_l")

    text = formats.latex(build(store.load("run")))

    assert r"50\% of \$5 \& \{x\}\_1 \textasciicircum{}2 \textasciitilde{} \#" in text
    assert r"\textbackslash{}input\{/etc/passwd\} \textless{}" in text
    assert r"ft\_l & gpt2-3m" in text
    assert r"$\uparrow$" in text


def test_csv_and_json_hold_the_summary_in_full(store: Store, add_done: Any) -> None:
    add_done(model='a,"b"\nc')
    summary = store.load("run").summary

    rows = list(csv.DictReader(io.StringIO(formats.csv(summary))))
    same = json.loads(formats.records(summary))

    assert rows[0]["model"] == same[0]["model"] == 'a,"b"\nc'
    assert float(rows[0]["mean"]) == same[0]["mean"] == summary["mean"][0]
    assert same[0]["parameters"] == 3
    assert list(rows[0]) == list(same[0]) == list(summary.columns)


def test_json_has_null_where_there_is_no_number() -> None:
    frame = pd.DataFrame({"a": [float("nan"), float("inf"), 1.5], "b": pd.array([1, None, 2], dtype="Int64")})

    assert json.loads(formats.records(frame)) == [{"a": None, "b": 1}, {"a": None, "b": None}, {"a": 1.5, "b": 2}]


def test_the_wide_frame_has_numbers(store: Store, add_done: Any) -> None:
    add_done(success=1.0)

    frame = build(store.load("run"), METRICS).frame()

    assert frame["success_request"].tolist() == [1.0]
    assert frame["success_request_low"][0] == pytest.approx(0.757506, abs=1e-6)
    assert frame["success_request_n"].tolist() == [12]
    assert frame["seconds"].tolist() == [42.0]


def test_load_opens_a_run_by_its_path(store: Store, add_done: Any) -> None:
    add_done()

    assert len(load(str(store.run_folder("run"))).cells) == 1


@pytest.mark.parametrize("name", ["runn", "run/cells"])
def test_load_says_what_is_wrong_with_a_path(store: Store, add_done: Any, name: str) -> None:
    add_done()

    with pytest.raises(StoreError, match="no run at"):
        load(Path(store.root) / name)
