"""Peak memory against the size of models."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.records.store import Store


def test_the_limit_of_the_device_is_drawn_where_it_is_known(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done(environment={"device_memory_bytes": 80 * 2**30, "device_name": "H100"})

    files = draw("memory", store.load("run"))

    numbers = pd.read_csv(files.csv)
    assert "H100: 80 GiB" in words(files)
    assert numbers[["mean", "device_memory_bytes"]].to_numpy().tolist() == [[2**30, 80 * 2**30]]


def test_an_unknown_limit_is_said(store: Store, add_done: Any, draw: Any, words: Any) -> None:
    add_done()

    assert "the memory of the device is not recorded" in words(draw("memory", store.load("run")))


def test_the_weights_are_their_number_times_their_size(store: Store, add_done: Any, draw: Any) -> None:
    add_done(dtype="fp32")
    add_done(dtype="bf16")

    numbers = pd.read_csv(draw("memory", store.load("run")).csv).set_index("dtype")

    assert numbers["weight_bytes"].to_dict() == {"fp32": 12, "bf16": 6}  # three parameters
