"""The summaries of all groups of cells of a run in one file, `index.parquet`, so that a table needs no other.

It is derived: each group has the signature of all that its summary was computed from, and a summary whose signature is
not asked for is not used. Deleted, torn or stale it is computed and written again; killing its writer loses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.records.card import Card
from bench.records.metrics import METRICS_VERSION
from bench.records.schema import SUMMARY

__all__ = ["FILE", "SIGNATURE", "read_index", "signature", "write_index"]

FILE = "index.parquet"
SIGNATURE = "signature"  # the column that says what a summary was computed from
_SCHEMA = pa.schema([*SUMMARY, pa.field(SIGNATURE, pa.string(), nullable=False)])


def signature(cards: Iterable[Card]) -> str:
    """Give a digest of what the summary of some cells is computed from, in whatever order they come."""
    parts = sorted(
        f"{card.key} {card.parameters} {card.metrics_version} "
        + " ".join(card.files[f"{name}.parquet"].sha256 for name in ("answers", "scores", "costs"))
        for card in cards
    )
    return hashlib.sha256("\n".join([str(METRICS_VERSION), *parts]).encode()).hexdigest()[:32]


def read_index(run: Path) -> pd.DataFrame | None:
    """Read the summaries that are known, each row with its signature; None if there is no file that can be used."""
    path = run / FILE
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        if path.is_symlink() or not table.schema.equals(_SCHEMA):
            return None
        return cast(pd.DataFrame, table.to_pandas())
    except (OSError, pa.ArrowException):
        return None


def write_index(run: Path, summaries: pd.DataFrame) -> bool:
    """Replace the index of a run; say whether it could be written. A run that can only be read stays as it is."""
    temporary = run / f".tmp-{FILE}-{secrets.token_hex(4)}"
    try:
        table = pa.Table.from_pandas(summaries[_SCHEMA.names], schema=_SCHEMA, preserve_index=False)
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd", write_page_checksum=True)
        os.replace(temporary, run / FILE)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return False
    return True
