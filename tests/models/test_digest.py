"""The digest of a model tells every change of its values, and nothing else."""

from __future__ import annotations

import pytest
import torch

from bench.models.checksum import checksum
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


_DTYPES = [torch.uint8, torch.float8_e4m3fn, torch.bfloat16, torch.float32, torch.float64, torch.complex64]


def one(tensor: torch.Tensor) -> str:
    """Give the checksum of a module that consists of one tensor."""
    module = torch.nn.Module()
    module.register_buffer("only", tensor)
    return checksum(module)


def numbers(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Give small numbers that all differ: their bits are round, as those of weights seldom are."""
    return torch.arange(count).to(dtype) if dtype != torch.float8_e4m3fn else torch.arange(count).byte().view(dtype)


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_every_bit_of_every_number_counts(dtype: torch.dtype, count: int) -> None:
    tensor = numbers(count, dtype)
    seen = {one(tensor)}
    bits = tensor.view(torch.uint8)
    for place in range(len(bits)):
        for bit in range(8):
            bits[place] ^= 1 << bit
            seen.add(one(tensor))
            bits[place] ^= 1 << bit

    assert len(seen) == 1 + 8 * len(bits)
    assert one(tensor) in seen


@pytest.mark.parametrize("dtype", _DTYPES)
def test_any_two_numbers_that_change_places_count(dtype: torch.dtype) -> None:
    tensor = numbers(19, dtype)
    before = one(tensor)
    for first in range(len(tensor)):
        for second in range(first):
            tensor[[first, second]] = tensor[[second, first]]
            assert one(tensor) != before, (first, second)
            tensor[[first, second]] = tensor[[second, first]]


def test_numbers_far_apart_that_change_places_count() -> None:
    values = torch.zeros(2**18 + 3)
    values[1] = 1.0
    before = one(values)
    for place in (0, 2**16 + 1, 2**17 + 1, 2**18 + 1):
        values[1], values[place] = 0.0, 1.0
        assert one(values) != before
        values[1], values[place] = 1.0, 0.0


def test_it_does_not_depend_on_how_many_words_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_model("gpt2")
    whole = lm.digest()

    monkeypatch.setattr("bench.models.checksum._WORDS", {"cpu": 37})

    assert lm.digest() == whole


def test_it_does_not_depend_on_where_a_tensor_begins_or_how_it_lies() -> None:
    values = numbers(24, torch.bfloat16)
    inside = torch.cat([values[:1], values])[1:]
    across = values.view(4, 6).T.contiguous().T

    assert one(inside) == one(values)
    assert one(across) == one(values.view(4, 6))


def test_the_name_type_and_shape_of_a_tensor_count() -> None:
    values = torch.zeros(4, 6)
    other = torch.nn.Module()
    other.register_buffer("another", values)

    assert len({one(values), one(values.view(6, 4)), one(values.int()), checksum(other)}) == 4
