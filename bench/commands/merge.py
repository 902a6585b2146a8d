"""`bench merge`: several runs become one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.errors import ConfigError
from bench.records.merging import merge
from bench.records.store import Store
from bench.reporting.formats import plain
from bench.reporting.load import load
from bench.running.heartbeat import refuse_second_driver
from bench.running.reach import merge_plans

__all__ = ["merge_runs"]


def merge_runs(folders: Sequence[Path], results: Path, name: str) -> str:
    """Copy the cells of some runs into a run; give the sentences that say what came of it.

    Raises:
        ConfigError: fewer than two different runs are named.
        StoreError: see `bench.records.merging.merge`.
    """
    if len({folder.resolve() for folder in folders}) < 2:
        raise ConfigError("bench merge needs two runs or more. Name them, or their folders.")
    for folder in folders:
        load(folder)  # says what is nearest if there is none
    store = Store(results)
    refuse_second_driver(store.run_folder(name))
    merged = merge(folders, store, name)
    merge_plans(folders, merged.folder)
    where = [] if results == Path("results") else ["--results", str(results)]
    lines = [f"run {name}: {merged.cells} cells of {len(folders)} runs, {merged.twice} of them in more than one"]
    lines += merged.problems
    if not merged.has_sweep:
        lines.append("no sweep.toml: no single sweep asks for these cells.")
    lines += [f"results: {merged.folder}", f"next: {shlex.join(['bench', 'table', name, *where])}"]
    return "".join(plain(line) + "\n" for line in lines)
