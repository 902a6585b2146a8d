"""What the driver sends to a worker, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.cell import Cell
from bench.records.result import CellResult

__all__ = ["Fitted", "Outcome", "Progress", "Task", "fit_identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What an editor's preparation returned, as bytes, with what it cost.

    Args:
        tensors: in safetensors format.
        values: JSON values.
        log: rows of the fit log.
        costs: `seconds`, `cpu_seconds` and `peak_memory_bytes` of the preparation.
    """

    tensors: bytes
    values: Mapping[str, Any]
    log: tuple[Mapping[str, float], ...]
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One cell to compute.

    Args:
        cell: its identity.
        plugins: files that were named on the command line.
        fitted: the state of an earlier fit with the same identity, or None.
    """

    cell: Cell
    plugins: tuple[Path, ...] = ()
    fitted: Fitted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A computed cell, and the state that was fitted for it if it was fitted just now."""

    result: CellResult
    fitted: Fitted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running cell has come.

    Args:
        key: the cell's key.
        phase: `load`, `base`, `fit`, `edit` or `evaluate`.
        done, total: steps of a fit, or edits.
        loss: of the fit, or None.
        seconds_left: of the phase, or None.
    """

    key: str
    phase: str
    done: int = 0
    total: int = 0
    loss: float | None = None
    seconds_left: float | None = None


def fit_identity(cell: Cell) -> dict[str, object]:
    """Give everything that can change what a preparation returns; cells that agree in it share a fit."""
    names = (
        "method",
        "method_version",
        "plugin_digest",
        "model",
        "model_digest",
        "dataset",
        "dataset_digest",
        "dtype",
        "device",
        "threads",
        "seed",
        "protocol_version",
    )
    return {
        "config": dict(cell.config),
        "dataset_config": dict(cell.dataset_config),
        **{name: getattr(cell, name) for name in names},
    }
