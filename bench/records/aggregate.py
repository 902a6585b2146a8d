"""How the results of many edits become one number, also for many resamples at once.

An aggregate takes `values` and `weights`, both (parts, ..., n) with the n edits last, and gives
an array of the shape in between; so a bootstrap passes (parts, resamples, n).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Aggregate",
    "Floats",
    "Units",
    "exp_ratio",
    "exp_ratio_difference",
    "exp_ratio_quotient",
    "median",
    "percentile_95",
    "ratio",
]

Floats = npt.NDArray[np.float64]


class Units(NamedTuple):
    """What is resampled: `values` and `weights`, each (parts, n); an edit's result is v / w."""

    values: Floats
    weights: Floats


class Aggregate(Protocol):
    """A function from (parts, ..., n) values and weights to one number a resample."""

    __name__: str

    def __call__(self, values: Floats, weights: Floats) -> Any:
        """Reduce the last axis and the parts."""


def ratio(values: Floats, weights: Floats) -> Any:
    """Σ value / Σ weight of the first part; the mean over edits where each weight is 1."""
    return values[0].sum(axis=-1) / weights[0].sum(axis=-1)


def exp_ratio(values: Floats, weights: Floats) -> Any:
    """exp(Σ value / Σ weight) of the first part: a perplexity from nll and tokens."""
    return _exp(ratio(values, weights))


def exp_ratio_difference(values: Floats, weights: Floats) -> Any:
    """exp(Σ value / Σ weight) of the first part less that of the second."""
    return _exp(ratio(values, weights)) - _exp(ratio(values[1:], weights[1:]))


def exp_ratio_quotient(values: Floats, weights: Floats) -> Any:
    """exp(Σ value / Σ weight) of the first part by that of the second."""
    return _exp(ratio(values, weights) - ratio(values[1:], weights[1:]))


def median(values: Floats, weights: Floats) -> Any:
    """The median over edits of value / weight of the first part."""
    return np.median(values[0] / weights[0], axis=-1)


def percentile_95(values: Floats, weights: Floats) -> Any:
    """The 95th percentile over edits of value / weight of the first part, between neighbours where it falls there."""
    return np.percentile(values[0] / weights[0], 95, axis=-1)


def _exp(value: Any) -> Any:
    with np.errstate(over="ignore"):  # a collapsed model's perplexity is infinite, and shown so
        return np.exp(value)
