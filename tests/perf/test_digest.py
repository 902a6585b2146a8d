"""What the checksum of all weights costs, which every cell computes once, and a loaded model once more."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.models.loading import load_model

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("name", ["facts-gpt2-3m", "random:distilgpt2"])
def test_the_digest_of_a_model(name: str, benchmark: BenchmarkFixture) -> None:
    lm = load_model(name)

    digest = benchmark(lm.digest)

    assert digest == lm.digest()
