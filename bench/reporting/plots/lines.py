"""Lines of a metric over a number, one a method, each named at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.records.metrics import Metric
from bench.reporting.plots.figure import caption, new_figure
from bench.reporting.plots.kind import Material
from bench.reporting.plots.scales import set_places, set_values, short
from bench.reporting.plots.wording import axis_label
from bench.reporting.style import WHOLE, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = ["Part", "Places", "Series", "line_figure", "name_ends", "name_of", "series_of", "spread"]

_BESIDE = 0.011  # of the axis: how far apart equal places of measured series are drawn
_WIDEST = 0.06  # of the axis: how far all of them spread
_FONT = 8  # points
_GAP = 1.5  # points between two labels
_LABEL_LINE, _LABEL_CHARACTER = 0.17, 0.09  # inches: of a name beside the axes; of the vertical label
_LINE_FROM = 3.0  # points: from here on a thin line leads from the label to its point


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line.

    Args:
        method: whose.
        config: its configuration, or `WHOLE` where that differs along the line.
        look: how it is drawn.
        label: its name in a few short lines.
        rows: columns x, mean, ci_low, ci_high; sorted by x.
        is_published: shown with open markers.
        is_thin: stands behind another line of the same method.
    """

    method: str
    config: str
    look: Look
    label: str
    rows: pd.DataFrame
    is_published: bool = False
    is_thin: bool = False


class Part(NamedTuple):
    """What one panel shows."""

    title: str
    metric: Metric
    series: Sequence[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The horizontal axis: where something was measured.

    Args:
        values: all places, of all panels.
        shown: prints one.
        label: of the axis.
        is_log: equal factors are equally far apart.
    """

    values: Sequence[float]
    shown: Callable[[float], str]
    label: str
    is_log: bool = True


def series_of(rows: pd.DataFrame, material: Material, *, is_published: bool = False) -> list[Series]:
    """Part rows of one metric into lines.

    The configurations of a method are lines of their own, unless each place has but one of them: then they are one
    line, `config` is `WHOLE`, and whoever draws it has to say so.

    Args:
        rows: columns method, config, x, mean, ci_low, ci_high.
        material: of the figure.
        is_published: these were not measured here.
    """
    found = []
    for method, own in rows.groupby("method", sort=False):
        is_one = not is_published and own["config"].nunique() > 1 and not own.duplicated("x").any()
        parts = own.groupby("config", sort=False)
        for config, part in [(WHOLE, own)] if is_one else [(str(config), part) for config, part in parts]:
            key = (str(method), config)
            series = Series(
                method=str(method),
                config=config,
                look=material.looks[key],
                label=f"{material.labels[key]}\n(published)" if is_published else material.labels[key],
                rows=part.sort_values("x", kind="stable"),
                is_published=is_published,
            )
            found.append(series)
    return found


def line_figure(
    parts: Sequence[Part],
    places: Places,
    *,
    columns: int,
    sentences: Sequence[str],
    finish: Callable[[Axes, Part], None] | None = None,
) -> Figure:
    """Draw panels of lines, each line named at its end.

    Args:
        parts: one a panel.
        places: the horizontal axis of all.
        columns: panels beside each other.
        sentences: of the caption.
        finish: draws more into a panel.
    """
    lines = max(sum(one.label.count("\n") + 1 for one in part.series) for part in parts)
    longest = max(len(axis_label(part.metric)) for part in parts)
    height = max(2.5, _LABEL_LINE * lines, _LABEL_CHARACTER * longest)
    figure, axes = new_figure(len(parts), columns=columns, width=3.5, height=height)
    names = []
    for ax, part in zip(axes, parts, strict=True):
        ax.set_title(part.title, loc="left", parse_math=False)
        names.append(_draw_lines(ax, part.series, part.metric, places))
        if finish is not None:
            finish(ax, part)
    caption(figure, sentences)
    figure.draw_without_rendering()
    for ax, own in zip(axes, names, strict=True):
        name_ends(ax, own)
    return figure


def _draw_lines(ax: Axes, series: Sequence[Series], metric: Metric, places: Places) -> list[Annotation]:
    """Draw lines with their intervals, and write their names beside; `name_ends` moves these to their places.

    What is too small for the axis is a ▼ at its lower edge, with the value beside the name.
    """
    ends = np.concatenate([one.rows[["mean", "ci_low", "ci_high"]].to_numpy(np.float64).ravel() for one in series])
    set_places(ax, places.values, places.shown, is_logarithmic=places.is_log)
    floor = set_values(ax, "y", ends, metric.unit)
    ax.set_xlabel(places.label, parse_math=False)
    ax.set_ylabel(axis_label(metric), parse_math=False)
    names = []
    count = sum(not one.is_published for one in series)
    for rank, one in enumerate(series):
        share = 0.0 if one.is_published else min(_BESIDE, _WIDEST / count) * (rank - (count - 1) / 2)
        x = _beside(ax, one.rows["x"].to_numpy(np.float64), share, places.is_log)
        means = one.rows["mean"].to_numpy(np.float64)
        is_small = np.zeros(len(means), bool) if floor is None else means < floor
        _draw_line(ax, one, x, ~is_small)
        edge = ax.get_ylim()[0] if floor is None else floor
        if is_small.any():
            ax.plot(x[is_small], np.full(is_small.sum(), edge), "v", color=one.look.colour, ms=5, zorder=3)
        spot = (float(x[-1]), float(edge if is_small[-1] else means[-1]))
        below = "" if not is_small.any() else f" ▼ {_range(means[is_small], metric)}"
        names.append(name_of(ax, f"{one.label}{below}", spot, one.look.ink))
    return names


def name_ends(ax: Axes, names: Sequence[Annotation]) -> None:
    """Move names beside the axes so that none covers another; the layout of the figure must be final."""
    from matplotlib.text import Text

    if not names:
        return
    pixels = float(ax.figure.dpi) / 72
    frame = ax.get_window_extent()
    spots = np.array([ax.transData.transform(name.xy) for name in names], dtype=np.float64)
    heights = np.array([Text.get_window_extent(name).height + _GAP * pixels for name in names])
    centres = spread(spots[:, 1], heights, low=float(frame.y0) - 6 * pixels, high=float(frame.y1) + 6 * pixels)
    for name, spot, centre in zip(names, spots, centres, strict=True):
        name.set_position((name.xyann[0], (centre - frame.y0) / frame.height))
        is_far = abs(centre - spot[1]) > _LINE_FROM * pixels or spot[0] < frame.x1 - 0.12 * frame.width
        if name.arrow_patch is not None:
            name.arrow_patch.set_visible(is_far)


def spread(
    wanted: npt.NDArray[np.float64], heights: npt.NDArray[np.float64], *, low: float, high: float
) -> npt.NDArray[np.float64]:
    """Move the centres of boxes as little as possible so that none overlap; in order of `wanted`.

    The least squares solution, by pooling neighbours that would overlap (isotonic regression). Where all together
    are higher than from `low` to `high`, they stand out at both ends.
    """
    order = np.argsort(wanted, kind="stable")
    offsets = np.cumsum(heights[order]) - heights[order] / 2
    blocks: list[tuple[float, int]] = []  # mean, size
    for value in wanted[order] - offsets:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    total = float(heights.sum())
    first, last = (low, high - total) if total <= high - low else ((low + high - total) / 2,) * 2
    starts = np.concatenate([np.full(size, min(max(mean, first), last)) for mean, size in blocks])
    centres = np.empty_like(starts)
    centres[order] = starts + offsets
    return centres


def _draw_line(ax: Axes, one: Series, x: npt.NDArray[np.float64], shown: npt.NDArray[np.bool_]) -> None:
    rows = one.rows[shown]
    mean = rows["mean"].to_numpy(np.float64)
    arms = np.array([mean - rows["ci_low"], rows["ci_high"] - mean], dtype=np.float64)
    is_thin = one.is_thin or one.is_published
    style: dict[str, Any] = {"color": one.look.colour, "marker": one.look.marker, "zorder": 2.5 if is_thin else 3}
    style |= {"markersize": 3.5 if one.is_thin else 5.5, "markeredgewidth": 0.7, "alpha": 0.7 if one.is_thin else 1}
    style |= {"markeredgecolor": one.look.colour if one.is_published else "white"}
    style |= {"markerfacecolor": "white" if one.is_published else one.look.colour}
    style |= {"lw": 0.8 if is_thin else 1.3, "elinewidth": 0.6 if one.is_thin else 0.9}
    dashes = (0, one.look.dashes) if one.look.dashes else "solid"
    ax.errorbar(x[shown], mean, yerr=np.clip(np.nan_to_num(arms), 0, None), linestyle=dashes, **style)


def _beside(ax: Axes, x: npt.NDArray[np.float64], share: float, is_log: bool) -> npt.NDArray[np.float64]:
    low, high = ax.get_xlim()
    moved: npt.NDArray[np.float64] = x * (high / low) ** share if is_log else x + (high - low) * share
    return moved


def _range(values: npt.NDArray[np.float64], metric: Metric) -> str:
    low, high = (short(float(end), metric.unit) for end in (values.min(), values.max()))
    if math.isclose(values.min(), values.max(), rel_tol=0.05):
        return low
    number, _, unit = low.partition(" ")
    return f"{number}–{high}" if high.endswith(unit) else f"{low}–{high}"


def name_of(ax: Axes, text: str, spot: tuple[float, float], ink: str) -> Annotation:
    """Write a name to the right of the axes, with a line to its spot; `name_ends` finds its height."""
    return ax.annotate(
        text,
        spot,
        xytext=(1.04, 0.5),
        textcoords="axes fraction",
        ha="left",
        va="center",
        fontsize=_FONT,
        color=ink,
        linespacing=1.0,
        parse_math=False,
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "lw": 0.5, "color": ink, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5)},
        zorder=4,
    )
