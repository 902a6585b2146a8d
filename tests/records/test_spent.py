"""What a card keeps of a cell's costs, and cards that were written before it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.records.card import read_card
from bench.records.cell import Cell
from bench.records.schema import CostRow, costs_frame
from bench.records.spent import spent
from bench.records.store import Store


def test_fits_are_added_and_peaks_are_the_highest() -> None:
    costs = [
        CostRow(phase="load", measure="seconds", value=9.0),
        CostRow(phase="load", measure="peak_memory_bytes", value=30.0),
        CostRow(phase="fit", measure="seconds", value=60.0, cached=True),
        CostRow(phase="fit", measure="seconds", value=5.0),
        CostRow(phase="fit", measure="peak_memory_bytes", value=70.0),
        CostRow(phase="edit", measure="peak_memory_bytes", value=20.0),
        CostRow(phase="edit", measure="seconds", value=1.0, edit_id="e"),
    ]

    assert spent(costs_frame("c", costs)) == {
        "fit_seconds": 65.0,
        "own_fit_seconds": 5.0,
        "load_memory_bytes": 30.0,
        "work_memory_bytes": 70.0,
    }


def test_nothing_measured_is_nothing_said() -> None:
    assert spent(costs_frame("c", [])) == {}


def test_a_cell_of_before_is_still_read(
    tmp_path: Path, make_cell: Callable[..., Cell], make_result: Callable[..., Any]
) -> None:
    store, cell = Store(tmp_path), make_cell()
    store.start("r", {})
    written = store.write("r", cell, make_result(cell))
    folder = store.cell_folder("r", cell)
    card = json.loads((folder / "card.json").read_text())
    assert card.pop("spent") == {"fit_seconds": 60.0, "own_fit_seconds": 60.0}
    (folder / "card.json").write_text(json.dumps(card))

    found = read_card(folder, verify=True)

    assert found.spent == {}
    assert found.key == written.key
    assert store.find("r", cell) == found
