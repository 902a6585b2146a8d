"""What an edit costs against what it installs, with what fitting the editor cost as the marker's size."""

from __future__ import annotations

import math

from bench.records.summary import IDENTITY
from bench.reporting.numbers import duration
from bench.reporting.plots.figure import empty_drawing
from bench.reporting.plots.kind import Drawing, Kind, Material
from bench.reporting.plots.rows import measured_rows, undone
from bench.reporting.plots.scatter import meet, scatter_figure
from bench.reporting.plots.wording import counts

__all__ = ["KIND"]

_SMALLEST = 5.0  # diameter of a marker without a fit, points
_DECADE = 2.3  # points by which it grows with each decade of 1 s + the fit's


def draw(material: Material) -> Drawing:
    """Draw each method at its cost and its success; the marker grows with the logarithm of the fit's cost."""
    x, y, fit = material.metrics
    rows = measured_rows(material)
    points = meet(rows, x, y)
    if not len(points):
        return empty_drawing(f"no finished cell has both {x.name} and {y.name}.", points)
    fits = rows.loc[rows["metric"] == fit.name, [*IDENTITY, "mean"]].rename(columns={"mean": fit.name})
    points = points.merge(fits, on=list(IDENTITY), how="left")
    seconds = points[fit.name].astype("float64").fillna(0.0)
    size = [_SMALLEST + _DECADE * math.log10(1 + value) for value in seconds]
    note = [f"fit {duration(value)}" if value > 0 else "no fit" for value in seconds]
    drawn = rows[rows["metric"].isin([x.name, y.name])].merge(points[list(IDENTITY)], on=list(IDENTITY))
    sentences = [
        f"bars: 95 % intervals, {counts(drawn)}",
        "the marker grows with the logarithm of the fit's time",
        material.settings,
        undone(material),
    ]
    figure = scatter_figure(points.assign(size=size, note=note), (x, y), material, sentences)
    return Drawing(figure, points)


KIND = Kind(
    name="cost",
    says="the time of an edit against success, with the time of the fit as the marker's size",
    draw=draw,
    metrics=("edit_seconds", "success", "fit_seconds"),
    options=("x", "y"),
)
