"""`bench editors`: which fitted editors there are, and how they are handed on as files."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import registry
from bench.editing.config import build_config, config_values
from bench.errors import BenchError, StoreError
from bench.records.artifacts import Artifact, ArtifactStore
from bench.records.cell import PROTOCOL_VERSION
from bench.records.run_data import RunData
from bench.records.status import Status
from bench.reporting.formats import plain
from bench.reporting.numbers import duration, size
from bench.running.editor_file import FitCard, FitIdentity, read_editor, write_editor
from bench.running.fits import LOG, STATE, begun_editors, editors
from bench.running.specs import parse_spec
from bench.running.task import fit_identity

__all__ = ["export_editor", "import_editor", "list_editors"]

_USUAL_DTYPE = "fp32"


def list_editors(results: Path, *, as_json: bool) -> str:
    """Give the fitted editors of a results folder, and the fits that were interrupted: one a line, or as JSON.

    A line has the key, the status, what the fit took, its size, and then as a run has it: method model dataset seed.
    """

    def report(sentence: str) -> None:
        Console(stderr=True, highlight=False).print(Text(plain(sentence)), soft_wrap=True)

    rows = [_row(a) for a in [*editors(results, report).all(), *begun_editors(results, report).all()]]
    if as_json:
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if not rows:
        return f"no fitted editor in {str(results)!r}; `bench run` makes them.\n"
    width = max(len(row["status"]) for row in rows)
    return "".join(
        plain(
            f"{row['key']}  {row['status']:<{width}}  {duration(row['fit_seconds']):>7}  {size(row['bytes']):>8}  "
            f"{row['method']}  {row['model']}  {row['dataset']}  seed {row['seed']}"
        )
        + "\n"
        for row in rows
    )


def export_editor(name: str, run: Path, file: Path, results: Path) -> str:
    """Write one fitted editor into a file; give the sentences that say what to do with it.

    Args:
        name: the editor's key, or a run that has one fitted editor.
        run: the folder of that run, if it is one.
        file: a new file.
        results: the results folder.

    Raises:
        StoreError: there is no such editor, or more than one; or the file can not be written.
    """
    artifact = _named(name, run, editors(results, _raise))
    problem = artifact.details.get("problem")
    if problem:
        raise StoreError(f"editor {artifact.key!r} is what is left of a fit that came to no end; no run would use it.")
    write_editor(file, artifact)
    return f"{file}: {_title(artifact)}, {size(file.stat().st_size)}\nelsewhere: bench editors import {file}\n"


def import_editor(file: Path, results: Path) -> str:
    """Store the editor of a file where a run finds it; give the sentences that name that run.

    Raises:
        StoreError: the file is no whole editor, or the results folder can not be written.
    """
    found = read_editor(file)
    store = editors(results, _raise)
    there = store.find(found.identity)
    if there is not None:
        return f"{there.folder}: this editor is there already\n{_use(found.card)}\n"

    def fill(folder: Path) -> None:
        for name in (STATE, LOG):
            (folder / name).write_bytes(found.files[name])

    artifact = store.write(found.identity, fill, found.details)
    return f"{artifact.folder}: {_title(artifact)}\n{_use(found.card)}\n"


def _raise(sentence: str) -> None:
    raise StoreError(sentence)


def _row(artifact: Artifact) -> dict[str, Any]:
    identity: Any = artifact.identity
    details: Any = artifact.details
    if "step" in details:
        status = f"begun {details['step']}/{details['steps']}"
    else:
        status = str(Status.NAN) if details.get("problem") else "fitted"
    return {
        "key": artifact.key,
        "method": details.get("label", identity.get("method")),
        "model": details.get("model", ""),
        "dataset": identity.get("dataset"),
        "seed": identity.get("seed"),
        "dtype": identity.get("dtype"),
        "device": identity.get("device"),
        "threads": identity.get("threads"),
        "status": status,
        "fit_seconds": details.get("costs", {}).get("seconds", math.nan),
        "bytes": sum(facts.bytes for facts in artifact.files.values()),
        "folder": str(artifact.folder),
    }


def _title(artifact: Artifact) -> str:
    row = _row(artifact)
    return f"{row['method']} on {row['model']}, {row['dataset']}, seed {row['seed']}"


def _named(name: str, run: Path, store: ArtifactStore) -> Artifact:
    """Find an editor by its key, or the only one of a run; its files are checked."""
    known = {artifact.key: artifact for artifact in store.all()}
    if name not in known:
        if not (run / "cells").is_dir():
            raise StoreError(
                f"there is neither an editor nor a run {name!r} in {str(store.root.parent)!r}. "
                "`bench editors list` shows the editors."
            )
        keys = {store.folder(fit_identity(card.cell)).name for card in RunData(run).cards.values()}
        mine = [known[key] for key in sorted(keys & set(known))]
        if not mine:
            raise StoreError(f"run {name!r} has no fitted editor: its methods need no fit, or none came to an end.")
        if len(mine) > 1:
            listed = "; ".join(f"{artifact.key}: {_title(artifact)}" for artifact in mine)
            raise StoreError(f"run {name!r} has {len(mine)} fitted editors. Name one by its key: {listed}.")
        name = mine[0].key
    artifact = store.find(known[name].identity)
    assert artifact is not None  # a broken one has been reported, and reporting raises
    return artifact


def _use(card: FitCard) -> str:
    """Say which run finds an editor, or why none does."""
    identity, method = card.identity, card.identity.method
    try:
        plugin = registry.find("methods", method)
        spec = _spec(card)
        settings = list(_dataset_settings(identity))
    except BenchError as error:
        return f"note: here no run finds it: {error}"
    if (plugin.digest, identity.protocol_version) != (identity.plugin_digest, PROTOCOL_VERSION):
        return f"note: no run finds it: {method!r} here is of another version than the one that was fitted."
    if identity.split != "test":
        return f"note: it was fitted for cells of the split {identity.split!r}, which `bench run` makes none of."
    words = ["bench", "run", "--methods", spec, "--models", card.details.model, "--datasets", identity.dataset]
    for setting in settings:
        words += ["--set", setting]
    if identity.seed:
        words += ["--seeds", str(identity.seed + 1)]
    if identity.dtype != _USUAL_DTYPE:
        words += ["--dtype", identity.dtype]
    words += ["--chat"] if identity.chat else []
    words += ["--trust-remote-code"] if identity.remote_code else []
    words += ["--gpus-per-cell", str(identity.gpus)] if identity.gpus > 1 else []
    words += ["--device", identity.device, "--threads", str(identity.threads)]
    return f"a run that finds it: {shlex.join(words)}"


def _spec(card: FitCard) -> str:
    """Give the method as it is asked for; as it was asked for then, if that means the same here."""
    method, wanted = card.identity.method, dict(card.identity.config)
    cls = registry.load("methods", method)
    try:
        values = parse_spec(card.details.label).values
        same = build_config(cls.Config, values, owner=method, presets=getattr(cls, "presets", None))
        if config_values(same) == wanted:
            return card.details.label
    except BenchError:
        pass  # a label is display only
    usual = config_values(cls.Config())
    changed = [f"{name}={_word(value)}" for name, value in wanted.items() if usual.get(name, object()) != value]
    return f"{method}[{','.join(changed)}]" if changed else method


def _dataset_settings(identity: FitIdentity) -> Iterator[str]:
    usual = config_values(registry.load("datasets", identity.dataset).Config())
    for name, value in identity.dataset_config.items():
        if usual.get(name, object()) != value:
            yield f"{identity.dataset}.{name}={_word(value)}"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
