"""`bench status`: how far a run has come, also while it goes on."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from bench.records.card import Card
from bench.records.pulse import Pulse, RunningCell, read_pulse
from bench.records.run_data import RunData
from bench.records.status import Status
from bench.reporting.formats import plain
from bench.reporting.load import load
from bench.reporting.numbers import duration
from bench.running.reach import read_plan

__all__ = ["status"]

_FINE = (Status.DONE, Status.SKIPPED)


def status(folder: Path, *, as_json: bool) -> str:
    """Say how many cells of a run ended how, what runs now and who computes it; lines, or JSON.

    Raises:
        StoreError: there is no run in this folder.
    """
    run, pulse, plan = load(folder), read_pulse(folder), read_plan(folder)
    counts = Counter(str(card.status) for card in run.cards.values())
    planned = set(plan.cells) if plan else set[str]()
    to_come = len(planned - set(run.cards))
    if as_json:
        answer = {
            "run": folder.name,
            "state": _state(pulse),
            "counts": dict(counts) | {"to come": to_come},
            "driver": None if pulse is None else asdict(pulse),
            "wrong": [{"cell": card.cell.folder, "why": card.explanation} for card in _wrong(run)],
            "problems": list(run.problems),
        }
        return json.dumps(answer, indent=1) + "\n"
    lines = [_counted(folder.name, counts, to_come), *_driver(pulse, folder, to_come)]
    for card in _wrong(run):
        cell = card.cell
        title = f"{cell.label}  {cell.model}  {cell.dataset}  {cell.mode}  seed {cell.seed}"
        lines.append(f"{title}  {card.status}  {card.explanation}")
    lines += run.problems
    lines.append(f"results: {folder}")
    return "".join(plain(line) + "\n" for line in lines)


def _wrong(run: RunData) -> list[Card]:
    return [card for card in run.cards.values() if card.status not in _FINE]


def _state(pulse: Pulse | None) -> str:
    if pulse is None:
        return "unknown"
    return "running" if pulse.is_alive else "ended" if pulse.ended else "stopped"


def _counted(name: str, counts: Counter[str], to_come: int) -> str:
    parts = [f"{counts[word]} {word}" for word in map(str, Status) if counts[word]]
    parts += [f"{to_come} to come"] if to_come else []
    return f"run {name}: {sum(counts.values()) + to_come} cells ({', '.join(parts) or 'none yet'})"


def _driver(pulse: Pulse | None, folder: Path, to_come: int) -> list[str]:
    """Say what the driver does, or that it is gone and how to go on."""
    again = f"bench run {shlex.quote(str(folder / 'sweep.toml'))}"
    go_on = [f"next: {again}"] if to_come else []
    state = _state(pulse)
    if pulse is None:
        return go_on
    who = f"process {pulse.pid} of {pulse.host!r}"
    so_far = f"{pulse.computed} of {pulse.to_run} cells computed"
    if state == "running":
        return [f"running: {who}, {so_far}", *(f"  {_doing(cell)}" for cell in pulse.running)]
    if state == "ended":
        return [f"ended at {pulse.ended}: {so_far}", *go_on]
    last = duration(pulse.silence_seconds)
    return [f"stopped: {who} is gone without a word, last heard of {last} ago; {so_far}", *go_on]


def _doing(cell: RunningCell) -> str:
    words = [f"{cell.title}: {cell.phase}"]
    words += [f"{cell.done}/{cell.total}"] if cell.total else []
    words += [f"{duration(cell.seconds_left)} left"] if cell.seconds_left is not None else []
    return " ".join(words)
