"""A fidelity settles every switch, a switch can be set alone, and the table in the documentation says the truth."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.editing.config import build_config
from bench.registry import load, plugins

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"
HEADING = "## Paper and reference code"
METHODS = ["mend", "ke", "enn", "ft"]
SWITCHES = {
    name: importlib.import_module(f"bench.methods.{name}").SWITCHES
    for name, plugin in plugins("methods").items()
    if not plugin.problem and hasattr(importlib.import_module(f"bench.methods.{name}"), "SWITCHES")
}
resolved: Any = importlib.import_module("bench.methods._fidelity").resolved


def table() -> Iterator[list[str]]:
    """Give the rows of the documented table, without ticks."""
    chapter = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    for line in chapter.splitlines():
        if line.startswith("| `"):
            yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_papers_editors_have_a_fidelity() -> None:
    assert sorted(SWITCHES) == sorted(METHODS)


def test_the_documented_table_shows_each_switch_with_both_values() -> None:
    documented = {(method, switch): (paper, reference) for method, switch, paper, reference, _ in table()}

    expected = {
        (name, switch): (told(value), told(asdict(both["reference"])[switch]))
        for name, both in SWITCHES.items()
        for switch, value in asdict(both["paper"]).items()
    }
    assert documented == expected


@pytest.mark.parametrize("name", METHODS)
def test_each_switch_settles_a_difference_and_is_left_to_the_fidelity(name: str) -> None:
    paper, reference = (asdict(SWITCHES[name][which]) for which in ("paper", "reference"))
    config = load("methods", name).Config()

    assert all(paper[switch] != reference[switch] for switch in paper)
    assert all(getattr(config, switch) is None for switch in paper)
    assert config.fidelity == "paper"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("fidelity", ["paper", "reference"])
def test_a_switch_set_alone_leaves_the_others_to_the_fidelity(name: str, fidelity: str) -> None:
    other = asdict(SWITCHES[name]["reference" if fidelity == "paper" else "paper"])

    for switch, value in other.items():
        text = {"fidelity": fidelity, switch: told(value)}  # as a command line gives it
        config = build_config(load("methods", name).Config, text, owner=name)

        found = asdict(resolved(config, SWITCHES[name]))

        assert found == asdict(SWITCHES[name][fidelity]) | {switch: value}
