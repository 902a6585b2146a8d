"""The card of a cell: what was run, how it ended, where, and which files belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import StoreError
from bench.records.canonical import parse_record
from bench.records.cell import Cell
from bench.records.folder import CARD, FileFacts, flaw, read_json
from bench.records.schema import SCHEMAS
from bench.records.status import Status

__all__ = ["Card", "Failure", "read_card", "timestamp"]

STORE_VERSION = 1  # of the layout of a cell's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a cell did not finish.

    Args:
        phase: where it happened: `load`, `base`, `fit`, `edit`, `evaluate`; `worker`: its process was lost; `check`: it
            was computed, and has left the model or the process changed.
        message: one sentence.
        traceback: as Python prints it; may be empty.
    """

    phase: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What card.json holds.

    Args:
        cell: identity of the cell.
        key: its key, to be found without computing it.
        status: how it ended.
        started: ISO 8601, UTC.
        ended: ISO 8601, UTC.
        environment: versions, device name, git commit …: what does not belong to the key.
        counts: how many edits, probes and answers there are; `left_out_probes` were not put to the edited model,
            because another request of their group changes what they ask.
        files: the facts of the four tables.
        metrics_version: of the stored scores and summary.
        failure: why it failed.
        reason: why it was skipped.
        parameters: how many the model has.
        notes: what the reader must know: a batch halved, prompts cut …
        copied_from: the run that it was copied from.
        spent: what a forecast needs of the costs, as `bench.records.spent` gives it; empty in cards of before.
        store_version: of the layout.
    """

    cell: Cell
    key: str
    status: Status
    started: str
    ended: str
    environment: Mapping[str, object]
    counts: Mapping[str, int]
    files: Mapping[str, FileFacts]
    metrics_version: int
    failure: Failure | None = None
    reason: str | None = None
    parameters: int | None = None
    notes: tuple[str, ...] = ()
    copied_from: str | None = None
    spent: Mapping[str, float] = field(default_factory=dict)
    store_version: int = STORE_VERSION

    @property
    def seconds(self) -> float:
        """How long the cell took from start to end; NaN if its times are no times."""
        try:
            return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()
        except (ValueError, TypeError):
            return float("nan")

    @property
    def explanation(self) -> str:
        """Why the cell is not done, in one line; empty if it is."""
        if self.failure is not None:
            first = (self.failure.message.strip() or "no message").splitlines()[0]
            return f"in {self.failure.phase}: {first}"
        return self.reason or ""

    def to_json(self) -> dict[str, object]:
        """Give the card as JSON values."""
        values: dict[str, object] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["cell"] = self.cell.to_json()
        values["files"] = {name: asdict(facts) for name, facts in self.files.items()}
        values["failure"] = None if self.failure is None else asdict(self.failure)
        values["environment"] = dict(self.environment)
        values["counts"] = dict(self.counts)
        values["spent"] = dict(self.spent)
        return values

    @classmethod
    def from_json(cls, data: object) -> Card:
        """Build a card from `to_json`; raises StoreError if it is not one, or not of its cell."""
        card = parse_record(cls, data)
        if card.store_version != STORE_VERSION:
            raise StoreError(
                f"the card is of layout {card.store_version}, this version reads {STORE_VERSION}: update editbench."
            )
        if card.key != card.cell.key:
            raise StoreError(f"the card's key {card.key!r} is not that of its cell, {card.cell.key!r}.")
        if set(card.files) != {f"{name}.parquet" for name in SCHEMAS}:
            raise StoreError("the card does not name exactly the four tables of a cell.")
        return card


def read_card(folder: Path, *, verify: bool = False) -> Card:
    """Read the card of a cell's folder and check its files.

    Args:
        folder: the cell's folder.
        verify: compare checksums, too; otherwise lengths only.

    Raises:
        StoreError: the folder is not whole.
        OSError: it can not be read; it may well be whole.
    """
    if folder.is_symlink():
        raise StoreError("it is a link, which a results folder never holds")
    card = Card.from_json(read_json(folder / CARD))
    if card.cell.folder != folder.name:
        raise StoreError(f"the card is that of {card.cell.folder!r}")
    wrong = flaw(folder, card.files, verify=verify)
    if wrong:
        raise StoreError(wrong)
    return card


def timestamp() -> str:
    """The time now as a card holds it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
