"""What the TOML writer writes is what tomllib reads."""

from __future__ import annotations

import math
import tomllib

import pytest

from bench.errors import ConfigError
from bench.records.toml import dumps


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"methods": ["mend", "ke"], "edits": 200, "lr": 1e-4, "big": 1e300, "tiny": -5e-324, "on": True, "empty": []},
        {"quote": 'a "b" \\ c', "lines": "a\nb\tc\r", "control": "\x00\x1b\x7f", "ü": "日本 😀", "a b": 1, "": 2},
        {"set": {"mend": {"edit_lr": 0.1, "layers": "all"}, "x.y": {"z": [1, 2]}}, "after": 1},
        {"nested": [[1, 2], ["a"]], "inf": math.inf},
    ],
)
def test_a_round_trip_gives_the_same_values(values: dict[str, object]) -> None:
    assert tomllib.loads(dumps(values)) == values


def test_none_is_left_out() -> None:
    assert tomllib.loads(dumps({"a": None, "b": 1})) == {"b": 1}


def test_something_else_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'when'"):
        dumps({"when": object()})
