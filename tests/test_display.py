"""What a run shows while it goes on: lines off a terminal, bars that fit on one."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from bench.display import shown_run
from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.task import Progress

_STEPS = [
    Progress(key="", phase="load"),
    Progress(key="", phase="fit", done=1234, total=5000, loss=0.12345, success=0.8123, seconds_left=5400.0),
    Progress(key="", phase="evaluate", done=7, total=200),
]


@pytest.fixture
def cell() -> Cell:
    return Cell(
        method="mend",
        method_version=1,
        config={"edit_lr": 0.0001},
        plugin_digest="",
        model="a-model-with-a-long-name",
        model_digest="",
        model_kind="causal",
        dataset="facts",
        dataset_digest="",
        dataset_config={},
        split="test",
        edits=200,
        mode="single",
        dtype="fp32",
        application="factored",
        device="cpu",
        threads=1,
        seed=0,
        overrides=("edit_lr",),
    )


def card(cell: Cell, status: Status, reason: str | None = None) -> Card:
    return Card(
        cell=cell,
        key=cell.key,
        status=status,
        started="2026-11-23T10:00:00.000+00:00",
        ended="2026-11-23T10:00:04.200+00:00",
        environment={},
        counts={},
        files={},
        metrics_version=1,
        reason=reason,
    )


def shown(cell: Cell, *, width: int, is_terminal: bool, status: Status = Status.DONE) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=is_terminal, highlight=False)
    with shown_run(console, {cell.key: cell}) as display:
        for step in _STEPS:
            display.progress(Progress(**{name: getattr(step, name) for name in step.__slots__} | {"key": cell.key}))
            if is_terminal:
                assert display._bars is not None
                display._bars.refresh()
        display.finished(card(cell, status, "no\x1b[31m cases\nfor it" if status is Status.SKIPPED else None))
    return text.getvalue()


def test_off_a_terminal_a_quick_cell_is_one_line(cell: Cell) -> None:
    text = shown(cell, width=40, is_terminal=False)

    assert text == "mend[edit_lr=0.0001]  a-model-with-a-long-name  facts  single  seed 0  done  4.2 s\n"


def test_off_a_terminal_a_long_cell_says_how_far_it_is(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.display._QUIET_SECONDS", 0.0)

    lines = shown(cell, width=200, is_terminal=False).splitlines()

    detail = "fit 1234/5000 loss 0.123 success 0.812 1.5 h left"
    assert lines[1] == f"  mend[edit_lr=0.0001] a-model-with-a-long-name: {detail}"


def test_a_running_cell_names_its_mode_where_it_is_not_the_usual_one(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.display._QUIET_SECONDS", 0.0)

    lines = shown(replace(cell, mode="batch:5"), width=200, is_terminal=False).splitlines()

    assert lines[1].startswith("  mend[edit_lr=0.0001] a-model-with-a-long-name batch:5: fit ")


def test_what_a_plugin_says_can_not_steer_the_terminal(cell: Cell) -> None:
    text = shown(cell, width=200, is_terminal=False, status=Status.SKIPPED)

    assert text.endswith("skipped  4.2 s  no\\x1b[31m cases for it\n")


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_on_a_terminal_the_numbers_of_a_fit_are_never_cut(cell: Cell, width: int) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(cell, width=width, is_terminal=True))

    lines = [line for line in re.split(r"[\r\n]+", text) if "fit 1234/5000" in line]
    assert lines
    success = " success 0.812" if width >= 100 else ""
    assert all(f"loss 0.123{success} 1.5 h left 0:00:0" in line and len(line) <= width for line in lines)


def test_a_status_is_coloured_and_named(cell: Cell) -> None:
    assert "\x1b[32mdone" in shown(cell, width=200, is_terminal=True)
