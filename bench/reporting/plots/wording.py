"""Names and sentences in figures: labels of axes and series, and how n is told."""

from __future__ import annotations

import pandas as pd

from bench.records.metrics import Metric
from bench.reporting.formats import plain

__all__ = ["axis_label", "config_lines", "counts", "cut", "label_of"]

_LINE = 24  # characters of a line of a label
_CONFIG_LINES = 3  # of a label, below the method's name
_UNITS = {
    "fraction": "fraction",
    "nats": "nats",
    "perplexity": "per token",
    "ratio": "ratio",
    "edits": "edits",
    "seconds": "seconds",
    "bytes": "bytes",
}


def axis_label(metric: Metric) -> str:
    """Name, unit and an arrow to the better end; a vertical label is read turned to the left."""
    unit = _UNITS[metric.unit]
    if metric.better == "none":
        return f"{metric.name} ({unit})"
    arrow = "better →" if metric.better == "higher" else "← better"
    return f"{metric.name} ({unit}, {arrow})"


def counts(rows: pd.DataFrame) -> str:
    """Say what n is: `n = 200`, or by metric where that differs.

    Args:
        rows: with the columns metric and n.
    """
    found: dict[str, list[str]] = {}
    for name, numbers in rows.groupby("metric", sort=False)["n"]:
        ends = dict.fromkeys([f"{int(numbers.min()):,}", f"{int(numbers.max()):,}"])
        found.setdefault("–".join(ends), []).append(str(name))
    if len(found) == 1:
        return f"n = {next(iter(found))}"
    return "n: " + ", ".join(f"{number} ({', '.join(names)})" for number, names in found.items())


def label_of(method: str, config: str) -> str:
    """The name of a method with its configuration, in a few short lines."""
    return "\n".join(plain(line) for line in [cut(method, _LINE), *config_lines(config)])


def config_lines(config: str) -> list[str]:
    """Break a configuration into a few short lines, at its commas where they fit."""
    if config in ("default", ""):
        return []
    lines: list[str] = []
    for part in config.split(","):
        if lines and len(lines[-1]) + len(part) < _LINE:
            lines[-1] += f",{part}"
        else:
            lines.append(part)
    if len(lines) > _CONFIG_LINES:
        lines[_CONFIG_LINES - 1 :] = ["…"]
    return [cut(line, _LINE) for line in lines]


def cut(text: str, length: int) -> str:
    """Cut the middle out of a text that is too long: names differ at both ends."""
    left = (length - 1) // 2
    return text if len(text) <= length else f"{text[:left]}…{text[left + 1 - length :]}"
