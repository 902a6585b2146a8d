"""Packs all that a fit goes on from into one state, tensors and JSON, and takes it apart again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.editing.edit import State

__all__ = ["CHECKPOINT_VERSION", "joined", "log_rows", "log_state", "optimiser_state", "part", "resume_optimiser"]

CHECKPOINT_VERSION = 1  # of what a fit goes on from; raise it when an older one can not be gone on with


def joined(parts: Mapping[str, State]) -> State:
    """Pack several states into one, by name, so that they can be taken out again with their tensors in order."""
    return State(
        tensors={f"{name}/{key}": tensor for name, state in parts.items() for key, tensor in state.tensors.items()},
        values={name: {"names": list(state.tensors), "values": dict(state.values)} for name, state in parts.items()},
    )


def part(whole: State, name: str) -> State:
    """Give one of the states that were packed, with tensors of its own."""
    packed = whole.values[name]
    # In their old order, which files do not keep: an optimiser knows its parameters by their places. Clones: a stored
    # tensor may lie anywhere in the bytes of a file, and would keep all of them.
    tensors = {key: whole.tensors[f"{name}/{key}"].detach().clone() for key in packed["names"]}
    return State(tensors=tensors, values=packed["values"])


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """Give what a torch optimiser has gathered of each parameter, by `index/name`."""
    gathered: Mapping[int, Mapping[str, Any]] = optimiser.state_dict()["state"]
    entries = {f"{index}/{name}": value for index, own in gathered.items() for name, value in own.items()}
    return State(
        tensors={name: value for name, value in entries.items() if isinstance(value, torch.Tensor)},
        values={name: value for name, value in entries.items() if not isinstance(value, torch.Tensor)},
    )


def resume_optimiser(optimiser: torch.optim.Optimizer, state: State) -> None:
    """Give a fresh optimiser of the same parameters what another one had gathered."""
    gathered: dict[int, dict[str, Any]] = {}
    for key, value in [*state.tensors.items(), *state.values.items()]:
        index, _, name = key.partition("/")
        gathered.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": gathered, "param_groups": optimiser.state_dict()["param_groups"]})


def log_state(rows: Sequence[Mapping[str, float]]) -> State:
    """Pack the rows of a fit log into one table; what a row lacks is NaN there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = [[row.get(name, math.nan) for name in columns] for row in rows]
    return State(tensors={"rows": torch.tensor(table, dtype=torch.float64)}, values={"columns": columns})


def log_rows(state: State) -> list[dict[str, float]]:
    """Give the rows of a packed fit log, without what is NaN."""
    rows, columns = state.tensors["rows"].tolist(), state.values["columns"]
    return [{name: value for name, value in zip(columns, row, strict=True) if not math.isnan(value)} for row in rows]
