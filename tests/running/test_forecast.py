"""What cells will take is judged by the nearest ones that are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.forecast import Estimate, Forecast

MakeCell = Callable[..., Cell]


@pytest.fixture
def cell() -> MakeCell:
    def make(**fields: Any) -> Cell:
        values: dict[str, Any] = {
            "method": "mend",
            "method_version": 1,
            "config": {"rank": 4},
            "plugin_digest": "a",
            "model": "small",
            "model_digest": "s",
            "model_kind": "causal",
            "dataset": "facts",
            "dataset_digest": "c",
            "dataset_config": {},
            "split": "test",
            "edits": 100,
            "mode": "single",
            "dtype": "fp32",
            "application": "factored",
            "device": "cpu",
            "threads": 1,
            "seed": 0,
        }
        return Cell(**(values | fields))

    return make


def card(cell: Cell, **fields: Any) -> Card:
    """A cell that took 90 s, 60 of them for its fit, and 30 + 70 bytes at most."""
    spent = {"fit_seconds": 60.0, "own_fit_seconds": 60.0, "load_memory_bytes": 30.0, "work_memory_bytes": 70.0}
    values: dict[str, Any] = {
        "cell": cell,
        "key": cell.key,
        "status": Status.DONE,
        "started": "2026-11-22T10:00:00+00:00",
        "ended": "2026-11-22T10:01:30+00:00",
        "environment": {},
        "counts": {},
        "files": {},
        "metrics_version": 1,
        "parameters": 1000,
        "spent": spent,
    }
    return Card(**(values | fields))


def test_the_same_method_model_and_dataset_is_the_measure_and_time_grows_with_edits(cell: MakeCell) -> None:
    forecast = Forecast([card(cell()), card(cell(method="ft"), ended="2026-11-22T11:00:00+00:00")])

    found = forecast.estimate(cell(edits=200, seed=5, config={"rank": 8}))

    assert found == Estimate(fit_seconds=60.0, seconds=60.0, memory_bytes=100.0)


def test_the_nearest_configuration_is_taken(cell: MakeCell) -> None:
    slow = card(cell(config={"rank": 8}), ended="2026-11-22T10:03:00+00:00")

    assert Forecast([card(cell()), slow]).estimate(cell(config={"rank": 8}, seed=1)).seconds == 120.0


def test_another_model_is_scaled_by_its_parameters(cell: MakeCell) -> None:
    found = Forecast([card(cell())]).estimate(cell(model="large", model_digest="l"), 3000)

    assert found == Estimate(fit_seconds=180.0, seconds=90.0, memory_bytes=300.0, is_scaled=True)


def test_parameters_that_no_card_of_the_model_states_are_known_from_other_methods(cell: MakeCell) -> None:
    other = card(cell(method="ft", model="large", model_digest="l"), parameters=2000)

    assert Forecast([card(cell()), other]).estimate(cell(model="large", model_digest="l")).seconds == 60.0


@pytest.mark.parametrize(
    "changes",
    [{"method": "ke"}, {"device": "cuda"}, {"model": "large", "model_digest": "l"}],
    ids=["another method", "another device", "a model of unknown size"],
)
def test_nothing_is_known_without_a_cell_like_it(cell: MakeCell, changes: dict[str, Any]) -> None:
    assert Forecast([card(cell())]).estimate(cell(**changes)) == Estimate()


def test_cells_that_failed_are_no_measure(cell: MakeCell) -> None:
    assert Forecast([card(cell(), status=Status.FAILED)]).estimate(cell()) == Estimate()


def test_a_fit_that_was_cached_is_not_taken_off(cell: MakeCell) -> None:
    done = card(cell())
    cached = replace(done, spent={**done.spent, "own_fit_seconds": 0.0}, ended="2026-11-22T10:00:30+00:00")

    assert Forecast([cached]).estimate(cell(seed=1)) == Estimate(fit_seconds=60.0, seconds=30.0, memory_bytes=100.0)


def test_the_highest_peak_counts_as_workers_keep_their_model(cell: MakeCell) -> None:
    warm = card(cell(seed=1), spent={"work_memory_bytes": 5.0})

    assert Forecast([card(cell()), warm]).estimate(cell(seed=2)).memory_bytes == 100.0
