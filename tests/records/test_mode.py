"""How modes are spelt."""

from __future__ import annotations

import pytest

from bench.errors import ConfigError
from bench.records.mode import Mode, parse_mode


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("single", Mode(at_once=1, is_grouped=False)),
        ("batch:1", Mode(at_once=1, is_grouped=True)),
        ("batch:125", Mode(at_once=125, is_grouped=True)),
    ],
)
def test_a_mode_says_how_many_requests_an_edit_installs(text: str, mode: Mode) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["batch", "batch:", "batch:0", "batch:-1", "batch:2.5", "batch:05", "Single", "", "5"])
def test_another_spelling_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--mode is {text!r}; it can be single, or batch:n .* as in batch:5"):
        parse_mode(text)


@pytest.mark.parametrize(("text", "meant"), [("sinlge", "single"), ("bacth:5", "batch:n")])
def test_a_misspelt_mode_gets_the_nearest(text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        parse_mode(text)
