"""Makes a run of many synthetic cells and measures what reading it takes.

    python tests/perf/scaling.py make BIG/run --cells 10000 --edits 1000 --seeds 5
    python tests/perf/scaling.py open BIG/run
    python tests/perf/scaling.py check BIG/run
    python tests/perf/scaling.py overhead --cells 100 --engine ray

`make` writes cells as a driver does, but of invented answers, the same for all, and without syncing. `open` times what
`bench table` does, in a process of its own, without an index and with one, and its peak memory; `check` times what
comes before a run goes on. `overhead` computes small cells of the control on a tiny model, and says how long a local
worker, or an actor of Ray, waits between two of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import typer

from bench.records.card import Card, read_card
from bench.records.cell import Cell
from bench.records.folder import FileFacts
from bench.records.metrics import METRICS_VERSION
from bench.records.result import completed
from bench.records.schema import AnswerRow, CostRow, answers_frame, costs_frame, to_arrow
from bench.records.spent import spent
from bench.records.status import Status
from bench.running.engine import Engine, LocalEngine
from bench.running.task import Message, Outcome, Task

app = typer.Typer(add_completion=False)
_PROBES = (
    ("request", "request", None),
    ("rephrase", "rephrase", None),
    ("near", "locality", "relation"),
    ("far", "locality", "distant"),
)


@app.command()
def make(folder: Path, cells: int = 10_000, edits: int = 1000, seeds: int = 5) -> None:
    """Write a run of that many cells; the seeds of a configuration are pooled in tables."""
    answers = _answers(edits)
    costs = [CostRow(phase="fit", measure="seconds", value=60.0)]
    costs += [CostRow(phase="edit", measure="seconds", value=0.2, edit_id=f"zsre/{i:06}") for i in range(20)]
    shared: dict[str, pd.DataFrame] = {}
    (folder / "cells").mkdir(parents=True)
    first = folder / "answers.parquet"
    pq.write_table(to_arrow("answers", answers), first, compression="zstd")
    started = time.perf_counter()
    for number in range(cells):
        cell = _cell(number // seeds, number % seeds, edits)
        if not shared:
            result = completed(
                cell,
                answers=answers,
                costs=costs_frame(cell.key, costs),
                started="2026-11-22T10:00:00.000+00:00",
                ended="2026-11-22T10:01:30.000+00:00",
                environment={"torch": "2.11"},
                parameters=124_000_000,
            )
            shared = dict(result.tables)
        _write(folder / "cells" / cell.folder, cell, shared, first)
    first.unlink()
    print(f"{cells} cells of {edits} edits in {time.perf_counter() - started:.0f} s")


@app.command("open")
def open_(folder: Path) -> None:
    """Time `bench table`: without an index, which it then writes, and with that index."""
    for state in ("no index", "index"):
        if state == "no index":
            (folder / "index.parquet").unlink(missing_ok=True)
        started = time.perf_counter()
        command = [sys.executable, "-m", "bench.cli", "table", str(folder), "--format", "csv"]
        code = f"import sys; sys.argv = {command[2:]!r}; from bench.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        seconds, lines = time.perf_counter() - started, done.stdout.count("\n")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{state}: {seconds:.1f} s, {lines} lines, peak of all so far {peak:.2f} GiB", flush=True)


@app.command()
def check(folder: Path) -> None:
    """Time what the same command does first when it is given again: it checks every file of every cell."""
    started = time.perf_counter()
    cards = [read_card(path, verify=True) for path in (folder / "cells").iterdir()]
    size = sum(facts.bytes for card in cards for facts in card.files.values())
    print(f"{len(cards)} cells, {size / 2**30:.2f} GiB checked in {time.perf_counter() - started:.1f} s")


@app.command()
def overhead(
    cells: Annotated[int, typer.Option(help="How many.")] = 100,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster; empty: one of this command's own.")] = "",
) -> None:
    """Say how long a warm worker waits between two small cells, for the driver and for what is sent."""
    from bench.records.store import Store
    from bench.running.driver import run_sweep, survey
    from bench.running.heartbeat import Heartbeat
    from bench.running.sweep import Sweep, plan

    sweep = Sweep(
        methods=("none",), models=("facts-gpt2-1m",), datasets=("facts",), edits=2, seeds=cells, modes=("single",)
    )
    folder = Path(tempfile.mkdtemp(prefix="overhead-", dir=os.environ.get("BENCH_RESULTS")))
    store = Store(folder)
    planned = plan(sweep)
    store.start("r", sweep.to_toml())
    todo = survey(planned, store, "r")
    watched = _Watched(_engine(engine, address))
    started = time.perf_counter()
    with Heartbeat(store.run_folder("r"), {cell.key: cell for cell in todo.to_run}) as observer:
        cards = run_sweep(sweep, todo, store, "r", watched, observer)
    seconds = time.perf_counter() - started
    assert all(card.status == Status.DONE for card in cards)
    print(
        f"{cells} cells with {engine} in {seconds:.1f} s, the worker's start included\n"
        f"from outcome to outcome: {_milliseconds(np.diff(watched.outcomes))}\n"
        f"of that, from an outcome to the next task, in the driver: {_milliseconds(watched.idle)}\n"
        f"and from a task to the worker's first word: {_milliseconds(watched.first_words[1:])}"
    )
    shutil.rmtree(folder)


class _Watched:
    """An engine with one worker, of which it is noted when it gives and gets what."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.outcomes: list[float] = []  # when they came
        self.idle: list[float] = []  # seconds from an outcome to the next task
        self.first_words: list[float] = []  # seconds from a task to the first message

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        sent = 0.0

        def timed(cell: Cell) -> Task | None:
            nonlocal sent
            found = task(cell)
            sent = time.perf_counter()
            self.idle += [sent - self.outcomes[-1]] if self.outcomes else []
            return found

        def heard(message: Message) -> None:
            if len(self.first_words) == len(self.outcomes):
                self.first_words.append(time.perf_counter() - sent)
            on_message(message)

        for found in self._engine.run(cells, timed, heard):
            self.outcomes.append(time.perf_counter())
            yield found


def _engine(name: str, address: str) -> Engine:
    if name == "local":
        return LocalEngine(1)
    from bench.running.ray_engine import RayEngine

    return RayEngine(1, address=address)


def _milliseconds(seconds: Sequence[float] | np.ndarray) -> str:
    values = 1000 * np.array(seconds)
    return f"{np.median(values):.0f} ms (median), {np.quantile(values, 0.95):.0f} ms (p95)"


def _answers(edits: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(edits):
        for phase in ("original", "edited"):
            for probe, kind, scope in _PROBES:
                is_hit = rng.random() < (0.9 if (phase == "edited") == (kind != "locality") else 0.8)
                is_compared = kind == "locality" and phase == "edited"
                rows.append(
                    AnswerRow(
                        edit_id=f"zsre/{number:06}",
                        probe_id=probe,
                        kind=kind,
                        scope=scope,
                        phase=phase,
                        tokens=3,
                        tokens_correct=3 if is_hit else 1,
                        log_prob=-float(rng.exponential()),
                        kl=float(rng.exponential()) / 100 if is_compared else None,
                        prompt=f"What university did number {number} attend?",
                        answer="University of Michigan",
                    )
                )
    return answers_frame(rows)


def _cell(configuration: int, seed: int, edits: int) -> Cell:
    model, dataset = (
        f"model-{configuration % 10}",
        ("zsre", "facts", "fever", "wikitext", "counterfact")[configuration % 5],
    )
    return Cell(
        method=("mend", "ft", "ke", "enn")[configuration % 4],
        method_version=1,
        config={"lr": 1e-6 * (1 + configuration), "layers": "last:3", "rank": None, "steps": 100, "kl": True},
        plugin_digest="a" * 16,
        model=model,
        model_digest=hashlib.sha256(model.encode()).hexdigest(),
        model_kind="causal",
        dataset=dataset,
        dataset_digest="c" * 16,
        dataset_config={"path": "zsre.json"},
        split="test",
        edits=edits,
        mode="single",
        dtype="fp32",
        application="factored",
        device="cuda",
        threads=8,
        seed=seed,
        overrides=("lr",),
    )


def _write(folder: Path, cell: Cell, tables: dict[str, pd.DataFrame], answers: Path) -> None:
    """Write a cell's folder; its answers are a second name of one file."""
    folder.mkdir()
    os.link(answers, folder / answers.name)
    for name in ("scores", "costs", "summary"):
        frame = tables[name]
        if name == "summary":
            frame = frame.assign(method=cell.method, model=cell.model, dataset=cell.dataset, config=cell.config_label)
        else:
            frame = frame.assign(cell=cell.key)
        pq.write_table(to_arrow(name, frame), folder / f"{name}.parquet", compression="zstd")
    facts = {
        path.name: FileFacts(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    }
    card = Card(
        cell=cell,
        key=cell.key,
        status=Status.DONE,
        started="2026-11-22T10:00:00.000+00:00",
        ended="2026-11-22T10:01:30.000+00:00",
        environment={"torch": "2.11", "device_name": "an invented GPU", "python": "3.12"},
        counts={"edits": cell.edits, "probes": 4 * cell.edits, "answers": 8 * cell.edits, "left_out_probes": 0},
        files={},
        metrics_version=METRICS_VERSION,
        parameters=124_000_000,
        spent=spent(tables["costs"]),
    )
    (folder / "card.json").write_text(json.dumps(replace(card, files=facts).to_json(), indent=1) + "\n")


if __name__ == "__main__":
    app()
