"""Axes: their ticks, what is below them, and names beside lines."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.reporting.plots.lines import spread
from bench.reporting.plots.scales import above_gap, set_places, set_values


@pytest.fixture
def ax() -> Axes:
    return Figure(figsize=(4, 3)).subplots()


def ticks(ax: Axes, side: str) -> list[str]:
    axis = ax.xaxis if side == "x" else ax.yaxis
    return [label.get_text() for label in axis.get_ticklabels()]


def test_ticks_of_durations_are_round(ax: Axes) -> None:
    edge = set_values(ax, "y", [0.02, 0.2, 3.0], "seconds")

    assert edge is None
    assert ticks(ax, "y") == ["30 ms", "100 ms", "300 ms", "1 s", "3 s"]


def test_ticks_of_sizes_are_round_in_powers_of_two(ax: Axes) -> None:
    set_values(ax, "y", [2.0**20, 30 * 2.0**20, 1000 * 2.0**20], "bytes")

    assert ticks(ax, "y") == ["1 MiB", "10 MiB", "100 MiB", "1 GiB"]


def test_what_is_far_below_all_others_is_below_the_axis(ax: Axes) -> None:
    edge = set_values(ax, "y", [2e-6, 0.02, 0.2], "seconds")

    assert edge is not None
    low, _ = ax.get_ylim()
    assert 2e-6 < low < edge < 0.02


def test_zero_is_below_a_logarithmic_axis(ax: Axes) -> None:
    assert set_values(ax, "y", [0.0, 1.0], "bytes") is not None


def test_without_an_edge_everything_is_inside(ax: Axes) -> None:
    assert set_values(ax, "y", [2e-6, 0.02], "seconds", has_edge=False) is None
    assert ax.get_ylim()[0] < 2e-6


def test_equal_fractions_have_an_axis_that_is_wide_enough(ax: Axes) -> None:
    set_values(ax, "y", [0.5, 0.5], "fraction")

    low, high = ax.get_ylim()
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("values", "lowest"),
    [([1.0, 10.0, 100.0], 1.0), ([2e-6, 0.02, 3.0], 0.02), ([2e-5, 4e-3, 200.0, 300.0], 200.0), ([0.0, 5.0], 5.0)],
)
def test_the_axis_starts_above_the_widest_gap(values: list[float], lowest: float) -> None:
    assert above_gap(values) == lowest


def test_ticks_that_would_overlap_are_left_out(ax: Axes) -> None:
    set_places(ax, [1.0e6, 1.01e6, 1.0e7], lambda value: f"{value / 1e6:.1f}M")

    assert ticks(ax, "x") == ["1.0M", "10.0M"]


def test_names_that_do_not_overlap_stay() -> None:
    centres = spread(np.array([10.0, 50.0]), np.array([10.0, 10.0]), low=0, high=100)

    assert centres.tolist() == [10.0, 50.0]


def test_names_that_overlap_move_apart_by_the_same(ax: Axes) -> None:
    centres = spread(np.array([50.0, 48.0]), np.array([10.0, 10.0]), low=0, high=100)

    assert centres.tolist() == [54.0, 44.0]


def test_names_stay_inside_where_they_fit() -> None:
    centres = spread(np.array([1.0, 2.0, 99.0]), np.array([10.0, 10.0, 10.0]), low=0, high=100)

    assert centres.tolist() == [5.0, 15.0, 95.0]


def test_names_that_are_higher_than_the_axes_stand_out_at_both_ends() -> None:
    centres = spread(np.array([5.0, 5.0, 5.0]), np.array([10.0, 10.0, 10.0]), low=0, high=10)

    assert centres.tolist() == [-5.0, 5.0, 15.0]
