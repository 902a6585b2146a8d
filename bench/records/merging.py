"""Puts the cells of several runs, perhaps of several machines, into one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.records.card import Card, read_card
from bench.records.run_data import RunData
from bench.records.status import Status
from bench.records.store import Store

__all__ = ["Merged", "merge"]

_LISTS = ("methods", "models", "datasets", "mode", "dtype")  # of a sweep: what may differ between runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came of a merge.

    Args:
        folder: of the run that was made.
        cells: how many it has.
        twice: how many cells were in more than one run.
        has_sweep: whether there is a sweep that asks for all of them.
        problems: a sentence for each folder that was left out, as it is not whole.
    """

    folder: Path
    cells: int
    twice: int
    has_sweep: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    run: RunData
    card: Card


def merge(runs: Sequence[Path], store: Store, name: str) -> Merged:
    """Copy the cells of some runs into one; what that run has already stays.

    Of a key that is there twice, one is taken, done before not done. Nothing is written before all were compared.

    Args:
        runs: folders of the runs, below this results folder or elsewhere.
        store: where the merged run is made.
        name: of the merged run.

    Raises:
        StoreError: a folder holds no run, two done cells of one key have other scores, or a folder can not be written.
    """
    target = store.run_folder(name)
    sources = [RunData(folder) for folder in runs]
    there = [RunData(target)] if (target / "cells").is_dir() else []
    found: dict[str, list[_Found]] = {}
    for run in [*there, *sources]:
        for key, card in run.cards.items():
            found.setdefault(key, []).append(_Found(run=run, card=card))
    chosen = [_one(cells) for cells in found.values()]
    sweep = _sweep([run.folder for run in [*there, *sources]])
    store.start(name, sweep)
    for cell in chosen:
        if cell.run.folder != target:
            read_card(cell.run.folder / "cells" / cell.card.cell.folder, verify=True)
            store.adopt(name, cell.card, cell.run.folder)
    return Merged(
        folder=target,
        cells=len(chosen),
        twice=sum(len(cells) > 1 for cells in found.values()),
        has_sweep=sweep is not None,
        problems=tuple(f"{run.folder.name}: {problem}" for run in sources for problem in run.problems),
    )


def _one(cells: Sequence[_Found]) -> _Found:
    """Choose one of the cells of a key, after comparing those that are done."""
    done = [cell for cell in cells if cell.card.status == Status.DONE]
    for other in done[1:]:
        difference = _difference(done[0], other)
        if difference:
            raise StoreError(
                f"cell {other.card.cell.folder!r} is in {str(done[0].run.folder)!r} and in "
                f"{str(other.run.folder)!r} with other scores: {difference}. Nothing was merged; leave one run out, or "
                "delete the cell that is wrong."
            )
    return done[0] if done else cells[0]


def _difference(one: _Found, other: _Found) -> str:
    """Say where the scores of two cells differ; empty if they are equal."""
    files = [found.card.files["scores.parquet"].sha256 for found in (one, other)]
    if files[0] == files[1] and one.card.metrics_version == other.card.metrics_version:
        return ""
    where = ["metric", "edit_id", "step"]
    tables = [found.run.scores_of(found.card.key).set_index(where) for found in (one, other)]
    values = [table["value"] / table["weight"] for table in tables]
    if set(values[0].index) != set(values[1].index):
        return f"one has {len(values[0])} of them and the other {len(values[1])}"
    second = values[1].reindex(values[0].index)
    differs = (values[0] != second) & ~(values[0].isna() & second.isna())
    if not differs.any():
        return ""
    first = differs[differs].index[0]
    metric, edit, _ = first
    return f"{metric} of edit {edit!r} is {values[0][first]:.6g} and {second[first]:.6g}"


def _sweep(runs: Sequence[Path]) -> Mapping[str, object] | None:
    """Give a sweep that asks for the cells of all runs; None if no single one does."""
    sweeps = [_read(run / "sweep.toml") for run in runs]
    if not sweeps or any(sweep is None for sweep in sweeps):
        return None
    known = [sweep for sweep in sweeps if sweep is not None]
    merged: dict[str, object] = dict(known[0])
    for sweep in known[1:]:
        for key in {*merged, *sweep}:
            first, second = merged.get(key), sweep.get(key)
            if key == "plugin" and isinstance(first, list) and isinstance(second, list):
                named = {Path(path).stem: path for path in [*second, *first]}  # each name once, as the first has it
                merged[key] = list(named.values())
            elif key in _LISTS and isinstance(first, list) and isinstance(second, list):
                merged[key] = list(dict.fromkeys([*first, *second]))
            elif key == "seeds" and isinstance(first, int) and isinstance(second, int):
                merged[key] = max(first, second)
            elif first != second and key != "checkpoint_minutes":  # which changes no number
                return None
    return merged


def _read(path: Path) -> dict[str, object] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
