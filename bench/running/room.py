"""Computes rows together as far as they fit into the memory, and says where they did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from bench.models.memory import is_out_of_memory

__all__ = ["Room"]

T = TypeVar("T")


class Room:
    """How many rows of a batch fit into the memory: as many as are asked for, until that fails once."""

    def __init__(self) -> None:
        self.most_rows: int | None = None

    def compute(self, rows: Sequence[int], together: Callable[[Sequence[int]], Sequence[T]]) -> list[T]:
        """Compute rows together, or in ever smaller batches where memory runs out.

        Args:
            rows: by index.
            together: gives one result a row for some of them, and may run out of memory.

        Raises:
            MemoryError, torch.OutOfMemoryError, RuntimeError: not even one row fits.
        """
        if self.most_rows is not None and len(rows) > self.most_rows:
            size = self.most_rows
            return [found for i in range(0, len(rows), size) for found in self.compute(rows[i : i + size], together)]
        try:
            return list(together(rows))
        except (MemoryError, RuntimeError) as error:  # torch's is a RuntimeError
            if len(rows) == 1 or not is_out_of_memory(error):
                raise
        # behind the handler, where the failed pass holds no tensors any more
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.most_rows = len(rows) // 2
        return self.compute(rows, together)

    def notes(self) -> list[str]:
        """Say for the card what did not fit."""
        if self.most_rows is None:
            return []
        return [f"memory ran out while scoring: batches had at most {self.most_rows} rows from then on"]
