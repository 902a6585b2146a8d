"""Runs with results made up without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from bench.records.card import Failure
from bench.records.cell import Cell
from bench.records.result import completed, uncompleted
from bench.records.schema import AnswerRow, CostRow, answers_frame, costs_frame, empty
from bench.records.status import Status
from bench.records.store import Store
from bench.records.summary import IDENTITY
from bench.reporting import plots

TIMES = {"started": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:00:42+00:00"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def add_done(store: Store) -> Callable[..., Cell]:
    """Write a finished cell with 12 edits into the run `run`."""

    def add(success: float = 0.9, lost: float = 0.1, environment: Any = None, notes: Any = (), **fields: Any) -> Cell:
        cell = _cell(**fields)
        generator = np.random.default_rng(0)
        rows = []
        for edit in range(12):
            for phase in ("original", "edited"):
                is_edited = phase == "edited"
                for kind, share in (("request", success if is_edited else 0), ("locality", 1 - lost * is_edited)):
                    tokens = int(generator.random() < share)
                    rows.append(
                        AnswerRow(
                            edit_id=f"e{edit}", probe_id=kind, kind=kind, phase=phase, tokens=1, tokens_correct=tokens,
                            log_prob=-1.0, prompt="p", answer="a",
                        )
                    )  # fmt: skip
        costs = [CostRow(phase="edit", measure="seconds", value=0.004, edit_id=f"e{edit}") for edit in range(12)]
        costs.append(CostRow(phase="fit", measure="peak_memory_bytes", value=2.0**30))
        result = completed(
            cell,
            answers=answers_frame(rows),
            costs=costs_frame(cell.key, costs),
            environment=environment or {},
            parameters=3,
            notes=notes,
            **TIMES,
        )
        store.write("run", cell, result)
        return cell

    return add


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """Make a cell; what is not given is as in all tests."""
    return _cell


@pytest.fixture
def add_failed(store: Store) -> Callable[..., Cell]:
    """Write a cell that is not done into the run `run`."""

    def add(status: Status = Status.FAILED, message: str = "ValueError: no", **fields: Any) -> Cell:
        cell = _cell(**fields)
        failure = Failure(phase="edit", message=message)
        store.write("run", cell, uncompleted(status, **TIMES, failure=failure, parameters=3))
        return cell

    return add


@dataclass(frozen=True)
class MadeTables:
    """Tables of a run with a summary and nothing else."""

    summary: pd.DataFrame
    cards: Any = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=lambda: empty("scores"))
    costs: pd.DataFrame = field(default_factory=lambda: empty("costs"))

    @property
    def cells(self) -> pd.DataFrame:
        cells = self.summary[list(IDENTITY)].drop_duplicates().reset_index(drop=True)
        keys = cells.index.astype("str")
        return cells.assign(key=keys, group=keys, label=cells["method"], status="done", model_kind="causal", seed=0)


@pytest.fixture
def words() -> Callable[[plots.Files], str]:
    """Give all texts of a figure, lines joined by spaces."""

    def read(files: plots.Files) -> str:
        return " ".join(" ".join(ElementTree.fromstring(files.svg.read_text()).itertext()).split())

    return read


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., plots.Files]:
    """Draw a summary, or the tables of a run, as `bench plot` does."""

    def drawn(
        kind: str, tables: Any, folder: Path = tmp_path / "plots", published: pd.DataFrame | None = None, **asked: str
    ) -> plots.Files:
        found = plots.find(kind)
        metrics = found.chosen({option: names.split(",") for option, names in asked.items()})
        if isinstance(tables, pd.DataFrame):
            tables = MadeTables(tables)
        beside = pd.DataFrame() if published is None else published
        return plots.plot(found, plots.Material(tables=tables, metrics=metrics, published=beside), folder)

    return drawn


@pytest.fixture
def make_summary() -> Callable[..., pd.DataFrame]:
    """Make a summary from (method, model) → {metric: (mean, half)}; `parameters` of models, 3 otherwise."""

    def make(
        values: dict[tuple[str, str], dict[str, tuple[float, float]]], parameters: dict[str, int] | None = None
    ) -> pd.DataFrame:
        sizes = parameters or {}
        fixed = {"config": "default", "dataset": "facts", "split": "test", "mode": "single"}
        fixed |= {"dtype": "float32", "device": "cpu", "application": "factored", "seeds": 1, "n": 200}
        rows = [
            {
                "method": method, "model": model, "parameters": sizes.get(model, 3), **fixed, "metric": metric,
                "mean": mean, "ci_low": mean - half, "ci_high": mean + half,
            }
            for (method, model), metrics in values.items()
            for metric, (mean, half) in metrics.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)

    return make


def _cell(**fields: Any) -> Cell:
    values: dict[str, Any] = {
        "method": "mend", "method_version": 1, "config": {"lr": 1e-4}, "plugin_digest": "a", "model": "gpt2-3m",
        "model_digest": "b", "model_kind": "causal", "dataset": "facts", "dataset_digest": "c", "dataset_config": {},
        "split": "test", "edits": 12, "mode": "single", "dtype": "float32", "application": "factored",
        "device": "cpu", "threads": 2, "seed": 0,
    }  # fmt: skip
    return Cell(**(values | fields))
