"""GPUs are dealt out to workers as CUDA_VISIBLE_DEVICES names them."""

from __future__ import annotations

import pytest

from bench.errors import ConfigError
from bench.running.devices import deal_gpus


@pytest.fixture(autouse=True)
def all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("wanted", "at_once", "shares"),
    [
        ((), 1, ["0", "1", "2", "3"]),
        (("2", "0"), 1, ["2", "0"]),
        ((), 2, ["0,1", "2,3"]),
        (("3", "1", "0"), 2, ["3,1"]),  # the third fills no share
        ((), 4, ["0,1,2,3"]),
    ],
)
def test_each_share_has_its_own_gpus(wanted: tuple[str, ...], at_once: int, shares: list[str]) -> None:
    assert deal_gpus(wanted, 4, at_once=at_once) == shares


def test_where_some_gpus_are_hidden_the_others_count_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8932f937")

    assert deal_gpus((), 2) == ["5", "GPU-8932f937"]
    assert deal_gpus(("1",), 2) == ["GPU-8932f937"]


@pytest.mark.parametrize(
    ("wanted", "count", "at_once", "message"),
    [
        (("4",), 4, 1, "--devices names '4'; torch finds the numbers 0 to 3."),
        (("1",), 1, 1, "--devices names '1'; torch finds 0 only."),
        (("cuda:0",), 4, 1, "--devices names 'cuda:0'; torch finds the numbers 0 to 3."),
        (("-1",), 4, 1, "--devices names '-1'; torch finds the numbers 0 to 3."),
        (("1", "0", "1"), 4, 1, "--devices names 1 twice."),
        (("0", "2"), 4, 3, "--gpus-per-cell is 3; torch finds 4 GPUs here, of which 2 may be used."),
    ],
)
def test_wrong_numbers_are_refused(wanted: tuple[str, ...], count: int, at_once: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        deal_gpus(wanted, count, at_once=at_once)

    assert str(caught.value).startswith(message)
