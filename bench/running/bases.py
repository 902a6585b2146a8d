"""What unedited models answered, below results/bases: asked once for all methods, seeds and modes of all runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.errors import StoreError
from bench.records.artifacts import ArtifactStore
from bench.records.cell import Cell
from bench.running.fits import LEFTOVER_SECONDS
from bench.running.measure import Measure
from bench.running.task import base_identity

__all__ = ["Bases"]

_ANSWERS = "answers.parquet"


class Bases:
    """The unedited answers that the driver keeps.

    Args:
        results: the results folder.
        report: told, in a sentence, of each broken folder that was moved aside.
    """

    def __init__(self, results: Path, report: Callable[[str], None]) -> None:
        self._store = ArtifactStore(results / "bases", report)
        self._report = report
        self._latest: tuple[dict[str, object], dict[str, list[Measure]]] | None = (
            None  # cells of one model come together
        )

    def tidy(self) -> None:
        """Delete what drivers that were killed long ago left half-written."""
        self._store.tidy(older_than_seconds=LEFTOVER_SECONDS)

    def find(self, cell: Cell) -> dict[str, list[Measure]]:
        """Give the answers that are known for a cell's questions, by the key of a set of questions.

        What can not be read is as good as not there.
        """
        identity = base_identity(cell)
        if self._latest is not None and self._latest[0] == identity and self._store.folder(identity).exists():
            return self._latest[1]
        found = self._read(identity)
        self._latest = (identity, found) if found else None
        return found

    def keep(self, cell: Cell, answers: Mapping[str, Sequence[Measure]]) -> None:
        """Write what an unedited model answered, beside what is known already; failing to costs no cell."""
        answers = {**self.find(cell), **answers}
        self._latest = None
        columns = ["tokens", "tokens_correct", "log_prob"]
        frame = pd.DataFrame(
            [(questions, *measure[:3]) for questions, measures in answers.items() for measure in measures],
            columns=["questions", *columns],
        )
        try:
            self._store.write(
                base_identity(cell),
                lambda folder: frame.to_parquet(folder / _ANSWERS, index=False),
                {"model": cell.model, "dataset": cell.dataset},
            )
        except (StoreError, OSError) as error:
            self._report(f"answers of unedited models were not kept: {str(error).rstrip('.')}.")

    def _read(self, identity: dict[str, object]) -> dict[str, list[Measure]]:
        try:
            artifact = self._store.find(identity)
            if artifact is None:
                return {}
            frame = pd.read_parquet(artifact.folder / _ANSWERS)
            return {
                str(questions): [
                    Measure(int(tokens), int(correct), float(log_prob))
                    for tokens, correct, log_prob in zip(rows.tokens, rows.tokens_correct, rows.log_prob, strict=True)
                ]
                for questions, rows in frame.groupby("questions", sort=False)
            }
        except (StoreError, OSError, ValueError, KeyError, AttributeError) as error:
            self._report(f"answers of unedited models were not used: {str(error).rstrip('.')}.")
            return {}
