"""The digest of a model tells every change of its values, and nothing else."""

from __future__ import annotations

import pytest
import torch

from bench.testing import FAMILIES, tiny_model

NAME = "transformer.h.1.mlp.c_fc.weight"


def test_one_flipped_bit_changes_the_digest() -> None:
    lm = tiny_model("gpt2")
    before = lm.digest()

    lm.model.get_parameter(NAME).data.view(torch.int32)[3, 5] ^= 1

    assert lm.digest() != before


def test_two_swapped_values_change_the_digest() -> None:
    lm = tiny_model("gpt2")
    before = lm.digest()
    values = lm.model.get_parameter(NAME).data

    values[0, 0], values[0, 1] = values[0, 1].clone(), values[0, 0].clone()

    assert lm.digest() != before


def test_two_swapped_matrices_change_the_digest() -> None:
    lm = tiny_model("gpt2")
    before = lm.digest()
    one, other = lm.model.get_parameter(NAME), lm.model.get_parameter(NAME.replace("h.1", "h.2"))

    one.data, other.data = other.data, one.data

    assert lm.digest() != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_value_changed_and_put_back_gives_the_same_digest(dtype: torch.dtype) -> None:
    lm = tiny_model("gpt2", dtype=dtype)
    before, kept = lm.digest(), lm.model.get_parameter(NAME).data.clone()

    lm.model.get_parameter(NAME).data.add_(1.0)
    changed = lm.digest()
    lm.model.get_parameter(NAME).data.copy_(kept)

    assert changed != before
    assert lm.digest() == before


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_tiny_model_has_the_same_digest(family: str) -> None:
    assert tiny_model(family).digest() == tiny_model(family).digest() != tiny_model(family, seed=1).digest()
