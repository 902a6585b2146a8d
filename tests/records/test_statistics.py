"""Intervals: hand-worked, deterministic, honest at the edges, and of the coverage they claim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from bench.records.aggregate import Units
from bench.records.metrics import METRICS
from bench.records.statistics import estimate, interval, pool_seeds, units, wilson


def ones(values: Any) -> Units:
    """Units of one part with weight 1."""
    array = np.asarray([values], dtype=np.float64)
    return Units(array, np.ones_like(array))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),  # (.8 + .192073 ± .225486·…)/1.384146, by hand from z = 1.959964
        (0, 20, 0.0, 0.161125),  # z²/(n + z²) = 3.841459/23.841459
        (20, 20, 0.838875, 1.0),
        (1, 2, 0.094531, 0.905469),
    ],
)
def test_wilson_equals_hand_worked_numbers(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(3, 7), (199, 200), (0, 5), (50, 100)])
def test_wilson_equals_scipy(successes: int, n: int) -> None:
    expected = scipy.stats.binomtest(successes, n).proportion_ci(method="wilson")

    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_metric_of_zeros_and_ones_has_wilsons_interval() -> None:
    found = interval(ones([1] * 8 + [0] * 2), METRICS["success_request"], seed=0)

    assert found == pytest.approx((0.8, 0.490162, 0.943318, 10), abs=1e-6)


def test_zeros_and_ones_of_a_metric_that_may_be_negative_are_bootstrapped() -> None:
    found = interval(ones([1] * 8 + [0] * 2), METRICS["drawdown"], seed=0)

    assert found.low != pytest.approx(0.490162, abs=1e-3)


def test_a_drawdown_of_nothing_at_all_is_not_certain() -> None:
    """At most 3.841459/203.841459 of the edits could differ unseen, each by 1 at most."""
    found = interval(ones([0.0] * 200), METRICS["drawdown"], seed=0)

    assert found == pytest.approx((0.0, -0.018845, 0.018845, 200), abs=1e-6)


def test_equal_shares_between_0_and_1_have_an_interval_inside_it() -> None:
    found = interval(ones([0.5] * 20), METRICS["success"], seed=0)

    assert found == pytest.approx((0.5, 0.5 - 0.161125 / 2, 0.5 + 0.161125 / 2, 20), abs=1e-6)


def test_equal_values_without_bounds_have_zero_width() -> None:
    assert interval(ones([3.0] * 5), METRICS["locality_kl"], seed=0) == (3.0, 3.0, 3.0, 5)


def test_a_single_unit_without_bounds_has_no_interval() -> None:
    found = interval(ones([60.0]), METRICS["fit_seconds"], seed=0)

    assert (found.mean, found.n) == (60.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_an_infinite_value_has_no_interval() -> None:
    found = interval(ones([1.0, math.inf]), METRICS["locality_kl"], seed=0)

    assert math.isinf(found.mean)
    assert math.isnan(found.low)


def test_the_bootstrap_is_scipys_bca() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=40)
    expected = scipy.stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(7))

    found = interval(ones(values), METRICS["locality_kl"], seed=7)

    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), rel=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    data = ones(np.random.default_rng(1).random(30))
    first = interval(data, METRICS["locality_kl"], seed=3)

    assert interval(data, METRICS["locality_kl"], seed=3) == first
    assert interval(data, METRICS["locality_kl"], seed=4) != first


def test_a_degenerate_bca_becomes_the_percentile_interval() -> None:
    """Edited equals base in each edit, so each resample gives 0 and BCa is NaN."""
    nll = np.random.default_rng(0).random((1, 12)) * 30
    data = Units(np.vstack([nll, nll]), np.full((2, 12), 10.0))

    assert interval(data, METRICS["drawdown_perplexity"], seed=0) == (0.0, 0.0, 0.0, 12)


def test_a_ratio_resamples_value_and_weight_together() -> None:
    tokens = np.array([[1.0, 50.0, 3.0, 20.0]])
    data = Units(0.5 * tokens, tokens)
    data.values[0, 0] = 0.6  # one edit differs a little

    found = interval(data, METRICS["token_accuracy"], seed=0)

    assert 0.5 <= found.low <= found.mean <= found.high <= 0.6


def test_a_median_has_an_interval_of_medians() -> None:
    data = ones([1.0, 2.0, 3.0, 4.0, 500.0])
    found = interval(data, METRICS["edit_seconds"], seed=0)

    assert found.mean == 3.0
    assert {found.low, found.high} <= {1.0, 2.0, 3.0, 4.0, 500.0}


def test_a_latency_that_one_edit_in_twenty_exceeds_has_an_interval_of_its_own() -> None:
    data = ones([float(number) for number in range(1, 21)])
    found = interval(data, METRICS["edit_seconds_p95"], seed=0)

    assert found.mean == pytest.approx(19.05)  # the 19.05th of 20, where the first is the 1st: 1 + 0.95 * 19
    assert 10.0 < found.low <= found.mean <= found.high <= 20.0


def test_a_higher_confidence_is_a_wider_interval() -> None:
    data = ones(np.random.default_rng(1).random(30))
    narrow = interval(data, METRICS["locality_kl"], seed=0, confidence=0.8)
    wide = interval(data, METRICS["locality_kl"], seed=0, confidence=0.99)

    assert wide.low < narrow.low < narrow.high < wide.high


def part(
    cell: str, edit: str, metric: str, value: float, weight: float = 1.0, group: str | None = None
) -> dict[str, object]:
    """One score row."""
    return {
        "cell": cell, "edit_id": edit, "edit_group": group, "step": 0, "metric": metric, "value": value,
        "weight": weight, "probes": 1,
    }  # fmt: skip


def grouped(cell: str, metric: str, values: Any, weights: Any = None, *, size: int = 3) -> list[dict[str, object]]:
    """Score rows of groups, each of `size` edits with the same value."""
    weights = np.ones(len(values)) if weights is None else weights
    return [
        part(cell, f"e{size * place + edit}", metric, value, weight, group=f"g{place}")
        for place, (value, weight) in enumerate(zip(values, weights, strict=True))
        for edit in range(size)
    ]


def test_seeds_are_averaged_by_edit() -> None:
    rows = [part("s0", "e1", "success", 1.0), part("s1", "e1", "success", 0.0), part("s0", "e2", "success", 1.0)]
    rows += [part("s1", "e2", "success", 1.0)]
    pooled = pool_seeds(pd.DataFrame(rows)).set_index("edit_id")["value"]

    assert pooled.to_dict() == {"e1": 0.5, "e2": 1.0}


def test_units_keep_only_edits_that_have_every_part() -> None:
    rows = [
        part("c", "e1", "text_nll_edited", 5.0, 2.0),
        part("c", "e2", "text_nll_edited", 7.0, 2.0),
        part("c", "e2", "text_nll_base", 6.0, 2.0),
    ]
    data = units(pool_seeds(pd.DataFrame(rows)), METRICS["drawdown_perplexity"])

    assert data is not None
    assert data.values.tolist() == [[7.0], [6.0]]
    assert data.weights.tolist() == [[2.0], [2.0]]


def test_the_unit_of_edits_that_were_installed_together_is_their_group() -> None:
    rows = [part("c", f"e{i}", "token_accuracy", i, 4.0, group=f"g{i // 2}") for i in range(4)]

    data = units(pd.DataFrame(rows), METRICS["token_accuracy"])

    assert data is not None
    assert data.values.tolist() == [[0.0 + 1.0, 2.0 + 3.0]]
    assert data.weights.tolist() == [[8.0, 8.0]]


def test_groups_keep_only_edits_that_have_every_part() -> None:
    rows = [
        part("c", "e1", "text_nll_edited", 5.0, 2.0, group="g"),
        part("c", "e2", "text_nll_edited", 7.0, 2.0, group="g"),
        part("c", "e2", "text_nll_base", 6.0, 2.0, group="g"),
    ]

    data = units(pd.DataFrame(rows), METRICS["drawdown_perplexity"])

    assert data is not None
    assert data.values.tolist() == [[7.0], [6.0]]


@pytest.mark.parametrize("name", ["success", "drawdown", "locality_kl", "token_accuracy"])
def test_edits_that_agree_within_their_group_are_no_more_evidence_than_one_of_each(name: str) -> None:
    values = np.random.default_rng(0).random(20)

    found = estimate(pd.DataFrame(grouped("c", name, values)), METRICS[name], seed=3)

    assert found is not None
    assert found.n == 20
    assert found == pytest.approx(interval(ones(values), METRICS[name], seed=3), rel=1e-9)


def test_a_group_of_one_is_an_edit() -> None:
    rows = pd.DataFrame(grouped("c", "success_request", [1] * 8 + [0] * 2, size=1))

    assert estimate(rows, METRICS["success_request"], seed=0) == pytest.approx((0.8, 0.490162, 0.943318, 10), abs=1e-6)


def test_more_seeds_do_not_narrow_the_interval_of_groups() -> None:
    values = np.random.default_rng(0).random(20)
    other = values[::-1]  # other groups of the same edits
    seeds = [pd.DataFrame(grouped(cell, "locality_kl", v)) for cell, v in (("s0", values), ("s1", other))]

    one, two = (estimate(pd.concat(rows), METRICS["locality_kl"], seed=0) for rows in (seeds[:1], seeds))

    assert one is not None
    assert two is not None
    assert (two.mean, two.n) == (pytest.approx(one.mean), 20)
    assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.1)


def test_seeds_of_groups_are_pooled_by_their_sums_and_stay_in_range() -> None:
    rows = [*grouped("s0", "success", [1.0, 1.0]), *grouped("s1", "success", [0.0, 1.0])]

    found = estimate(pd.DataFrame(rows), METRICS["success"], seed=0)

    assert found is not None
    assert found.mean == 0.75
    assert 0.0 <= found.low <= found.mean <= found.high <= 1.0


def test_a_metric_that_no_edit_has_is_not_estimated() -> None:
    assert estimate(pd.DataFrame(grouped("c", "success", [1.0])), METRICS["portability"], seed=0) is None
    assert estimate(pd.DataFrame([part("c", "e", "success", 1.0)]), METRICS["portability"], seed=0) is None


@pytest.mark.parametrize(("n", "share"), [(100, 0.5), (100, 0.9), (200, 0.5), (200, 0.9)])
def test_wilson_covers_93_percent_of_bernoulli_samples(n: int, share: float) -> None:
    """Exactly, by the binomial distribution: 0.943, 0.936, 0.944 and 0.956."""
    covering = [count for count in range(n + 1) if wilson(count, n).low <= share <= wilson(count, n).high]

    assert scipy.stats.binom.pmf(covering, n, share).sum() >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("name", ["success", "token_accuracy", "perplexity", "drawdown_perplexity"])
def test_the_bootstrap_covers_93_percent(name: str) -> None:
    generator = np.random.default_rng(0)
    metric = METRICS[name]
    truth = float(metric.aggregate(*_sample(name, generator, 400_000)))
    hits = 0
    for trial in range(600):
        found = interval(_sample(name, generator, 100), metric, seed=trial, resamples=999)
        hits += found.low <= truth <= found.high

    assert hits / 600 >= 0.93


def _sample(name: str, generator: np.random.Generator, n: int) -> Units:
    if name == "success":  # the mean of 20 probes that share their edit's difficulty
        return ones(generator.binomial(20, generator.beta(4, 2, size=n)) / 20)
    tokens = generator.integers(1, 12, size=n).astype(np.float64)
    if name == "token_accuracy":
        right = generator.binomial(tokens.astype(int), generator.beta(3, 1, size=n)).astype(np.float64)
        return Units(right[None], tokens[None])
    base = tokens * generator.gamma(4.0, 0.5, size=n)
    edited = base + tokens * generator.normal(0.1, 0.2, size=n)
    if name == "perplexity":
        return Units(edited[None], tokens[None])
    return Units(np.stack([edited, base]), np.stack([tokens, tokens]))
