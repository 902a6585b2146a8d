"""After how many edits a fit has paid off: the total time of each method against the number of edits."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.records.metrics import Metric
from bench.records.summary import IDENTITY
from bench.reporting.numbers import duration
from bench.reporting.plots.figure import Panel, caption, empty_drawing, new_figure, panels
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.lines import name_ends, name_of
from bench.reporting.plots.rows import measured_rows, named, tuples, undone
from bench.reporting.plots.scales import above_gap, set_places, set_values
from bench.reporting.plots.wording import counts, cut
from bench.reporting.style import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

__all__ = ["KIND"]

_GROUP = ("model", "dataset", "split", "mode", "dtype", "device", "application")
_FEWEST, _MOST = 100.0, 1e9  # edits that the axis reaches, at least and at most
_BEYOND = 5  # times the last crossing
_DECADES = 3  # from which on only every second has a tick
_POINTS = 200  # of a curve
_NEARLY_NONE = 0.01  # of a method's fit: what others spend on theirs, if they count as not fitted
_LINES = 2  # of a name: how many of these are told


def draw(material: Material) -> Drawing:
    """Draw fit + n · edit of each method, a panel a model and data, and mark where two methods change places."""
    per_edit, fit = material.metrics
    rows = measured_rows(material)
    costs = _costs(rows, per_edit, fit)
    groups = panels(costs, _GROUP) if len(costs) else []
    crossings = [_crossings(group.rows) for group in groups]
    numbers = pd.concat([costs.assign(row="cost"), *crossings], ignore_index=True)
    if not any(len(found) for found in crossings):
        return empty_drawing(_reason(costs, per_edit, fit), numbers)
    width = 4.6 if len(groups) == 1 else 3.6
    figure, axes = new_figure(len(groups), columns=2, width=width, height=3.1)
    sentences = [
        f"total = fit + n · {per_edit.name}; band: from the low to the high ends of both 95 % intervals",
        counts(rows),
        "○ one method becomes cheaper than another; < x from n: cheaper than x from n edits on",
        material.settings,
    ]
    names = []
    for ax, group, found in zip(axes, groups, crossings, strict=True):
        shown, below = _shown(group.rows, found)
        names.append(_draw_panel(ax, Panel(group.title, shown), found, material))
        if len(below):
            cheap = [f"{named(row)} ({duration(row.edit)} an edit)" for row in tuples(below)]
            sentences.append(f"below the axis: {', '.join(cheap)}")
    caption(figure, [*dict.fromkeys(sentences), undone(material)])
    figure.draw_without_rendering()
    for ax, own in zip(axes, names, strict=True):
        name_ends(ax, own)
    return Drawing(figure, numbers)


KIND = Kind(
    name="breakeven",
    says="total time against the number of edits, with the points where a fit has paid off",
    draw=draw,
    metrics=("edit_seconds", "fit_seconds"),
    options=("x",),
)


def _costs(rows: pd.DataFrame, per_edit: Metric, fit: Metric) -> pd.DataFrame:
    """A row a method: seconds of an edit and of the fit, with the ends of their intervals; no fit: 0."""
    sides = []
    for metric, name in ((per_edit, "edit"), (fit, "fit")):
        side = rows.loc[rows["metric"] == metric.name, [*IDENTITY, "mean", "ci_low", "ci_high"]]
        side = side.rename(columns={"mean": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"})
        for end in ("low", "high"):
            side[f"{name}_{end}"] = side[f"{name}_{end}"].fillna(side[name])
        sides.append(side)
    costs = sides[0].merge(sides[1], on=list(IDENTITY), how="left")
    return costs.fillna({"fit": 0.0, "fit_low": 0.0, "fit_high": 0.0})


def _crossings(group: pd.DataFrame) -> pd.DataFrame:
    """A row a pair of methods of which one has the dearer fit and the cheaper edit: from where on it is cheaper."""
    found = []
    for first, second in itertools.permutations(group.to_dict("records"), 2):
        # A single edit must not pay it off already, or no fit is paid off.
        if first["fit"] + first["edit"] <= second["fit"] + second["edit"] or first["edit"] >= second["edit"]:
            continue
        edits = (first["fit"] - second["fit"]) / (second["edit"] - first["edit"])
        surest = second["edit_low"] - first["edit_high"]
        most = second["edit_high"] - first["edit_low"]
        found.append(
            {name: first[name] for name in (*_GROUP, "method", "config")}
            | {
                "row": "crossing",
                "against_method": second["method"],
                "against_config": second["config"],
                "against_fit": second["fit"],
                "edits": edits,
                "edits_low": max(0.0, first["fit_low"] - second["fit_high"]) / most,
                "edits_high": (first["fit_high"] - second["fit_low"]) / surest if surest > 0 else math.inf,
                "seconds": first["fit"] + edits * first["edit"],
            }
        )
    return pd.DataFrame(found)


def _shown(costs: pd.DataFrame, crossings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the methods into those that the axis is for, and those far below all others at its right end."""
    totals = costs["fit"] + _last(crossings) * costs["edit"]
    is_shown = totals >= above_gap(totals)
    return costs[is_shown], costs[~is_shown]


def _last(crossings: pd.DataFrame) -> float:
    """The number of edits that the axis ends at: a power of ten."""
    last = float(crossings["edits"].max()) if len(crossings) else 0.0
    return min(max(10.0 ** math.ceil(math.log10(max(last, 1.0) * _BEYOND)), _FEWEST), _MOST)


def _draw_panel(ax: Axes, panel: Panel, crossings: pd.DataFrame, material: Material) -> list[Annotation]:
    edits = np.geomspace(1, _last(crossings), _POINTS)
    tens = round(math.log10(edits[-1]))
    set_places(ax, [10.0**power for power in range(0, tens + 1, 2 if tens > _DECADES else 1)], "{:,.0f}".format)
    ax.set_xlim(1, edits[-1])
    rows = panel.rows
    ends = [*(rows["fit"] + rows["edit"]), *(rows["fit"] + edits[-1] * rows["edit"])]
    set_values(ax, "y", ends, "seconds", has_edge=False)
    names = []
    for row in tuples(rows):
        look: Look = material.looks[row.method, row.config]
        total = row.fit + edits * row.edit
        low, high = row.fit_low + edits * row.edit_low, row.fit_high + edits * row.edit_high
        ax.fill_between(edits, low, high, color=look.colour, alpha=0.15, lw=0)
        ax.plot(edits, total, color=look.colour, lw=1.4, linestyle=(0, look.dashes) if look.dashes else "solid")
        # Marked at the left end, where lines that meet later are apart.
        ax.plot(edits[:1], total[:1], look.marker, color=look.colour, ms=5.5, mec="white", mew=0.6, clip_on=False)
        names.append(name_of(ax, _name(row, crossings, material), (edits[-1], float(total[-1])), look.ink))
    if len(crossings):
        ax.plot(crossings["edits"], crossings["seconds"], "o", mfc="white", mec="#333333", ms=4.5, mew=0.9, zorder=4)
    ax.set_title(panel.title, loc="left", parse_math=False)
    ax.set_xlabel("edits", parse_math=False)
    ax.set_ylabel("total time (← better)", parse_math=False)
    return names


def _name(row: Any, crossings: pd.DataFrame, material: Material) -> str:
    """Label a method, with the edits from which on it is cheaper than those that need no fit, or nearly none."""
    name = material.labels[row.method, row.config]
    if not len(crossings):
        return name
    own = crossings[(crossings["method"] == row.method) & (crossings["config"] == row.config)]
    own = own[own["against_fit"] < _NEARLY_NONE * row.fit].sort_values("edits").head(_LINES)
    others = [
        material.labels[pair].replace("\n", " ") for pair in zip(own.against_method, own.against_config, strict=True)
    ]
    gains = [f"< {cut(other, 14)} from {_number(edits)}" for other, edits in zip(others, own["edits"], strict=True)]
    return "\n".join([name, *gains])


def _number(edits: float) -> str:
    digits = max(0, math.floor(math.log10(max(edits, 1))) - 1)
    return f"{round(edits, -digits):,.0f}"


def _reason(costs: pd.DataFrame, per_edit: Metric, fit: Metric) -> str:
    if not len(costs):
        return f"no finished cell has {per_edit.name}."
    if not (costs["fit"] > 0).any():
        return f"breakeven needs a method with {fit.name}; of {_methods(costs)} none is fitted."
    return f"no fit ever pays off: among {_methods(costs)} the dearer fit never makes the cheaper edits."


def _methods(costs: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(costs["method"].astype("str")))
