"""Every registered editor, on a tiny model of each kind that it takes, keeps the contract, and so do its variants."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from bench.editing.fit import FitConfig
from bench.registry import load, plugins
from bench.testing import check_editor, tiny_model

PLUGINS = {name: plugin for name, plugin in plugins("methods").items() if not plugin.problem}
PAIRS = [(name, kind) for name, plugin in PLUGINS.items() for kind in plugin.kinds]
# Of fields that hold a number, one other value that makes another algorithm; whichever editor has such a field.
NUMBERS = {"rank": 2, "std_floor": 0.0, "inner_steps": 2, "no_grad_layers": 2}


def choices(hint: Any) -> Iterator[Any]:
    """Give every value of a closed type."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif hint is bool:
        yield from (False, True)
    elif get_origin(hint) in (Union, type(int | None)):
        for part in get_args(hint):
            yield from choices(part)


def variants() -> Iterator[tuple[str, str, str, Any]]:
    """Give each editor with one field off its default, on one kind of model after the other."""
    shared = {field.name for field in fields(FitConfig)}  # type: ignore[arg-type]  # a pydantic dataclass
    for name, plugin in PLUGINS.items():
        config = load("methods", name).Config
        hints = get_type_hints(config)
        # A switch that is set to what the default fidelity has anyway makes no variant.
        switches = getattr(sys.modules[load("methods", name).__module__], "SWITCHES", {}).get("paper")
        values = [
            (field.name, value)
            for field in fields(config)
            if field.name not in shared
            for value in (*choices(hints[field.name]), *([NUMBERS[field.name]] if field.name in NUMBERS else []))
            if value not in (field.default, getattr(switches, field.name, None))
        ]
        for index, (field, value) in enumerate(values):
            yield name, plugin.kinds[index % len(plugin.kinds)], field, value


VARIANTS = list(variants())
# A hundred steps of RMSprop make of the rounding of another batch more than the contract allows, and take 30 s.
FEWER_STEPS = {"ft": {"steps": 20}}


def problems(name: str, kind: str, changes: dict[str, Any] | None = None) -> list[str]:
    verdicts = check_editor(load("methods", name), tiny_model(kind), changes)
    return [f"{verdict.check}: {verdict.problem}" for verdict in verdicts if verdict.problem]


def test_no_built_in_method_is_broken() -> None:
    broken = {name: plugin.problem for name, plugin in plugins("methods").items() if plugin.problem}

    assert broken == {}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_editor_keeps_the_contract(name: str, kind: str) -> None:
    assert problems(name, kind) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "field", "value"), VARIANTS, ids=[f"{name}-{field}={value}" for name, _, field, value in VARIANTS]
)
def test_the_variant_keeps_the_contract(name: str, kind: str, field: str, value: object) -> None:
    assert problems(name, kind, {**FEWER_STEPS.get(name, {}), field: value}) == []
