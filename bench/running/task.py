"""What the driver sends to a worker, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.records.cell import Cell
from bench.records.result import CellResult
from bench.running.measure import Measure

__all__ = [
    "Checkpoint",
    "Fitted",
    "Message",
    "Outcome",
    "Progress",
    "Task",
    "base_identity",
    "diverged_identity",
    "fit_identity",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What an editor's preparation returned, as bytes, with what it cost.

    Args:
        tensors: in safetensors format.
        values: JSON values.
        log: rows of the fit log.
        costs: `seconds`, `cpu_seconds` and `peak_memory_bytes` of the preparation, over all its parts.
        resumed_at: the steps at which it was gone on with after an interruption.
        problem: why it came to no end; it is then the last good state, and no cell uses it. Otherwise None.
        notes: what the reader of its cells must know, like how many cases were kept from it.
    """

    tensors: bytes
    values: Mapping[str, Any]
    log: tuple[Mapping[str, float], ...]
    costs: Mapping[str, float]
    resumed_at: tuple[int, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A preparation in the middle, as bytes, with what it has cost so far.

    Args:
        key: of the cell that it is made for.
        tensors, values: what it goes on from, as in `Fitted`.
        costs: as in `Fitted`, so far.
        step, steps: how far it has come.
        resumed_at: as in `Fitted`.
    """

    key: str
    tensors: bytes
    values: Mapping[str, Any]
    costs: Mapping[str, float]
    step: int
    steps: int
    resumed_at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One cell to compute.

    Args:
        cell: its identity.
        plugins: files that were named on the command line.
        fitted: the state of an earlier fit with the same identity, or None.
        checkpoint: of an earlier fit with the same identity that was interrupted, or None.
        checkpoint_minutes: between two checkpoints of a fit; 0: after every step.
        known_answers: what the unedited model answered in earlier cells, by the key of a set of questions.
    """

    cell: Cell
    plugins: tuple[Path, ...] = ()
    fitted: Fitted | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_minutes: float = 5.0
    known_answers: Mapping[str, list[Measure]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A computed cell, and what was made for it just now.

    Args:
        result: what is stored of the cell.
        fitted: the state of its editor, if it was fitted now.
        asked: what the unedited model answered, as far as that was not known.
        ends_worker: the cell has left damage behind: its worker computes no other one, and its process is to be ended.
    """

    result: CellResult
    fitted: Fitted | None = None
    asked: Mapping[str, list[Measure]] = field(default_factory=dict)
    ends_worker: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running cell has come.

    Args:
        key: the cell's key.
        phase: `load`, `base`, `fit`, `edit` or `evaluate`.
        done, total: steps of a fit, or edits.
        loss: of the fit, or None.
        success: of the fit on the tune split when it was last looked at, or None.
        seconds_left: of the phase, or None.
    """

    key: str
    phase: str
    done: int = 0
    total: int = 0
    loss: float | None = None
    success: float | None = None
    seconds_left: float | None = None


_FIT_FIELDS = (
    "method",
    "method_version",
    "plugin_digest",
    "model_digest",
    "dataset",
    "dataset_digest",
    "dtype",
    "device",
    "threads",
    "seed",
    "protocol_version",
)

_LATER_FIT_FIELDS = ("chat", "remote_code")

_BASE_FIELDS = (
    "model_digest",
    "dataset",
    "dataset_digest",
    "split",
    "edits",
    "dtype",
    "device",
    "threads",
    "protocol_version",
    "chat",
    "known_only",
    "gpus",
    "remote_code",
)

Message = Progress | Checkpoint  # what a worker says before a cell is done


def fit_identity(cell: Cell) -> dict[str, object]:
    """Give everything that can change what a preparation returns; cells that agree in it share a fit.

    The model's name is not part of it: its digest says which weights they are, wherever they lie.
    """
    identity = {
        "config": dict(cell.config),
        "dataset_config": dict(cell.dataset_config),
        **{name: getattr(cell, name) for name in _FIT_FIELDS},
    }
    # Which cases are scored changes no fit, unless they are kept from it. Where these are at their default they are
    # left out: fits of before stay what they were.
    identity |= {name: value for name in _LATER_FIT_FIELDS if (value := getattr(cell, name))}
    if cell.gpus > 1:
        identity |= {"gpus": cell.gpus}
    if cell.split != "test":  # the cases that are scored are then kept from the fit
        identity |= {"split": cell.split, "edits": cell.edits}
        if cell.known_only:
            identity |= {"known_only": True}
    return identity


def diverged_identity(cell: Cell) -> dict[str, object]:
    """Give the identity of what is kept of a fit that came to no end; no cell looks for it."""
    return {**fit_identity(cell), "diverged": True}


def base_identity(cell: Cell) -> dict[str, object]:
    """Give everything that can change what the unedited model answers to a cell's questions.

    Versions are part of it, unlike of a cell's key: edited answers of today are compared with these.
    """
    return {
        "dataset_config": dict(cell.dataset_config),
        **{name: getattr(cell, name) for name in _BASE_FIELDS},
        **{name: _version(name) for name in ("torch", "transformers")},
    }


@cache
def _version(name: str) -> str:
    return version(name)
