"""What a cell has cost so far: seconds and bytes by phase and edit."""

from __future__ import annotations

import pandas as pd

from bench.records.schema import CostRow, costs_frame
from bench.running.clock import Cost

__all__ = ["Costs", "add"]


class Costs:
    """The rows of a cell's table of costs."""

    def __init__(self) -> None:
        self._rows: list[CostRow] = []

    def spent(self, phase: str, cost: Cost, *, edit_id: str | None = None, is_cached: bool = False) -> None:
        """Note what a phase, or one edit of it, cost."""
        self.note(phase, "seconds", cost.seconds, edit_id, is_cached=is_cached)
        if edit_id is None:
            self.note(phase, "cpu_seconds", cost.cpu_seconds, is_cached=is_cached)
            self.note(phase, "peak_memory_bytes", cost.peak_memory_bytes, is_cached=is_cached)
            if cost.peak_reserved_bytes:
                self.note(phase, "peak_reserved_bytes", cost.peak_reserved_bytes, is_cached=is_cached)

    def note(
        self, phase: str, measure: str, value: float, edit_id: str | None = None, *, is_cached: bool = False
    ) -> None:
        """Note one number, in the unit that its measure's name ends in."""
        row = CostRow(phase=phase, measure=measure, value=float(value), edit_id=edit_id, cached=is_cached)
        self._rows.append(row)

    def frame(self, cell: str) -> pd.DataFrame:
        """Give all that was noted as a table of the cell with this key."""
        return costs_frame(cell, self._rows)


def add(total: Cost, part: Cost) -> None:
    """Add up what two stretches of work cost, one after the other."""
    total.seconds += part.seconds
    total.cpu_seconds += part.cpu_seconds
    total.peak_memory_bytes = max(total.peak_memory_bytes, part.peak_memory_bytes)
    total.peak_reserved_bytes = max(total.peak_reserved_bytes, part.peak_reserved_bytes)
