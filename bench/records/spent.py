"""What a cell's costs come to, as its card keeps it: enough to say what another cell like it would cost."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from bench.records.schema import CostPhase

__all__ = ["spent"]


def spent(costs: pd.DataFrame) -> dict[str, float]:
    """Give some totals of a table of costs, by name; those of which nothing was measured are left out.

    `fit_seconds` is the price of the fit, whoever paid it, `own_fit_seconds` what this very cell fitted;
    `load_memory_bytes` and `work_memory_bytes` are the highest peaks while the model was loaded, and afterwards.
    """
    found: dict[str, float] = defaultdict(float)
    columns = (costs["phase"], costs["measure"], costs["value"], costs["cached"])
    for phase, measure, value, is_cached in zip(*columns, strict=True):
        if phase == CostPhase.FIT and measure == "seconds":
            found["fit_seconds"] += float(value)
            found["own_fit_seconds"] += 0.0 if is_cached else float(value)
        elif measure == "peak_memory_bytes":
            name = "load_memory_bytes" if phase == CostPhase.LOAD else "work_memory_bytes"
            found[name] = max(found[name], float(value))
    return dict(found)
