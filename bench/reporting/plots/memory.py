"""How much memory methods need, against the size of the model and what the device has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.reporting.numbers import amount, size
from bench.reporting.plots.figure import GREY, empty_drawing, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import Part, Places, line_figure, series_of
from bench.reporting.plots.rows import joined, measured_rows, undone
from bench.reporting.plots.wording import counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KIND"]

_GROUP = ("model_kind", "dataset", "split", "mode", "dtype", "device", "application")
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}  # of a parameter
_LIMIT = "device_memory_bytes"  # in a card's environment, where it is known


def draw(material: Material) -> Drawing:
    """Draw peaks over parameters, the weights themselves as a grey line, and the memory of the device."""
    (metric,) = material.metrics
    rows = measured_rows(material)
    rows = rows[rows["parameters"].notna()]
    rows = rows.assign(x=rows["parameters"].astype("float64"))
    if not len(rows):
        return empty_drawing(f"no finished cell has {metric.name}.", rows)
    limits = _limits(material)
    rows = rows.assign(
        weight_bytes=[x * _BYTES.get(dtype, 4) for x, dtype in zip(rows["x"], rows["dtype"], strict=True)],
        device_memory_bytes=[limits.get(device, (float("nan"), ""))[0] for device in rows["device"]],
    )
    parts = [Part(group.title, metric, series_of(group.rows, material)) for group in panels(rows, _GROUP)]
    sentences = [
        f"peak of any phase above what was in use when it began; the weights (grey) come on top; {counts(rows)}",
        joined(parts),
        "" if limits else "the memory of the device is not recorded",
        material.settings,
        undone(material),
    ]
    places = Places(values=sorted(set(rows["x"])), shown=amount, label="parameters")

    def finish(ax: Axes, part: Part) -> None:
        own = pd.concat([one.rows for one in part.series]).sort_values("x")
        limit = limits.get(str(own["device"].iloc[0]))
        _draw_references(ax, own, limit)

    return Drawing(line_figure(parts, places, columns=2, sentences=sentences, finish=finish), rows)


KIND = Kind(
    name="memory",
    says="peak memory against the number of parameters, with the memory of the device where it is known",
    draw=draw,
    metrics=("peak_memory_bytes",),
)


def _limits(material: Material) -> Mapping[str, tuple[float, str]]:
    """The memory and name of the smallest device of each type."""
    found: dict[str, tuple[float, str]] = {}
    for card in material.tables.cards.values():
        limit = card.environment.get(_LIMIT)
        if isinstance(limit, int | float):
            here = (float(limit), str(card.environment.get("device_name", "device")))
            found[card.cell.device] = min(found.get(card.cell.device, here), here)
    return found


def _draw_references(ax: Axes, rows: pd.DataFrame, limit: tuple[float, str] | None) -> None:
    weights = rows.drop_duplicates("x")
    x = weights["x"].to_numpy(np.float64)
    need = weights["weight_bytes"].to_numpy(np.float64)
    low, high = ax.get_ylim()
    ax.plot(x, need, ".-", color="#AAAAAA", lw=0.9, ms=4, zorder=1)
    note: dict[str, Any] = {"fontsize": 7, "color": GREY, "parse_math": False, "textcoords": "offset points"}
    ax.annotate("weights", (x[0], need[0]), xytext=(3, -3), va="top", **note)
    low = min(low, need.min() / 1.6)
    if limit is not None:
        ax.axhline(limit[0], color="#333333", lw=1, ls="--", zorder=1)
        where = (0.02, limit[0])
        text = f"{limit[1]}: {size(limit[0])}"
        ax.annotate(text, where, xytext=(0, 2), xycoords=("axes fraction", "data"), va="bottom", **note)
        high = max(high, limit[0] * 2.0)
    ax.set_ylim(low, high)
