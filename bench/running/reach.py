"""Which fits and unedited answers the cells of all runs can reach: those that are there, and those that were asked for.

A run notes the keys of what it planned in `plan.json`, so that the checkpoint of a fit that was interrupted is known to
belong to cells that are not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import StoreError
from bench.records.canonical import key_of, parse_record
from bench.records.cell import Cell
from bench.records.folder import read_json, write_file
from bench.records.run_data import RunData
from bench.records.store import Store
from bench.running.sweep import PlannedCell
from bench.running.task import base_identity, diverged_identity, fit_identity

__all__ = ["PLAN", "Plan", "Reach", "merge_plans", "note_plan", "reach", "read_plan"]

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked of a run.

    Args:
        cells: keys of the cells that its last command asked for.
        fits, bases: keys of the fits and unedited answers that the cells of all its commands belong to.
    """

    cells: tuple[str, ...] = ()
    fits: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Reach:
    """Keys of what is still of use.

    Args:
        fits: of fits, whether they are there or begun.
        bases: of answers of unedited models.
        unplanned: runs of which it is not known what was asked of them beside what they have.
        unreadable: those among them that have cells which can not be read.
    """

    fits: set[str] = field(default_factory=set)
    bases: set[str] = field(default_factory=set)
    unplanned: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def note_plan(run: Path, planned: Sequence[PlannedCell]) -> None:
    """Write down what is asked of a run now, beside the fits and answers of earlier commands.

    Raises:
        StoreError: it can not be written.
    """
    before = read_plan(run) or Plan()
    cells = [p.cell for p in planned if not p.reason]
    fits, bases = _keys(cells)
    plan = {
        "cells": [p.cell.key for p in planned],
        "fits": sorted(fits | set(before.fits)),
        "bases": sorted(bases | set(before.bases)),
    }
    write_file(run / PLAN, json.dumps(plan, indent=1) + "\n")


def merge_plans(runs: Sequence[Path], target: Path) -> None:
    """Note in a run what was asked of it and of some others, as far as it is known.

    Raises:
        StoreError: it can not be written.
    """
    found = [read_plan(run) for run in runs]
    plans = [plan for plan in [*found, read_plan(target)] if plan is not None]
    if None in found:
        return
    merged = {
        name: sorted({key for plan in plans for key in getattr(plan, name)}) for name in ("cells", "fits", "bases")
    }
    write_file(target / PLAN, json.dumps(merged, indent=1) + "\n")


def read_plan(run: Path) -> Plan | None:
    """Read what was asked of a run; None if nothing that can be read says so."""
    try:
        return parse_record(Plan, read_json(run / PLAN))
    except (StoreError, OSError):
        return None


def reach(store: Store) -> Reach:
    """Find what the cells of all runs use or would use."""
    found = Reach()
    for name in store.runs():
        run = store.run_folder(name)
        data, plan = RunData(run), read_plan(run)
        fits, bases = _keys(card.cell for card in data.cards.values())
        found.fits |= fits | set(plan.fits if plan else ())
        found.bases |= bases | set(plan.bases if plan else ())
        if plan is None:
            found.unplanned.append(name)
            found.unreadable += [name] if data.problems else []
    return found


def _keys(cells: Iterable[Cell]) -> tuple[set[str], set[str]]:
    fits, bases = set[str](), set[str]()
    for cell in cells:
        fits |= {key_of(fit_identity(cell)), key_of(diverged_identity(cell))}
        bases.add(key_of(base_identity(cell)))
    return fits, bases
