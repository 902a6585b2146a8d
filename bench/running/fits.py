"""Fitted editors below results/editors, and the checkpoints of fits that were interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.editing.checkpoint import CHECKPOINT_VERSION
from bench.errors import StoreError
from bench.records.artifacts import Artifact, ArtifactStore
from bench.records.canonical import canonical_json, key_of
from bench.records.cell import Cell
from bench.running.task import Checkpoint, Fitted, diverged_identity, fit_identity

__all__ = ["LEFTOVER_SECONDS", "LOG", "STATE", "Fits", "begun_editors", "editors"]

STATE, LOG = "state.safetensors", "fit.parquet"
LEFTOVER_SECONDS = 24 * 3600.0  # no write takes so long: what is older was left by a killed driver


def editors(results: Path, report: Callable[[str], None]) -> ArtifactStore:
    """Give the store of fitted editors of a results folder."""
    return ArtifactStore(results / "editors", report)


def begun_editors(results: Path, report: Callable[[str], None]) -> ArtifactStore:
    """Give the store of the checkpoints of a results folder."""
    return ArtifactStore(results / "editors", report, suffix=".checkpoint")


class Fits:
    """What the driver keeps of the fits of its cells.

    Args:
        results: the results folder.
        report: told, in a sentence, of each broken editor or checkpoint that was moved aside.
    """

    def __init__(self, results: Path, report: Callable[[str], None]) -> None:
        self._whole = editors(results, report)
        self._begun = begun_editors(results, report)
        self._report = report

    def tidy(self) -> None:
        """Delete what drivers that were killed long ago left half-written."""
        self._whole.tidy(older_than_seconds=LEFTOVER_SECONDS)

    def find(self, cell: Cell) -> Fitted | None:
        """Give the state fitted for a cell with the same fit identity, or None."""
        artifact = self._whole.find(fit_identity(cell))
        if artifact is None:
            return None
        details: Mapping[str, Any] = artifact.details
        return Fitted(
            tensors=(artifact.folder / STATE).read_bytes(),
            values=details["values"],
            log=(),  # nobody asks for it: it lies beside the state
            costs=details["costs"],
            notes=tuple(details.get("notes", ())),  # editors of before have none
        )

    def keep(self, cell: Cell, fitted: Fitted) -> None:
        """Write what was fitted just now, and delete its checkpoint."""

        def fill(folder: Path) -> None:
            (folder / STATE).write_bytes(fitted.tensors)
            pd.DataFrame(list(fitted.log)).to_parquet(folder / LOG)

        identity = fit_identity(cell) if fitted.problem is None else diverged_identity(cell)
        details = {
            "values": dict(fitted.values),
            "costs": dict(fitted.costs),
            "resumed_at": list(fitted.resumed_at),
            "problem": fitted.problem,
            "notes": list(fitted.notes),
            **_names(cell),
        }
        self._whole.write(identity, fill, details)
        self._begun.remove(fit_identity(cell))

    def is_fitted(self, cell: Cell) -> bool:
        """Say whether there is a folder for a cell's fit, whole or not."""
        return self._whole.folder(fit_identity(cell)).exists()

    def is_begun(self, cell: Cell) -> bool:
        """Say whether there is a checkpoint for a cell's fit."""
        return self._begun.folder(fit_identity(cell)).exists()

    def checkpoint(self, cell: Cell) -> Checkpoint | None:
        """Give what a cell's fit can go on from, or None; a broken one is moved aside and reported."""
        artifact = self._begun.find(fit_identity(cell))
        if artifact is None:
            return None
        details: Mapping[str, Any] = artifact.details
        if details.get("version") != CHECKPOINT_VERSION:
            self._begun.set_aside(artifact.folder, f"it was written by another version, {details.get('version')!r}")
            return None
        return Checkpoint(
            key=cell.key,
            tensors=(artifact.folder / STATE).read_bytes(),
            values=details["values"],
            costs=details["costs"],
            step=details["step"],
            steps=details["steps"],
            resumed_at=tuple(details["resumed_at"]),
        )

    def keep_checkpoint(self, cell: Cell, checkpoint: Checkpoint) -> None:
        """Write a checkpoint over the one before; that it could not be written is reported, and the fit goes on."""
        if self._whole.folder(fit_identity(cell)).exists():
            return  # another cell's worker was faster with the same fit

        details = {
            "version": CHECKPOINT_VERSION,
            "values": dict(checkpoint.values),
            "costs": dict(checkpoint.costs),
            "step": checkpoint.step,
            "steps": checkpoint.steps,
            "resumed_at": list(checkpoint.resumed_at),
            **_names(cell),
        }
        try:
            self._begun.write(fit_identity(cell), lambda folder: _write(folder / STATE, checkpoint.tensors), details)
        except StoreError as error:
            self._report(f"the fit of {cell.label!r} goes on without a new checkpoint: {error}")

    def refuse_foreign(self, cells: Iterable[Cell]) -> None:
        """Check that the checkpoints that lie where those of some cells belong are theirs.

        Raises:
            StoreError: one is of another configuration, model or dataset.
        """
        for cell in cells:
            identity = fit_identity(cell)
            found = self._begun.peek(self._begun.folder(identity))
            if found is not None and canonical_json(found.identity) != canonical_json(identity):
                raise StoreError(
                    f"the checkpoint {str(found.folder)!r} is of the fit {found.key!r}, not of {key_of(identity)!r} "
                    f"({cell.label} on {cell.model}): they differ in {_differences(found, identity)}. "
                    f"Rename it to '{found.key}.checkpoint', or delete it."
                )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _names(cell: Cell) -> dict[str, object]:
    """Give what says for people which fit it is; its identity has digests where these have names."""
    return {"label": cell.label, "model": cell.model}


def _differences(found: Artifact, identity: Mapping[str, object]) -> str:
    """Name the fields in which two identities differ, with both values where they are short."""
    theirs, ours = _flat(found.identity), _flat(identity)
    names = [name for name in dict.fromkeys([*ours, *theirs]) if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{name} ({theirs.get(name)!r}, not {ours.get(name)!r})" for name in names)


def _flat(identity: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in identity.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{field}": inner for field, inner in value.items()}
        else:
            flat[name] = value
    return flat
