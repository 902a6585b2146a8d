"""Measures what a stretch of work costs: seconds, synchronised, and the peak of its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Cost", "measured"]

_SAMPLE_SECONDS = 0.005  # a forward pass of the smallest embedded model takes about as long


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Cost:
    """What a stretch of work cost; filled in when it ends, or so far by `refresh`.

    Args:
        seconds: wall-clock, after the device has finished.
        cpu_seconds: of all threads of this process.
        peak_memory_bytes: most memory in use minus what was in use at the start: allocated on a GPU, resident
            on a CPU (sampled).
        peak_reserved_bytes: on a GPU the same of what its allocator holds, in use or not; 0 elsewhere.
        refresh: brings the figures up to now while the work goes on.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_reserved_bytes: int = 0
    refresh: Callable[[], None] = _nothing


@contextmanager
def measured(device: torch.device, *, memory: bool = True) -> Iterator[Cost]:
    """Measure the block, waiting for the device before and after it.

    Args:
        device: where the work is done.
        memory: also sample memory; leave it out where a block takes milliseconds.
    """
    cost = Cost()
    watch = _watch(device) if memory else None
    _synchronise(device)
    started, cpu_started = time.perf_counter(), time.process_time()

    def refresh() -> None:
        _synchronise(device)
        cost.seconds = time.perf_counter() - started
        cost.cpu_seconds = time.process_time() - cpu_started
        if watch is not None:
            cost.peak_memory_bytes, cost.peak_reserved_bytes = watch.peak()

    cost.refresh = refresh
    try:
        yield cost
    finally:
        refresh()
        cost.refresh = _nothing
        if watch is not None:
            watch.end()


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _watch(device: torch.device) -> _CudaWatch | _ResidentWatch:
    return _CudaWatch(device) if device.type == "cuda" else _ResidentWatch()


class _Peak(NamedTuple):
    used: int
    reserved: int


class _CudaWatch:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        self._allocated = torch.cuda.memory_allocated(device)
        self._reserved = torch.cuda.memory_reserved(device)

    def peak(self) -> _Peak:
        return _Peak(
            int(torch.cuda.max_memory_allocated(self._device) - self._allocated),
            int(torch.cuda.max_memory_reserved(self._device) - self._reserved),
        )

    def end(self) -> None:
        pass


class _ResidentWatch:
    """Samples the resident memory of this process on a thread of its own."""

    def __init__(self) -> None:
        self._start = self._most = _resident_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, _resident_bytes())

    def peak(self) -> _Peak:
        self._most = max(self._most, _resident_bytes())
        return _Peak(self._most - self._start, 0)

    def end(self) -> None:
        self._done.set()
        self._thread.join()


def _resident_bytes() -> int:
    """Give the resident memory of this process; 0 where the system has no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


_PAGE = 4096
