"""A metric of each method on each model."""

from __future__ import annotations

from typing import Any

from bench.records.status import Status
from bench.records.store import Store


def test_each_cell_has_its_number_and_what_failed_its_status(
    store: Store, add_done: Any, add_failed: Any, draw: Any, words: Any
) -> None:
    add_done(success=1.0)
    add_done(success=0.0, method="ft")
    add_done(success=1.0, method="ft", model="gpt2-1m")
    add_failed(Status.OOM, model="gpt2-1m")

    text = words(draw("heat", store.load("run"), metrics="success"))

    assert text.count("1.000") == 2
    assert text.count("0.000") == 1
    assert " oom " in text


def test_what_was_not_run_is_a_dash(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done()
    add_done(method="ft", model="gpt2-1m")

    assert words(draw("heat", store.load("run"), metrics="success")).count("–") == 2
