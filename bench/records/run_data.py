"""A run read back as tables."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import StoreError
from bench.records.card import Card, read_card
from bench.records.index import SIGNATURE, read_index, signature, write_index
from bench.records.metrics import METRICS_VERSION
from bench.records.parts import score
from bench.records.schema import SCHEMAS, empty
from bench.records.status import Status
from bench.records.summary import cells_frame, summarise

__all__ = ["RunData", "read_table"]


class RunData:
    """The tables of one run. Cards are read at once, tables when they are asked for.

    Reading changes nothing on disk, so a run that is being written, or read-only, can be read.

    Attributes:
        folder: of the run.
        cards: of the whole cells, by key.
        problems: a sentence for each folder that is not whole.
    """

    def __init__(self, folder: Path) -> None:
        """Read the cards of a run; raises StoreError if there is no such folder."""
        self.folder = folder
        self.cards: dict[str, Card] = {}
        self.problems: tuple[str, ...] = ()
        if not folder.is_dir():
            raise StoreError(f"there is no run at {str(folder)!r}. `bench run` makes one.")
        problems = []
        for path in _cell_folders(folder):
            try:
                card = read_card(path)
                self.cards[card.key] = card
            except (StoreError, OSError) as error:
                reason = str(error).rstrip(".")
                problems.append(f"cell {path.name!r} is left out: {reason}. Run the same sweep again.")
        self.problems = tuple(problems)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a cell: identity, label, status, explanation, seconds."""
        return cells_frame(self.cards.values())

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row an edit and metric part, of all cells; computed anew if the metrics changed since."""
        return self._all("scores", [self._scores(card) for card in self._done()])

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Seconds and bytes by cell, phase and edit."""
        return self._all("costs", [self._table(card, "costs") for card in self.cards.values()])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row a group of cells and metric, with its interval; seeds are pooled."""
        return self._signed.drop(columns=SIGNATURE)

    def refresh_index(self) -> bool:
        """Write what the summary came to where the next reader finds it, if that is news; the only thing ever written.

        It is no matter if it can not be written: the next reader then computes it again.
        """
        known = read_index(self.folder)
        if known is not None and set(known[SIGNATURE]) == set(self._signed[SIGNATURE]):
            return False
        return write_index(self.folder, self._signed)

    @cached_property
    def _signed(self) -> pd.DataFrame:
        """The summary with the signature of each row's group: from the index, and what that lacks computed."""
        done = self.cells[self.cells["status"] == Status.DONE]
        groups: dict[str, list[str]] = {}
        for group, key in zip(done["group"], done["key"], strict=True):
            groups.setdefault(group, []).append(key)
        signatures = [signature(self.cards[key] for key in keys) for keys in groups.values()]
        known = read_index(self.folder)
        found = set() if known is None else set(known[SIGNATURE])
        tables = [] if known is None else [known[known[SIGNATURE].isin(signatures)]]
        stored: list[
            pa.Table
        ] = []  # joined before they become one frame: a frame for each of 10,000 would take a minute
        for name, keys in zip(signatures, groups.values(), strict=True):
            if name in found:
                continue
            card = self.cards[keys[0]]
            if len(keys) == 1 and card.metrics_version == METRICS_VERSION:
                table = _read(self._path(card, "summary"), "summary")
                stored.append(table.append_column(SIGNATURE, pa.repeat(pa.scalar(name), len(table))))
            else:
                tables.append(self._pooled(keys).assign(**{SIGNATURE: name}))
        tables += [pa.concat_tables(stored).to_pandas()] if stored else []
        filled = [table for table in tables if len(table)]
        if not filled:
            return empty("summary").assign(**{SIGNATURE: pd.Series(dtype="str")}).astype({"parameters": "Int64"})
        whole = pd.concat(filled, ignore_index=True).astype({"parameters": "Int64"})
        order = {name: place for place, name in enumerate(signatures)}
        whole = whole.iloc[whole[SIGNATURE].map(order).argsort(kind="stable")].reset_index(drop=True)
        # A stored label does not know of look-alikes in this run.
        config = dict(zip(done["key"], done["config"], strict=True))
        labels = {name: config[keys[0]] for name, keys in zip(signatures, groups.values(), strict=True)}
        return whole.assign(config=whole[SIGNATURE].map(labels))

    def _pooled(self, keys: list[str]) -> pd.DataFrame:
        """The summary of one group of cells, computed from scores and costs."""
        cards = [self.cards[key] for key in keys]
        scores = self._all("scores", [self._scores(card) for card in cards])
        costs = self._all("costs", [self._table(card, "costs") for card in cards])
        return summarise(self.cells[self.cells["key"].isin(keys)], scores, costs)

    def answers(self, cell: str | None = None) -> pd.DataFrame:
        """A row a probe and phase, with the cell's key in front.

        Args:
            cell: key of the only cell wanted; all cells otherwise, which may be large.

        Raises:
            StoreError: the run has no whole cell of this key, or its table is broken.
        """
        if cell is not None and cell not in self.cards:
            raise StoreError(f"run {self.folder.name!r} has no whole cell of key {cell!r}.")
        cards = list(self.cards.values()) if cell is None else [self.cards[cell]]
        tables = [self._table(card, "answers") for card in cards]
        for card, table in zip(cards, tables, strict=True):
            table.insert(0, "cell", card.key)
        if tables:
            return pd.concat(tables, ignore_index=True)
        nothing = empty("answers")
        nothing.insert(0, "cell", pd.Series(dtype="str"))
        return nothing

    def scores_of(self, cell: str) -> pd.DataFrame:
        """A row an edit and metric part, of one cell; computed anew if the metrics changed since.

        Args:
            cell: key of the cell.
        """
        return self._scores(self.cards[cell])

    def _done(self) -> list[Card]:
        return [card for card in self.cards.values() if card.status == Status.DONE]

    def _scores(self, card: Card) -> pd.DataFrame:
        if card.metrics_version == METRICS_VERSION:
            return self._table(card, "scores")
        return score(card.key, self._table(card, "answers"))

    def _table(self, card: Card, name: str) -> pd.DataFrame:
        return read_table(self._path(card, name), name)

    def _path(self, card: Card, name: str) -> Path:
        return self.folder / "cells" / card.cell.folder / f"{name}.parquet"

    def _all(self, name: str, tables: list[pd.DataFrame]) -> pd.DataFrame:
        filled = [table for table in tables if len(table)]
        return pd.concat(filled, ignore_index=True) if filled else empty(name)


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read one of the four tables; raises StoreError if it is torn or has other columns.

    Args:
        path: of the parquet file.
        name: which table it is, of schema.SCHEMAS.
    """
    return cast(pd.DataFrame, _read(path, name).to_pandas())


def _read(path: Path, name: str) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = _completed(file.read(use_threads=False), SCHEMAS[name])
        if not table.schema.equals(SCHEMAS[name]):
            raise StoreError(f"{str(path)!r} has not the columns of {name!r}; it is of another version.")
        return table
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{str(path)!r} can not be read: {error}. Run the same sweep again.") from error


def _completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Add to a table of an older version the columns that came later and may be null."""
    added = [field for field in schema if field.name not in table.schema.names and field.nullable]
    for field in added:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names) if added and set(schema.names) <= set(table.schema.names) else table


def _cell_folders(run: Path) -> list[Path]:
    cells = run / "cells"
    if cells.is_symlink():
        raise StoreError(f"{str(cells)!r} is a link, which a results folder never holds.")
    try:
        found = sorted(cells.iterdir()) if cells.is_dir() else []
    except OSError as error:
        raise StoreError(f"{str(cells)!r} can not be read: {error.strerror or error}.") from error
    return [path for path in found if path.is_dir() and not path.name.startswith(".") and ".broken-" not in path.name]
