"""`bench run`: plans a sweep, has it computed, and ends with the table, the plot and the next command."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench.commands.dry_run import print_plan
from bench.commands.engines import choose_engine
from bench.commands.results import draw
from bench.display import shown_run
from bench.errors import ConfigError, nearest
from bench.models.options import LoadOptions
from bench.records.card import Card
from bench.records.status import Status
from bench.records.store import Store
from bench.reporting.formats import plain, records, terminal
from bench.reporting.tables import build
from bench.running.driver import Todo, run_sweep, survey
from bench.running.heartbeat import Audience, Heartbeat, refuse_second_driver
from bench.running.reach import note_plan
from bench.running.sweep import FILE_NAMES, Sweep, plan

__all__ = ["RunOptions", "execute"]

_FINE = (Status.DONE, Status.SKIPPED)
_SEEDS_FOR_ERROR_BARS = 3
_OPTIONS = FILE_NAMES | {"name": "run"}  # of fields that are called otherwise
_DEVICES = ("auto", "cpu", "cuda", "mps")
INTERRUPTED = 130  # the exit code that shells expect after Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `bench run`, as they were given, and their defaults."""

    methods: tuple[str, ...]
    models: tuple[str, ...] = ("facts-gpt2-3m",)
    datasets: tuple[str, ...] = ("facts",)
    modes: tuple[str, ...] = ("single",)
    edits: int = 200
    seeds: int = 1
    sets: tuple[str, ...] = ()
    device: str = "auto"
    dtypes: tuple[str, ...] = ("fp32",)
    application: str = "auto"
    split: str = "test"
    name: str = ""
    results: Path = Path("results")
    plugins: tuple[Path, ...] = ()
    workers: int = 0
    devices: tuple[str, ...] = ()
    threads: int = 0
    timeout: float | None = None  # seconds a cell
    fail_fast: bool = False
    checkpoint_minutes: float = 5.0
    known_only: bool = False
    chat: bool = False
    trust_remote_code: bool = False
    allow_pickle: bool = False
    gpus_per_cell: float = 1.0
    engine: str = "local"
    address: str = ""
    is_in_process: bool = False
    retries_failed: bool = False
    is_dry: bool = False
    is_json: bool = False


def execute(options: RunOptions) -> int:
    """Run a sweep and print what came of it.

    Returns:
        The exit code: 0, 1 if a cell failed, 130 after Ctrl-C.

    Raises:
        BenchError: the sweep can not be run at all; nothing has been written.
    """
    console = Console(stderr=options.is_json, highlight=False)
    if options.threads < 0:
        raise ConfigError(f"--threads is {options.threads}; it must be at least 1, or 0 for all cores.")
    if not options.checkpoint_minutes >= 0:  # NaN is not
        raise ConfigError(f"--checkpoint-minutes is {options.checkpoint_minutes:g}; it must be at least 0.")
    sweep = _sweep(options)
    engine = choose_engine(options, sweep.device)
    planned = plan(sweep)
    name = options.name or f"{date.today().isoformat()}-{'-'.join(sweep.datasets)}"
    store = Store(options.results, report=lambda sentence: console.print(Text(plain(sentence)), soft_wrap=True))
    if options.is_dry:
        print_plan(planned, store, name, console, retry=options.retries_failed, as_json=options.is_json)
        return 0
    refuse_second_driver(store.run_folder(name))
    folder = store.start(name, sweep.to_toml())
    note_plan(folder, planned)
    todo = survey(planned, store, name, retry=options.retries_failed)
    _announce(todo, name, sweep, console)
    cards: list[Card] = []
    try:
        cells = {cell.key: cell for cell in todo.to_run}
        with Heartbeat(folder, cells) as heartbeat, shown_run(console, cells) as display:
            audience = Audience(heartbeat, display)
            cards = run_sweep(sweep, todo, store, name, engine, audience, stops_at_failure=options.fail_fast)
    except KeyboardInterrupt:
        console.print("interrupted: finished cells and checkpoints of fits stay; the same command goes on from there.")
        return INTERRUPTED
    _conclude(store, name, options, console)
    if left := len(todo.to_run) + len(todo.skipped) - len(cards):
        console.print(f"stopped at the first cell that failed; cells left: {left}. The same command goes on with them.")
    return _exit_code([*todo.cached, *cards], console)


def _sweep(options: RunOptions) -> Sweep:
    return Sweep(
        methods=options.methods,
        models=options.models,
        datasets=options.datasets,
        modes=options.modes,
        edits=options.edits,
        seeds=options.seeds,
        sets=options.sets,
        device=_device(options.device, is_elsewhere=bool(options.address)),
        dtypes=options.dtypes,
        application=options.application,
        split=options.split,
        threads=options.threads or len(os.sched_getaffinity(0)),
        plugins=options.plugins,
        checkpoint_minutes=options.checkpoint_minutes,
        known_only=options.known_only,
        loading=LoadOptions(
            is_chat=options.chat,
            gpus=int(options.gpus_per_cell)
            if options.gpus_per_cell >= 1
            else 1,  # a model on a part of a GPU is on one
            runs_remote_code=options.trust_remote_code,
            reads_pickle=options.allow_pickle,
        ),
    )


def _device(name: str, *, is_elsewhere: bool = False) -> str:
    """Resolve `auto`, and check what this machine has, unless cells are computed elsewhere."""
    import torch

    if name not in _DEVICES:
        raise ConfigError(f"--device is {name!r}; it can be {', '.join(_DEVICES)}.{nearest(name, _DEVICES)}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu and not is_elsewhere:
        raise ConfigError("--device is 'cuda' and torch finds no GPU here. Use --device cpu, or auto.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device is 'mps' and torch finds no Apple GPU here. Use --device cpu, or auto.")
    return ("cuda" if has_gpu else "cpu") if name == "auto" else name


def _announce(todo: Todo, name: str, sweep: Sweep, console: Console) -> None:
    total = len(todo.cached) + len(todo.skipped) + len(todo.to_run)
    counts = f"{len(todo.to_run)} to run, {len(todo.cached)} cached, {len(todo.skipped)} skipped"
    dtypes = ", ".join(sweep.dtypes)
    line = f"run {name}: {total} cells ({counts}), {sweep.edits} edits each, on {sweep.device} in {dtypes}"
    console.print(Text(plain(line)), soft_wrap=True)
    if not todo.to_run and not todo.skipped:
        console.print("nothing to compute: every cell is there already.")


def _conclude(store: Store, name: str, options: RunOptions, console: Console) -> None:
    run = store.load(name)
    run.refresh_index()
    folder = store.run_folder(name)
    plots = draw(folder) if len(run.summary) else ()
    if options.is_json:
        answer = {
            "run": name,
            "folder": str(folder),
            "plots": [str(path) for path in plots],
            "cells": json.loads(records(run.cells)),
            "summary": json.loads(records(run.summary)),
        }
        json.dump(answer, sys.stdout, indent=1)
        print()
        return
    console.print()
    console.print(terminal(build(run), console.width))
    console.print(Text(plain(f"results: {folder}")), soft_wrap=True)
    for path in plots[:1]:
        console.print(Text(plain(f"plot: {path}")), soft_wrap=True)
    console.print(Text(f"next: {_next(name, options)}"), soft_wrap=True)


def _next(name: str, options: RunOptions) -> str:
    """Give the command that this user is most likely to want now."""
    where = [] if options.results == Path("results") else ["--results", str(options.results)]
    if options.seeds < _SEEDS_FOR_ERROR_BARS:
        words = ["bench", "run", *_given(options), "--seeds", str(_SEEDS_FOR_ERROR_BARS), *where]
        return f"{shlex.join(words)}   # error bars over fits, too"
    return shlex.join(["bench", "table", name, "--format", "csv", *where])


def _given(options: RunOptions) -> list[str]:
    """Give the words of a command line that asks for the same cells; defaults are left out."""
    usual = RunOptions(methods=())
    words = []
    for field in (
        "methods",
        "models",
        "datasets",
        "modes",
        "edits",
        "device",
        "dtypes",
        "application",
        "name",
        "workers",
        "devices",
        "threads",
        "timeout",
        "gpus_per_cell",
        "engine",
        "address",
    ):
        value = getattr(options, field)
        if value != getattr(usual, field):
            option = f"--{_OPTIONS.get(field, field).replace('_', '-')}"
            words += [option, ",".join(value) if isinstance(value, tuple) else str(value).removesuffix(".0")]
    for field in ("known_only", "chat", "trust_remote_code", "allow_pickle"):
        words += [f"--{field.replace('_', '-')}"] if getattr(options, field) else []
    for option, values in (("--set", options.sets), ("--plugin", options.plugins)):
        words += [word for value in values for word in (option, str(value))]
    return words


def _exit_code(cards: Sequence[Card], console: Console) -> int:
    wrong = [card for card in cards if card.status not in _FINE]
    if not wrong:
        return 0
    console.print(f"{len(wrong)} of {len(cards)} cells did not finish:")
    for card in wrong:
        console.print(Text(plain(f"  {card.cell.folder}: {card.status} {card.explanation}")), soft_wrap=True)
    console.print("their cards hold the tracebacks; --retry-failed computes them again.")
    return 1
