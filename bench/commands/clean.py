"""`bench clean`: what in a results folder is of no use any more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StoreError
from bench.records.folder import leftovers, remove_folder
from bench.records.pulse import read_pulse
from bench.records.store import Store
from bench.reporting.formats import plain
from bench.reporting.numbers import size
from bench.running.fits import LEFTOVER_SECONDS
from bench.running.reach import Reach, reach

__all__ = ["Waste", "clean", "find_waste"]

_BROKEN = re.compile(r".+\.broken-\d+")
_KEYED = re.compile(r"([0-9a-f]{16})(\.checkpoint)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """A file or folder that nothing reaches.

    Args:
        path: where it is.
        reason: why it is of no use.
        bytes: how much room it takes.
    """

    path: Path
    reason: str
    bytes: int


def clean(results: Path, confirm: Callable[[str], bool], *, as_json: bool = False) -> str:
    """List what nothing reaches and delete it if that is confirmed; give what to print at the end.

    Args:
        results: the results folder; nothing outside is touched, and links are not followed.
        confirm: is shown the list and says whether to go on.
        as_json: list only, as JSON.

    Raises:
        StoreError: the results folder can not be read or written.
    """
    found = find_waste(results)
    if as_json:
        rows = [{"path": str(waste.path), "reason": waste.reason, "bytes": waste.bytes} for waste in found]
        return json.dumps(rows, indent=1) + "\n"
    if not found:
        return f"nothing to clean in {str(results)!r}: every file belongs to a cell of a run.\n"
    total = size(sum(waste.bytes for waste in found))
    lines = [f"{size(waste.bytes):>8}  {waste.path}  {waste.reason}" for waste in found]
    listed = "".join(plain(line) + "\n" for line in lines)
    if not confirm(f"{listed}{len(found)} in {str(results)!r} are of no use, {total} in all.\n"):
        return "nothing was deleted.\n"
    for waste in found:
        remove_folder(waste.path)
    return f"deleted {len(found)}, {total}.\n"


def find_waste(results: Path) -> list[Waste]:
    """Find what no key reaches: unused fits and answers, folders that were moved aside, half-written ones."""
    if not results.is_dir():
        raise StoreError(f"there is no results folder {str(results)!r}. Name it with --results.")
    store = Store(results)
    runs = [folder for name in store.runs() if not (folder := store.run_folder(name)).is_symlink()]
    is_busy = any(pulse is not None and pulse.is_alive for pulse in map(read_pulse, runs))
    places = [results / "editors", results / "bases", *(run / "cells" for run in runs), *runs]
    found: list[Waste] = []
    for place in places:
        if place.is_dir() and not place.is_symlink():
            age = LEFTOVER_SECONDS if is_busy else 0.0
            found += [_waste(path, "left half-written") for path in leftovers(place, older_than_seconds=age)]
            found += [_waste(path, "moved aside as broken") for path in _named(place, _BROKEN)]
    found += _unreached(results, reach(store))
    return found


def _unreached(results: Path, reached: Reach) -> Iterator[Waste]:
    """Find the fits and answers that belong to no cell; of checkpoints only where it is known what was asked for."""
    for path in _named(results / "editors", _KEYED):
        key, is_begun = path.name[:16], path.name.endswith(".checkpoint")
        is_fitted = is_begun and (results / "editors" / key).is_dir()
        if is_fitted:
            yield _waste(path, "a checkpoint of a fit that is finished")
        elif key not in reached.fits and not (reached.unplanned if is_begun else reached.unreadable):
            yield _waste(path, f"a fit that no cell of any run {'needs' if is_begun else 'uses'}")
    for path in _named(results / "bases", _KEYED):
        if path.name not in reached.bases:
            yield _waste(path, "answers that no cell of any run asks for with this version of torch")


def _named(place: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Give the folders of a place whose names are of a form; none behind links."""
    if place.is_symlink() or not place.is_dir():
        return []
    found = sorted(path for path in place.iterdir() if pattern.fullmatch(path.name))
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _waste(path: Path, reason: str) -> Waste:
    files = [path] if path.is_symlink() or path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return Waste(path=path, reason=reason, bytes=sum(file.lstat().st_size for file in files))
