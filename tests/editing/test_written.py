"""A written edit is in the parameters inside its block, and nowhere after it."""

from __future__ import annotations

import pytest
import torch

from bench.editing.edit import Change, Dense, LowRank, Replacement, WeightEdit
from bench.editing.written import written
from bench.errors import EditError
from bench.testing import tiny_model

NAME = "transformer.h.1.mlp.c_fc.weight"  # Conv1D: (16, 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_back_bitwise_after_the_block(dtype: torch.dtype) -> None:
    lm = tiny_model("gpt2", dtype=dtype)
    before = lm.digest()

    with written(lm, WeightEdit(changes={NAME: Dense(torch.full((16, 64), 0.3))})):
        inside = lm.digest()

    assert inside != before
    assert lm.digest() == before


def test_weights_are_back_bitwise_after_an_exception() -> None:
    lm = tiny_model("gpt2")
    before, place = lm.digest(), lm.model.get_parameter(NAME).data_ptr()

    with pytest.raises(KeyboardInterrupt), written(lm, WeightEdit(changes={NAME: Dense(torch.ones(16, 64))})):
        raise KeyboardInterrupt

    assert lm.digest() == before
    assert lm.model.get_parameter(NAME).data_ptr() == place


@pytest.mark.parametrize(("family", "is_stored_in_out"), [("gpt2", True), ("gpt_neo", False)])
def test_a_low_rank_change_is_written_in_the_parameters_own_orientation(family: str, is_stored_in_out: bool) -> None:
    lm = tiny_model(family)
    matrix = lm.matrices("last:1")[0]
    left, right = torch.randn(matrix.in_features, 2), torch.randn(2, matrix.out_features)
    before = lm.model.get_parameter(matrix.name).detach().clone()

    with written(lm, WeightEdit(changes={matrix.name: LowRank(left, right)})):
        gained = lm.model.get_parameter(matrix.name).detach() - before

    product = left @ right
    torch.testing.assert_close(gained, product if is_stored_in_out else product.T, rtol=1e-4, atol=1e-5)


def test_a_tied_tensor_is_changed_for_both_of_its_names() -> None:
    lm = tiny_model("gpt2")
    shape = lm.model.get_parameter("transformer.wte.weight").shape

    with written(lm, WeightEdit(changes={"transformer.wte.weight": Dense(torch.ones(shape))})):
        head = lm.model.get_output_embeddings()

        assert isinstance(head, torch.nn.Linear)
        assert head.weight is lm.model.get_parameter("transformer.wte.weight")


def test_a_tied_tensor_that_an_edit_names_twice_is_put_back() -> None:
    lm = tiny_model("gpt2")
    before, shape = lm.digest(), lm.model.get_parameter("transformer.wte.weight").shape
    changes = {name: Dense(torch.ones(shape)) for name in ("transformer.wte.weight", "lm_head.weight")}

    with written(lm, WeightEdit(changes=changes)):
        pass

    assert lm.digest() == before


def test_a_replacement_is_the_new_value() -> None:
    lm = tiny_model("gpt2", dtype=torch.bfloat16)

    with written(lm, WeightEdit(changes={NAME: Replacement(torch.full((16, 64), 0.5))})):
        parameter = lm.model.get_parameter(NAME)

        assert parameter.dtype is torch.bfloat16
        assert bool((parameter == 0.5).all())


def test_a_change_below_half_a_unit_is_lost_in_bf16() -> None:
    lm = tiny_model("gpt2", dtype=torch.bfloat16)
    before = lm.digest()
    tiny = lm.model.get_parameter(NAME).detach().float() * 2.0**-10

    with written(lm, WeightEdit(changes={NAME: Dense(tiny)})):
        assert lm.digest() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"no.such.weight": Dense(torch.zeros(1))}, "does not have"),
        ({NAME: Dense(torch.zeros(64, 16))}, "has shape"),
        ({NAME: Replacement(torch.zeros(3))}, "has shape"),
        ({NAME: LowRank(torch.zeros(64, 1), torch.zeros(1, 16))}, "has shape"),
        ({"transformer.ln_f.weight": LowRank(torch.zeros(16, 1), torch.zeros(1, 16))}, "no low-rank change"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_and_nothing_written(changes: dict[str, Change], message: str) -> None:
    lm = tiny_model("gpt2")
    before = lm.digest()

    with pytest.raises(EditError, match=message), written(lm, WeightEdit(changes=changes)):
        pass

    assert lm.digest() == before
