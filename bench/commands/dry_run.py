"""`bench run --dry-run`: what a sweep would compute, and what that would take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from bench.records.card import Card
from bench.records.run_data import RunData
from bench.records.status import Status
from bench.records.store import Store
from bench.reporting.formats import plain
from bench.reporting.numbers import duration, size
from bench.running.driver import goes_on
from bench.running.fits import Fits
from bench.running.forecast import Estimate, Forecast
from bench.running.sweep import PlannedCell

__all__ = ["print_plan"]

_UNKNOWN = "unknown"


def print_plan(
    planned: Sequence[PlannedCell], store: Store, run: str, console: Console, *, retry: bool, as_json: bool
) -> None:
    """Say of each planned cell whether it is cached, skipped or to be run, and what it would take; do nothing.

    Time and memory are judged by the cells that the results folder has; a fit is counted once.
    """
    rows = _rows(planned, store, run, retry=retry)
    if as_json:
        print(json.dumps({"run": run, "cells": rows, "estimate": _total(rows)}, indent=1))
        return
    states = Counter(str(row["state"]).partition(" (")[0] for row in rows)
    summary = ", ".join(f"{count} {state}" for state, count in states.items())
    console.print(Text(plain(f"run {run}: {len(rows)} cells ({summary}); nothing is done, this is a dry run")))
    has_dtypes = len({row["dtype"] for row in rows}) > 1
    for row in rows:
        words = [str(row[name]) for name in ("method", "model", "dataset", "mode")]
        words += [str(row["dtype"])] if has_dtypes else []
        words += [f"seed {row['seed']}", str(row["state"]), str(row["reason"]), _words(row)]
        console.print(Text(plain("  ".join(word for word in words if word))), soft_wrap=True)
    if states["to run"]:
        console.print(Text(_total_words(_total(rows))), soft_wrap=True)


def _rows(planned: Sequence[PlannedCell], store: Store, run: str, *, retry: bool) -> list[dict[str, object]]:
    forecast = Forecast(_cards(store))
    fits, seen = Fits(store.root, lambda sentence: None), set[str]()
    rows: list[dict[str, object]] = []
    for p in planned:
        card = store.peek(run, p.cell, retry=retry)
        if card is not None and goes_on(card, fits):
            card = None
        state = "skipped" if p.reason else f"cached ({card.status})" if card else "to run"
        row: dict[str, object] = {
            "method": p.cell.label,
            "model": p.cell.model,
            "dataset": p.cell.dataset,
            "mode": p.cell.mode,
            "dtype": p.cell.dtype,
            "seed": p.cell.seed,
            "state": state,
            "reason": p.reason or (_reason(card) if card else ""),
            "key": p.cell.key,
        }
        if state == "to run":
            is_fitted = not p.fit or p.fit in seen or fits.is_fitted(p.cell)
            seen.add(p.fit)
            row |= _taken(forecast.estimate(p.cell, p.parameters), is_fitted=is_fitted)
        rows.append(row)
    return rows


def _cards(store: Store) -> Iterator[Card]:
    for run in store.runs():
        yield from RunData(store.run_folder(run)).cards.values()


def _reason(card: Card) -> str:
    if card.status == Status.DONE:
        return ""
    return card.explanation if card.status == Status.SKIPPED else f"{card.explanation}; --retry-failed computes it"


def _taken(estimate: Estimate, *, is_fitted: bool) -> dict[str, object]:
    seconds = estimate.seconds
    if seconds is not None and not is_fitted:
        seconds = None if estimate.fit_seconds is None else seconds + estimate.fit_seconds
    return {"seconds": seconds, "memory_bytes": estimate.memory_bytes, "is_scaled": estimate.is_scaled}


def _words(row: dict[str, object]) -> str:
    if row["state"] != "to run":
        return ""
    seconds, memory = row["seconds"], row["memory_bytes"]
    time = duration(seconds) if isinstance(seconds, float) else _UNKNOWN
    room = size(memory) if isinstance(memory, float) else _UNKNOWN
    if time == room:
        return f"time and memory {_UNKNOWN}"
    scaled = ", by parameters from another model" if row["is_scaled"] else ""
    return f"about {time}, memory {room}{scaled}"


def _total(rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """Add up what is known: the seconds of one worker, and the highest peak."""
    todo = [row for row in rows if row["state"] == "to run"]
    seconds = [row["seconds"] for row in todo if isinstance(row["seconds"], float)]
    peaks = [row["memory_bytes"] for row in todo if isinstance(row["memory_bytes"], float)]
    return {
        "seconds": sum(seconds) if seconds else None,
        "memory_bytes": max(peaks, default=None),
        "unknown_cells": len(todo) - len(seconds),
    }


def _total_words(total: dict[str, object]) -> str:
    seconds, memory, unknown = total["seconds"], total["memory_bytes"], total["unknown_cells"]
    if not isinstance(seconds, float):
        return f"time {_UNKNOWN}: no earlier cell of these methods to judge by"
    room = size(memory) if isinstance(memory, float) else _UNKNOWN
    rest = f", without {unknown} cells of which nothing is known" if unknown else ""
    return f"about {duration(seconds)} with one worker, up to {room} of memory a worker{rest}"
