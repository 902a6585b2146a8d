"""Open a run folder from Python: `bench.load("results/2026-11-22-zsre")`."""

from __future__ import annotations

from pathlib import Path

from bench.errors import StoreError, nearest
from bench.records.run_data import RunData

__all__ = ["load"]


def load(path: str | Path) -> RunData:
    """Read a run as pandas DataFrames: cells, summary, scores, costs and answers.

    Args:
        path: the folder of the run, below the results folder.

    Raises:
        StoreError: there is no run in this folder.
    """
    folder = Path(path).expanduser()
    if not (folder / "cells").is_dir():
        beside = [item.name for item in folder.parent.iterdir()] if folder.parent.is_dir() else []
        found = "a folder without cells" if folder.is_dir() else "nothing"
        hint = "" if folder.is_dir() else nearest(folder.name, beside)
        raise StoreError(f"there is no run at {str(folder)!r}: {found} is there.{hint}")
    return RunData(folder)
