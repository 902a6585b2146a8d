"""`bench list`: methods, models, datasets and metrics, without importing torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.errors import BenchError
from bench.models.kind import ModelKind
from bench.reporting.formats import plain

__all__ = ["listing"]

# --json gives all columns.
_ON_A_TERMINAL = {
    "methods": ("name", "version", "kinds", "source", "summary"),
    "datasets": ("name", "kinds", "task", "size"),
    "models": ("name", "kind", "parameters", "editable", "known facts"),
    "metrics": ("name", "better", "unit", "formula"),
}
_USUAL = {"status": "ok", "origin": "built in"}
_OUTLINE = re.compile(r"\.(\d+)-(\d+)\..*?\{(.*)\}")
_LONGEST_WORD = 24  # characters; longer ones are folded


def listing(
    what: str, console: Console, *, is_checked: bool = False, plugins: Sequence[Path] = (), as_json: bool = False
) -> str:
    """Give the list of `methods`, `models`, `datasets` or `metrics`, as a table or as JSON."""
    for path in plugins:
        registry.add_file(path)
    match what:
        case "methods":
            rows = _plugins("methods", is_checked)
        case "datasets":
            rows = _plugins("datasets", is_checked)
        case "models":
            rows = _models()
        case _:
            rows = _metrics()
    if as_json:
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    with console.capture() as captured:
        console.print(_table(what, rows))
    return captured.get()


def _plugins(kind: registry.PluginKind, is_checked: bool) -> list[dict[str, Any]]:
    rows = []
    for plugin in registry.plugins(kind).values():
        problem = plugin.problem
        if is_checked and not problem:
            try:
                registry.load(kind, plugin.name)
            except BenchError as error:
                problem = str(error)
        rows.append(
            {
                "name": plugin.name,
                "version": plugin.version,
                "kinds": list(plugin.kinds),
                "source": plugin.source,
                "status": f"broken: {problem}" if problem else "ok",
                "origin": plugin.origin,
                "summary": plugin.summary,
                **({name: plugin.card.get(name, "") for name in registry.CARD} if kind == "datasets" else {}),
            }
        )
    return rows


def _models() -> list[dict[str, Any]]:
    from bench.models.catalogue import embedded_models, imported_models, random_models

    return [
        {
            "name": entry.name,
            "kind": str(entry.kind or entry.card.get("kind", "")),
            "status": f"broken: {entry.problem}" if entry.problem else "ok",
            "parameters": entry.parameters,
            "editable": _editable(entry.card.get("editable_matrices", ())),
            "editable matrices": entry.card.get("editable_matrices"),
            "weights": "random" if entry.shape else "trained",
            "like": entry.shape.like if entry.shape else None,
            "folder": str(entry.folder) if entry.folder else None,
            "known facts": entry.card.get("accuracy_trained"),
            "known facts, held-out phrasings": entry.card.get("accuracy_held_out"),
            "perplexity": entry.card.get("perplexity"),
        }
        for entry in (embedded_models() | imported_models() | random_models()).values()
    ]


def _editable(outlines: Sequence[str]) -> str | None:
    """Say how many matrices there are and what they are called, from lines such as `h.0-11.mlp.{c_fc,c_proj}`."""
    found = [match for line in outlines if (match := _OUTLINE.search(line))]
    names = list(dict.fromkeys(name for match in found for name in match[3].split(",")))
    count = sum((int(match[2]) - int(match[1]) + 1) * len(match[3].split(",")) for match in found)
    return f"{count}: {' '.join(names)}" if found else None


def _metrics() -> list[dict[str, Any]]:
    from bench.records.metrics import METRICS

    return [
        {"name": m.name, "better": m.better, "unit": m.unit, "formula": m.formula, "source": m.source}
        for m in METRICS.values()
    ]


def _table(what: str, rows: Sequence[dict[str, Any]]) -> Table | Text:
    if not rows:
        return Text("none")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in _columns(what, rows):
        is_number = isinstance(rows[0][name], int | float)
        words = [word for row in rows for word in _shown(name, row[name]).split()]
        table.add_column(
            name,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=name == "name",
            min_width=min(_LONGEST_WORD, max((len(word) for word in words), default=0)),
        )
    for row in rows:
        table.add_row(*(Text(plain(_shown(name, row[name]))) for name in _columns(what, rows)))
    return table


def _columns(what: str, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Give the columns that a terminal shows; where a plug-in comes from and how it is only if it is not as usual."""
    unusual = [name for name, usual in _USUAL.items() if any(row.get(name, usual) != usual for row in rows)]
    names = _ON_A_TERMINAL[what]
    return (names[0], *unusual, *names[1:])


def _shown(name: str, value: Any) -> str:
    if name == "kinds" and set(value) == {str(kind) for kind in ModelKind}:
        return "all"
    match value:
        case None:
            return "–"
        case list():
            return " ".join(map(str, value))
        case float():
            return f"{value:.3g}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
