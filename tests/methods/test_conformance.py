"""Every registered editor, on a tiny model of each kind that it takes, keeps the contract."""

from __future__ import annotations

import pytest

from bench.registry import load, plugins
from bench.testing import check_editor, tiny_model

PAIRS = [(name, kind) for name, plugin in plugins("methods").items() if not plugin.problem for kind in plugin.kinds]


def test_no_built_in_method_is_broken() -> None:
    problems = {name: plugin.problem for name, plugin in plugins("methods").items() if plugin.problem}

    assert problems == {}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_editor_keeps_the_contract(name: str, kind: str) -> None:
    verdicts = check_editor(load("methods", name), tiny_model(kind))

    assert [f"{verdict.check}: {verdict.problem}" for verdict in verdicts if verdict.problem] == []
