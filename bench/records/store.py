"""The results folder: runs, their cells, and which of them need not be computed again.

    <root>/<run>/sweep.toml
    <root>/<run>/cells/<cell>/{answers,scores,costs,summary}.parquet, card.json

Only the driver of a run writes here. Files are parquet, JSON and TOML: reading a folder from a
stranger executes nothing.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from bench.errors import StoreError, nearest
from bench.records.card import Card, read_card
from bench.records.cell import Cell
from bench.records.folder import FileFacts, move_aside, remove_leftovers, write_file, write_folder
from bench.records.metrics import METRICS_VERSION
from bench.records.result import CellResult
from bench.records.run_data import RunData
from bench.records.schema import Phase, to_arrow
from bench.records.spent import spent
from bench.records.status import Status
from bench.records.toml import dumps

__all__ = ["Store"]

_RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_NOT_RUNS = ("editors", "bases", "reference")  # other folders of the results folder


class Store:
    """The runs below one results folder.

    Args:
        root: the results folder; made when something is written.
        report: is told, in a sentence, of each broken folder that was moved aside.
    """

    def __init__(self, root: Path, report: Callable[[str], None] = warnings.warn) -> None:
        """Point to a results folder; nothing is read or written yet."""
        self.root = root
        self.report = report

    def runs(self) -> list[str]:
        """Names of the runs, sorted."""
        try:
            found = sorted(self.root.iterdir()) if self.root.is_dir() else []
            return [path.name for path in found if _is_run(path.name) and (path / "cells").is_dir()]
        except OSError as error:
            raise StoreError(f"{str(self.root)!r} can not be read: {error.strerror or error}.") from error

    def run_folder(self, run: str) -> Path:
        """The folder of a run, there or not; raises StoreError if that is no name for one."""
        if not _is_run(run) or ".." in run:
            raise StoreError(
                f"{run!r} is no name for a run: use up to 100 letters, digits, '-', '_', '.' and '+', "
                f"and none of {', '.join(_NOT_RUNS)}."
            )
        return self.root / run

    def cell_folder(self, run: str, cell: Cell) -> Path:
        """The folder of a cell in a run, there or not."""
        return self.run_folder(run) / "cells" / cell.folder

    def start(self, run: str, sweep: Mapping[str, object] | None) -> Path:
        """Make or reopen a run: write sweep.toml if there is a sweep, delete what a killed driver left half-written.

        Raises:
            StoreError: the folder can not be written.
        """
        folder = self.run_folder(run)
        if sweep is not None:
            write_file(folder / "sweep.toml", dumps(sweep))
        try:
            (folder / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} can not be written: {error.strerror or error}.") from error
        if (folder / "cells").is_symlink():
            raise StoreError(f"{str(folder / 'cells')!r} is a link, which a results folder never holds.")
        remove_leftovers(folder / "cells")
        return folder

    def finished(self, run: str, cell: Cell, *, retry: bool = False, verify: bool = False) -> Card | None:
        """Give the card of a cell that need not be computed again, or None.

        A folder that is not whole is moved aside and reported. Cells that failed or were skipped
        count as finished, interrupted ones never.

        Args:
            run: name of the run.
            cell: which cell.
            retry: count only cells that are done.
            verify: check the digest of every file, not only its length.

        Raises:
            StoreError: the folder can not be read.
        """
        folder = self.cell_folder(run, cell)
        if not folder.exists():
            return None
        try:
            card = read_card(folder, verify=verify)
        except StoreError as error:
            aside = move_aside(folder)
            self.report(
                f"cell {folder.name!r} of run {run!r} is broken: {str(error).rstrip('.')}. It was moved to "
                f"{aside.name!r} and will be computed again."
            )
            return None
        except OSError as error:
            raise StoreError(
                f"{str(folder)!r} can not be read: {error.strerror or error}. Give yourself access, or "
                "choose another results folder."
            ) from error
        return card if card.status == Status.DONE or _counts_as_done(card, retry=retry) else None

    def peek(self, run: str, cell: Cell, *, retry: bool = False) -> Card | None:
        """Give the card that `find` would give; nothing is copied, moved or reported."""
        for name in [run, *(other for other in reversed(self.runs()) if other != run)]:
            folder = self.cell_folder(name, cell)
            try:
                card = read_card(folder, verify=name != run) if folder.exists() else None
            except (StoreError, OSError):
                continue
            if card is not None and (
                card.status == Status.DONE or (name == run and _counts_as_done(card, retry=retry))
            ):
                return card
        return None

    def find(self, run: str, cell: Cell, *, retry: bool = False) -> Card | None:
        """Give the card of a cell finished in this run, or done in another and now copied here.

        Args:
            run: name of the run.
            cell: which cell.
            retry: count only cells that are done.
        """
        here = self.finished(run, cell, retry=retry, verify=True)
        if here is not None:
            return here
        for other in reversed(self.runs()):
            card = self._elsewhere(other, cell) if other != run else None
            if card is not None:
                return self._copy(card, self.run_folder(other), run)
        return None

    def write(self, run: str, cell: Cell, result: CellResult) -> Card:
        """Store a cell, replacing an unfinished one of the same key; all or nothing.

        Raises:
            StoreError: a table does not fit its columns, or the disk is full or read-only.
        """
        tables = {name: to_arrow(name, frame) for name, frame in result.tables.items()}
        card = Card(
            cell=cell,
            key=cell.key,
            status=result.status,
            started=result.started,
            ended=result.ended,
            environment=result.environment,
            counts=_counts(result.tables["answers"]),
            files={},
            metrics_version=METRICS_VERSION,
            failure=result.failure,
            reason=result.reason,
            parameters=result.parameters,
            notes=result.notes,
            spent=spent(result.tables["costs"]),
        )

        def fill(folder: Path) -> None:
            for name, table in tables.items():
                pq.write_table(table, folder / f"{name}.parquet", compression="zstd", write_page_checksum=True)

        return self._put(run, card, fill)

    def load(self, run: str) -> RunData:
        """Read a run as tables; raises StoreError if there is none of this name."""
        folder = self.run_folder(run)
        if not folder.is_dir():
            known = self.runs()
            raise StoreError(
                f"there is no run called {run!r} in {str(self.root)!r}, which has {len(known)}.{nearest(run, known)}"
            )
        return RunData(folder)

    def _elsewhere(self, run: str, cell: Cell) -> Card | None:
        """The card of a cell done in another run, which is left as it is even if it is broken."""
        folder = self.cell_folder(run, cell)
        try:
            card = read_card(folder, verify=True) if folder.exists() else None
        except (StoreError, OSError) as error:
            self.report(f"cell {folder.name!r} of run {run!r} was not used: {str(error).rstrip('.')}.")
            return None
        return card if card is not None and card.status == Status.DONE else None

    def adopt(self, run: str, card: Card, source: Path) -> Card:
        """Copy a whole cell from the folder of any run into a run of this results folder."""
        return self._copy(card, source, run)

    def _copy(self, card: Card, source: Path, run: str) -> Card:
        old = source / "cells" / card.cell.folder

        def fill(folder: Path) -> None:
            for name in card.files:
                shutil.copyfile(old / name, folder / name)

        return self._put(run, replace(card, copied_from=card.copied_from or source.name), fill)

    def _put(self, run: str, card: Card, fill: Callable[[Path], None]) -> Card:
        written = card

        def describe(files: Mapping[str, FileFacts]) -> Mapping[str, object]:
            nonlocal written
            written = replace(card, files=files)
            return written.to_json()

        write_folder(self.cell_folder(run, card.cell), fill, describe)
        return written


def _counts_as_done(card: Card, *, retry: bool) -> bool:
    """Say whether a cell that is not done is left as it is: if it failed or was skipped, unless it is tried again."""
    return not retry and card.status != Status.INTERRUPTED


def _counts(answers: pd.DataFrame) -> dict[str, int]:
    total = len(answers)
    answers = answers[answers["edit_id"] != answers["edit_group"]]  # looks at whole sequences are no edits
    probe = ["edit_id", "probe_id"]
    asked = len(answers[probe].drop_duplicates())
    edited = answers[answers["phase"] == Phase.EDITED]
    return {
        "edits": int(answers["edit_id"].nunique()),
        "probes": asked,
        "answers": total,
        "left_out_probes": asked - len(edited[probe].drop_duplicates()),
    }


def _is_run(name: str) -> bool:
    return bool(_RUN.fullmatch(name)) and name not in _NOT_RUNS
