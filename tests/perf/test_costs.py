"""What a fit step, an edit and a step of fine-tuning cost on random weights, beside the plain implementation.

`tox -e perf` prints the table of pytest-benchmark, in CPU seconds on one thread; docs/performance.md has the ratios.
"""

from __future__ import annotations

import time

import pytest
from costs import OURS, PLAIN, actions
from pytest_benchmark.fixture import BenchmarkFixture
from subjects import VALUES, cases, make_editor, single_thread

from bench.models.loading import load_model

EDITS = 4  # a batch; the table of docs/performance.md, by costs.py, has 16


@pytest.mark.perf
@pytest.mark.parametrize("method", VALUES)
@pytest.mark.parametrize("shape", ["distilgpt2", "bart-base"])
def test_the_harness_needs_less_time_than_plain_code(shape: str, method: str, benchmark: BenchmarkFixture) -> None:
    benchmark.group = f"{shape} {method}"
    with single_thread():
        lm = load_model(f"random:{shape}")
        seconds = {}
        for implementation, count in ((PLAIN, 1), (OURS, EDITS)):
            drawn = cases(lm, count)
            editor = make_editor(lm, method, drawn)
            todo = actions(editor, drawn, implementation, name="fp32", kind="cpu")
            if implementation == OURS:
                benchmark.extra_info["plain seconds an edit"] = dict(seconds)
                benchmark.pedantic(next(iter(todo.values())), rounds=2, warmup_rounds=1)
            for what, action in todo.items():
                action()
                start = time.process_time()
                action()
                taken = (time.process_time() - start) / count
                seconds[what] = seconds[what] / taken if implementation == OURS else taken
    benchmark.extra_info["ratio"] = seconds
    assert all(ratio > 1 for ratio in seconds.values()), seconds
