"""What a stretch of work is said to have cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from bench.running.clock import measured

CPU = torch.device("cpu")


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_peak_memory_sees_what_was_freed_again() -> None:
    with measured(CPU) as cost:
        block = np.ones(64 * 2**20, dtype=np.uint8)
        busy(0.05)
        del block

    assert 48 * 2**20 < cost.peak_memory_bytes < 256 * 2**20


def test_peak_memory_leaves_out_what_was_in_use_before() -> None:
    block = np.ones(64 * 2**20, dtype=np.uint8)

    with measured(CPU) as cost:
        busy(0.02)

    assert cost.peak_memory_bytes < 32 * 2**20
    assert block[0] == 1


def test_twice_the_work_takes_longer() -> None:
    with measured(CPU) as short:
        busy(0.02)
    with measured(CPU) as long:
        busy(0.06)

    assert long.seconds > short.seconds
    assert long.seconds >= 0.06


def test_time_asleep_is_no_cpu_time() -> None:
    with measured(CPU) as cost:
        torch.cuda.is_available()
        time.sleep(0.05)

    assert cost.cpu_seconds < cost.seconds


def test_a_block_that_raises_is_measured_all_the_same() -> None:
    with pytest.raises(ValueError, match="stop"), measured(CPU) as cost:
        busy(0.01)
        raise ValueError("stop")

    assert cost.seconds >= 0.01


def test_memory_is_not_watched_where_it_is_not_wanted() -> None:
    with measured(CPU, memory=False) as cost:
        block = np.ones(64 * 2**20, dtype=np.uint8)
        busy(0.02)

    assert cost.peak_memory_bytes == 0
    assert block[0] == 1


def test_a_gpus_peaks_are_since_a_reset_and_above_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    numbers = {"memory_allocated": 100, "memory_reserved": 200, "max_memory_allocated": 150, "max_memory_reserved": 450}
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda device, name=name: said.append(name))
    for name, number in numbers.items():
        monkeypatch.setattr(f"torch.cuda.{name}", lambda device, number=number: number)

    with measured(torch.device("cuda")) as cost:
        busy(0.001)

    assert (cost.peak_memory_bytes, cost.peak_reserved_bytes) == (50, 250)
    assert said.count("reset_peak_memory_stats") == 1
    assert said[-1] == "synchronize"  # the device has finished before the clock is read


def test_the_cost_so_far_can_be_asked_for_while_the_work_goes_on() -> None:
    with measured(CPU) as cost:
        assert cost.seconds == 0
        block = np.ones(64 * 2**20, dtype=np.uint8)
        busy(0.02)
        cost.refresh()
        so_far, peak = cost.seconds, cost.peak_memory_bytes
        busy(0.02)

    assert 0.02 <= so_far < cost.seconds
    assert peak > 48 * 2**20
    assert block[0] == 1
