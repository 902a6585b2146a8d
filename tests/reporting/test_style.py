"""Colours, markers and lines of methods."""

from __future__ import annotations

from bench.reporting.style import WHOLE, looks


def alone(*methods: str) -> list[tuple[str, str]]:
    return [(method, "default") for method in methods]


def test_a_known_method_looks_the_same_in_every_run() -> None:
    known = ("enn", "ft", "ke", "mend")

    one = looks(alone("mend", "ft"), known)
    other = looks(alone("ke", "outside", "mend", "enn", "ft"), known)

    assert one["ft", "default"] == other["ft", "default"]
    assert one["mend", "default"] == other["mend", "default"]


def test_the_order_in_a_run_does_not_matter() -> None:
    assert looks(alone("a", "b", "c")) == looks(alone("c", "a", "b"))


def test_methods_that_would_share_a_colour_do_not_while_one_is_free() -> None:
    known = [f"m{place}" for place in range(20)]

    found = looks(alone("m0", "m7", "m14"), known)  # seven colours: all three have the first one by their place

    assert len({found[f"m{place}", "default"].colour for place in (0, 7, 14)}) == 3


def test_seventy_looks_differ() -> None:
    found = looks(alone(*(f"m{place}" for place in range(70))))

    assert len({(look.colour, look.marker) for look in found.values()}) == 70


def test_configurations_of_a_method_differ_and_the_default_is_the_method() -> None:
    found = looks([("mend", "rank=64"), ("mend", "default"), ("ft", "default")])

    assert len(set(found.values())) == 3
    assert found["mend", WHOLE] == found["mend", "default"]
