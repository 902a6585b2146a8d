"""Every editor edits tiny models of every family of transformers, in its MLPs and in its attention."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from bench.registry import load, plugins
from bench.testing import FAMILIES, MODEL_CHECKS, check_editor, tiny_model

METHODS = {name: plugin.kinds for name, plugin in plugins("methods").items() if not plugin.problem}
PAIRS = [(name, family) for name, kinds in METHODS.items() for family in FAMILIES if FAMILIES[family].kind in kinds]
LAYERED = [name for name in METHODS if "layers" in {field.name for field in fields(load("methods", name).Config)}]
ATTENTION = {
    "gpt2": "*.h.[23].attn.*",
    "llama": "*.3.self_attn.* *.3.mlp.up_proj",
    "t5": "decoder.block.2.*Attention.[vo]",
    "bart": "*.2.self_attn.out_proj",
    "bert": "*.3.attention.*",
}


def problems(method: str, family: str, **changes: Any) -> list[str]:
    """Run the checks that depend on the model, after a fit of two steps; whatever else the editor has is usual."""
    cls = load("methods", method)
    small = {"steps": 2, "validate_every": 2}
    known = {field.name for field in fields(cls.Config)}
    values = {name: value for name, value in small.items() if name in known} | changes
    verdicts = check_editor(cls, tiny_model(family), values, checks=MODEL_CHECKS)
    return [f"{verdict.check}: {verdict.problem}" for verdict in verdicts if verdict.problem]


@pytest.mark.parametrize(("method", "family"), PAIRS)
def test_the_editor_edits_the_family(method: str, family: str) -> None:
    assert problems(method, family) == []


@pytest.mark.parametrize("family", ATTENTION)
@pytest.mark.parametrize("method", LAYERED)
def test_the_editor_edits_the_attention_where_it_is_named(method: str, family: str) -> None:
    assert problems(method, family, layers=ATTENTION[family]) == []
