"""Intervals for metrics, by resampling edits, or groups of edits that were installed together."""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.records.aggregate import Floats, Units, median, percentile_95, ratio
from bench.records.metrics import Metric

__all__ = ["Bounds", "Interval", "estimate", "interval", "pool_seeds", "units", "wilson"]

RESAMPLES = 9_999  # scipy.stats.bootstrap's default
_BATCH = 2_000_000  # resampled numbers held at once: 16 MB a part


class Bounds(NamedTuple):
    """The two ends of an interval; NaN where none can be given."""

    low: float
    high: float


class Interval(NamedTuple):
    """A metric over n units with its confidence interval; NaN bounds: none can be given."""

    mean: float
    low: float
    high: float
    n: int


def estimate(parts: pd.DataFrame, metric: Metric, *, seed: int) -> Interval | None:
    """Give a metric over some cells that differ only in their seeds, with its interval; None if no edit has it.

    The resampled unit is the edit, averaged over the seeds. Where edits were installed in groups it is the group:
    its edits share one change of the model. Each seed draws its own groups of the same edits, so no unit can be
    averaged over the seeds, and groups of two seeds are not independent either. The bounds are therefore those of a
    single seed, averaged: more seeds do not narrow them, which can only be too wide.

    Args:
        parts: score rows of the cells.
        metric: which one.
        seed: of the resampling.
    """
    parts = parts[parts["metric"].isin(metric.parts)]
    if parts["edit_group"].isna().all():
        data = units(pool_seeds(parts), metric)
        return None if data is None else interval(data, metric, seed=seed)
    by_seed = [found for _, rows in parts.groupby("cell", sort=False) if (found := units(rows, metric)) is not None]
    if not by_seed:
        return None
    alone = [interval(data, metric, seed=seed) for data in by_seed]
    together = Units(*(np.concatenate(side, axis=1) for side in zip(*by_seed, strict=True)))
    mean = float(metric.aggregate(*together))
    low = mean - float(np.mean([found.mean - found.low for found in alone]))
    high = mean + float(np.mean([found.high - found.mean for found in alone]))
    lowest, highest = metric.range
    return Interval(mean, max(low, lowest), min(high, highest), min(found.n for found in alone))


def interval(
    data: Units, metric: Metric, *, seed: int, confidence: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """Aggregate a metric over its units and give an interval for it.

    Wilson's for values that are all 0 or 1; for equal values see `_all_equal`; otherwise the
    bootstrap's BCa (percentile for medians and where BCa degenerates), resampling units.

    Args:
        data: values and weights, each (parts, n), n ≥ 1, in the order of `metric.parts`.
        metric: how to aggregate.
        seed: of the resampling; the same seed gives the same interval.
        confidence: coverage wanted, in (0, 1).
        resamples: how many bootstrap resamples.

    Source: Wilson 1927; Efron 1987 (BCa); scipy.stats.bootstrap.
    """
    count = data.values.shape[1]
    mean = float(metric.aggregate(data.values, data.weights))
    if not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, count)
    own = data.values / data.weights
    if _is_binary(data, metric):
        bounds = wilson(float(data.values.sum()), count, confidence)
    elif np.all(np.ptp(own, axis=1) <= 1e-12 * np.abs(own).max(axis=1)):
        bounds = _all_equal(mean, count, metric, confidence)
    else:
        bounds = _bootstrap(data, metric, seed, confidence, resamples)
    return Interval(mean, bounds.low, bounds.high, count)


def wilson(successes: float, n: int, confidence: float = 0.95) -> Bounds:
    """Give Wilson's score interval of a share. Source: Wilson 1927, JASA 22:209-212."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    return Bounds(low, 1.0 if successes >= n else min(1.0, centre + half))


def pool_seeds(parts: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds' values and weights of each edit, so that only edits are resampled.

    This treats the fits as fixed: it says nothing of how another fit would differ.

    Args:
        parts: score rows of the cells of one group.

    Returns:
        Columns metric, edit_id, step, value, weight, edit_group; one row a part, edit and step.
    """
    keys = ["metric", "edit_id", "step"]
    if parts["cell"].nunique() <= 1:
        return parts[[*keys, "value", "weight", "edit_group"]]
    return parts.groupby(keys, sort=False)[["value", "weight"]].mean().reset_index().assign(edit_group=None)


def units(pooled: pd.DataFrame, metric: Metric) -> Units | None:
    """Arrange the parts of one metric by edit, or added up by group; None if no edit has them all.

    Of an edit that was scored several times the rows of one step count: see `Metric.when`.

    Args:
        pooled: what `pool_seeds` gives, or the score rows of one cell.
        metric: whose parts are wanted.
    """
    pooled = _at(pooled[pooled["metric"].isin(metric.parts)], metric)
    columns = [
        pooled.loc[pooled["metric"] == part].set_index(["edit_id", "step"])[["value", "weight"]]
        for part in metric.parts
    ]
    table = columns[0] if len(columns) == 1 else pd.concat(columns, axis=1, join="inner")
    if not len(table):
        return None
    if pooled["edit_group"].notna().any():
        group_of = pooled.drop_duplicates("edit_id").set_index("edit_id")["edit_group"]
        groups = group_of.reindex(table.index.get_level_values("edit_id")).to_numpy()
        table = table.groupby(groups, sort=False).sum()
    matrix = table.to_numpy(dtype=np.float64).T  # value, weight, value, weight …
    return Units(matrix[0::2], matrix[1::2])


def _at(rows: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Choose the rows of the step that a metric is about; none if it is about another than the only one."""
    is_once = metric.when == "once"
    if not (rows["step"] > 0).any():
        return rows.iloc[:0] if is_once else rows
    if is_once:
        return rows[rows["step"] == 0]
    return rows[rows["step"] == rows.groupby(["metric", "edit_id"], sort=False)["step"].transform("max")]


def _is_binary(data: Units, metric: Metric) -> bool:
    is_share = metric.aggregate is ratio and metric.range == (0.0, 1.0)
    return is_share and bool(np.all(data.weights == 1) and np.all(np.isin(data.values, (0.0, 1.0))))


def _all_equal(mean: float, n: int, metric: Metric, confidence: float) -> Bounds:
    """An interval where n units have the same value: how many could differ unseen, times how far.

    Wilson's upper bound for 0 differing units of n is their share; each could lie at an end of
    the metric's range. For 0 or 1 in [0, 1] this is Wilson's interval itself. A metric without
    bounds has zero width, or no interval from a single unit.
    """
    low, high = metric.range
    if math.isfinite(low) and math.isfinite(high):
        differing = wilson(0, n, confidence).high
        return Bounds(mean - differing * (mean - low), mean + differing * (high - mean))
    return Bounds(mean, mean) if n > 1 else Bounds(math.nan, math.nan)


def _bootstrap(data: Units, metric: Metric, seed: int, confidence: float, resamples: int) -> Bounds:
    # A jackknife says nothing of a median or another quantile, so BCa is not for it (Efron & Tibshirani 1993, 11.6).
    if metric.aggregate not in (median, percentile_95):
        bounds = _scipy(data, metric, seed, confidence, resamples, "BCa")
        if math.isfinite(bounds.low) and math.isfinite(bounds.high):
            return bounds
    return _scipy(data, metric, seed, confidence, resamples, "percentile")


def _scipy(data: Units, metric: Metric, seed: int, confidence: float, resamples: int, method: Any) -> Bounds:
    import scipy.stats

    count = data.values.shape[1]
    has_equal_weights = bool(np.all(data.weights == data.weights[:, :1]))

    def statistic(places: Any, axis: int = -1) -> Floats:
        places = np.asarray(places).astype(np.intp)
        values: Floats = data.values[:, places]
        weights = np.broadcast_to(data.weights[0, 0], values.shape)
        if not has_equal_weights or len(data.weights) > 1:
            weights = data.weights[:, places]
        return np.asarray(metric.aggregate(values, weights))

    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa degenerates; we look at the result
        found = scipy.stats.bootstrap(
            (np.arange(count),),
            statistic,
            n_resamples=resamples,
            batch=max(1, _BATCH // count),
            vectorized=True,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Bounds(float(found.low), float(found.high))
