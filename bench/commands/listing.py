"""`bench list`: methods, models, datasets and metrics, without importing torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.errors import BenchError
from bench.reporting.formats import plain

__all__ = ["listing"]


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
        console.print(_table(rows))
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
            }
        )
    return rows


def _models() -> list[dict[str, Any]]:
    from bench.models.catalogue import embedded_models

    return [
        {
            "name": entry.name,
            "kind": str(entry.kind),
            "parameters": entry.parameters,
            "known facts": entry.card.get("accuracy_trained"),
            "known facts, held-out phrasings": entry.card.get("accuracy_held_out"),
            "perplexity": entry.card.get("perplexity"),
        }
        for entry in embedded_models().values()
    ]


def _metrics() -> list[dict[str, Any]]:
    from bench.records.metrics import METRICS

    return [
        {"name": m.name, "better": m.better, "unit": m.unit, "formula": m.formula, "source": m.source}
        for m in METRICS.values()
    ]


def _table(rows: Sequence[dict[str, Any]]) -> Table | Text:
    if not rows:
        return Text("none")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, value in rows[0].items():
        is_number = isinstance(value, int | float)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(Text(plain(_shown(value))) for value in row.values()))
    return table


def _shown(value: object) -> str:
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
