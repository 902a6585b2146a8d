"""How modes are spelt, and what they mean."""

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
        ("sequential:1000", Mode(is_grouped=True, sequence=1000)),
        ("sequential:1000:every 100", Mode(is_grouped=True, sequence=1000, every=100)),
    ],
)
def test_a_mode_says_how_many_requests_an_edit_installs_and_a_sequence_keeps(text: str, mode: Mode) -> None:
    assert parse_mode(text) == mode


@pytest.mark.parametrize(
    "text",
    [
        *("batch", "batch:", "batch:0", "batch:-1", "batch:2.5", "batch:05", "Single", "", "5"),
        *(
            "sequential",
            "sequential:0",
            "sequential:5:2",
            "sequential:5:every",
            "sequential:5:every 0",
            "sequential:5:",
        ),
    ],
)
def test_another_spelling_is_refused_with_what_there_is(text: str) -> None:
    message = f"--mode is {text!r}; it can be single, batch:n .* as in batch:5, or sequential:n .* as in sequential:100"
    with pytest.raises(ConfigError, match=message):
        parse_mode(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("sinlge", "single"), ("bacth:5", "batch:n"), ("sequental:10", "sequential:n")]
)
def test_a_misspelt_mode_gets_the_nearest(text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        parse_mode(text)


def test_checkpoints_further_apart_than_a_sequence_is_long_are_refused() -> None:
    with pytest.raises(ConfigError, match="every 11 edits never comes in a sequence of 10"):
        parse_mode("sequential:10:every 11")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sequential:1", (1,)),
        ("sequential:9", (1, 9)),
        ("sequential:10", (1, 10)),
        ("sequential:1000", (1, 10, 100, 1000)),
        ("sequential:250", (1, 10, 100, 250)),
        ("sequential:25:every 7", (1, 7, 10, 14, 21, 25)),
        ("sequential:3:every 1", (1, 2, 3)),
    ],
)
def test_a_sequence_is_looked_at_after_powers_of_ten_each_kth_edit_and_the_last(
    text: str, expected: tuple[int, ...]
) -> None:
    assert parse_mode(text).checkpoints == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [(same, same) for same in ("single", "batch:5", "sequential:9", "sequential:9:every 3")]
    + [("sequential:9:every3", "sequential:9:every 3")],  # no shell needs quotes for it
)
def test_a_mode_has_one_name_however_it_was_spelt(text: str, name: str) -> None:
    assert parse_mode(text).name == name
    assert parse_mode(name) == parse_mode(text)


def test_an_edit_of_a_sequence_installs_one_request_so_that_it_shares_the_fit_of_single_mode() -> None:
    assert parse_mode("sequential:1000").at_once == parse_mode("single").at_once == 1


@pytest.mark.parametrize(
    ("text", "application"), [("single", "factored"), ("batch:5", "factored"), ("sequential:5", "written")]
)
def test_only_sequences_are_written_by_default(text: str, application: str) -> None:
    assert parse_mode(text).application == application


@pytest.mark.parametrize(("text", "size"), [("single", 1), ("batch:5", 5), ("sequential:50:every 5", 50)])
def test_the_edits_of_a_cell_are_a_multiple_of_the_group(text: str, size: int) -> None:
    assert parse_mode(text).group_size == size
