"""The edits of a sequence, held in the model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.edit import Change, Dense, Edit, ForwardEdit, LowRank, PromptEdit, Replacement, State, WeightEdit
from bench.editing.installed import Installed
from bench.errors import EditError
from bench.models.language_model import LanguageModel
from bench.testing import tiny_model

_GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int, size: float = 0.1) -> Tensor:
    return torch.randn(shape, generator=_GENERATOR) * size


def weight(lm: LanguageModel, place: int = 0) -> tuple[str, Tensor]:
    """Give the name and the value of one editable matrix."""
    name = lm.matrices("default")[place].name
    return name, lm.model.get_parameter(name).data


def edit(name: str, change: Change) -> WeightEdit:
    return WeightEdit(changes={name: change})


def forward_edit(memory: State | None) -> Edit:
    return ForwardEdit(wrap=lambda batch, answers: answers, memory=memory)


def test_changes_add_up_in_float32_and_the_sum_is_rounded_once() -> None:
    lm = tiny_model("causal", dtype=torch.bfloat16)
    name, before = weight(lm)
    before = before.clone()
    # Each is far below half a unit in the last place of bf16: written one by one they would all be lost.
    small = torch.full_like(before, 1e-4, dtype=torch.float32)

    with Installed(lm) as installed:
        for _ in range(400):
            installed.add(edit(name, Dense(small)))
        after = weight(lm)[1].clone()

    total = torch.zeros_like(small)
    for _ in range(400):
        total += small
    assert torch.equal(after, (before.float() + total).bfloat16())
    assert after.dtype is torch.bfloat16
    assert float((after.float() - before.float()).mean()) == pytest.approx(0.04, rel=0.02)


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])  # of Conv1D and of Linear
def test_a_low_rank_change_is_its_product(kind: str) -> None:
    lm = tiny_model(kind)
    matrix = lm.matrices("default")[0]
    left, right = random(matrix.in_features, 2), random(2, matrix.out_features)
    before = weight(lm)[1].clone()
    x = random(3, matrix.in_features, size=1.0)
    module = lm.model.get_submodule(matrix.name.rpartition(".")[0])
    plain = module(x)

    with Installed(lm) as installed:
        installed.add(edit(matrix.name, LowRank(left, right)))
        installed.add(edit(matrix.name, LowRank(left, right)))
        found = module(x)

    torch.testing.assert_close(found, plain + 2 * (x @ left) @ right, rtol=1e-5, atol=1e-5)
    assert torch.equal(weight(lm)[1], before)


def test_a_replacement_takes_the_place_of_all_changes_before_it_and_later_ones_start_from_it() -> None:
    lm = tiny_model("causal")
    name, before = weight(lm)
    value, first, later = torch.full_like(before, 3.0), random(*before.shape), random(*before.shape)

    with Installed(lm) as installed:
        installed.add(edit(name, Dense(first)))
        installed.add(edit(name, Replacement(value)))
        assert torch.equal(weight(lm)[1], value)
        installed.add(edit(name, Dense(later)))
        assert torch.equal(weight(lm)[1], value + later)

    assert float(value.mean()) == 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_end_restores_every_bit_even_after_an_exception(dtype: torch.dtype) -> None:
    lm = tiny_model("causal", dtype=dtype)
    digest = lm.digest()

    with pytest.raises(ZeroDivisionError), Installed(lm) as installed:
        for place in (0, 1, 0):
            name, value = weight(lm, place)
            installed.add(edit(name, Dense(random(*value.shape))))
        assert lm.digest() != digest
        raise ZeroDivisionError

    assert lm.digest() == digest


def test_lifting_shows_the_model_before_the_first_edit_and_puts_them_all_back() -> None:
    lm = tiny_model("causal")
    digest = lm.digest()
    with Installed(lm) as installed:
        for place in (0, 1, 0):
            name, value = weight(lm, place)
            installed.add(edit(name, Dense(random(*value.shape))))
        edited = lm.digest()

        with torch.inference_mode(), installed.lifted():
            assert lm.digest() == digest

        assert lm.digest() == edited
        loss = lm.loss([("The capital of Badolo is", "Fimisa")], lm.leaves("default"))
        loss.backward()  # what was lifted where there are no gradients can still be edited by them


def test_the_weight_change_is_the_norm_of_all_changes_by_that_of_all_changed_weights() -> None:
    lm = tiny_model("causal")
    (one, before_one), (two, before_two) = weight(lm, 0), weight(lm, 1)
    changes = [random(*before_one.shape), random(*before_one.shape), random(*before_two.shape)]

    with Installed(lm) as installed:
        assert installed.weight_change() is None
        for name, change in zip([one, one, two], changes, strict=True):
            installed.add(edit(name, Dense(change)))
        found = installed.weight_change()

    squares = ((changes[0] + changes[1]).double() ** 2).sum() + (changes[2].double() ** 2).sum()
    norms = (before_one.double() ** 2).sum() + (before_two.double() ** 2).sum()
    assert found == pytest.approx(math.sqrt(float(squares / norms)), rel=1e-5)


def test_an_edit_beside_the_weights_takes_the_place_of_the_one_before_and_leaves_the_weights() -> None:
    lm = tiny_model("causal")
    name, value = weight(lm)
    first, second = forward_edit(State()), forward_edit(State())

    with Installed(lm) as installed:
        assert isinstance(installed.beside, WeightEdit)
        installed.add(first)
        installed.add(edit(name, Dense(random(*value.shape))))
        assert installed.beside is first
        installed.add(second)
        assert installed.beside is second
        assert installed.touches == (name,)
        assert installed.forgotten == 0


def test_edits_that_one_without_memory_replaces_are_counted() -> None:
    with Installed(tiny_model("causal")) as installed:
        installed.add(PromptEdit(replace=lambda prompt: prompt))
        installed.add(PromptEdit(replace=lambda prompt: prompt))
        installed.add(forward_edit(None))

        assert installed.forgotten == 2


def test_a_tied_matrix_is_held_once_whatever_it_is_called() -> None:
    lm = tiny_model("causal")
    names = ["transformer.wte.weight", "lm_head.weight"]
    digest, before = lm.digest(), lm.model.get_parameter(names[0]).data.clone()
    changes = [random(*before.shape) for _ in names]

    with Installed(lm) as installed:
        for name, change in zip(names, changes, strict=True):
            installed.add(edit(name, Dense(change)))
        torch.testing.assert_close(lm.model.get_parameter(names[0]).data, before + changes[0] + changes[1])
        with installed.lifted():
            assert lm.digest() == digest

    assert lm.digest() == digest


def _in_place(parameter: Any) -> None:
    parameter.data.mul_(2)


def _elsewhere(parameter: Any) -> None:
    parameter.data = parameter.data * 2


@pytest.mark.parametrize("write", [_in_place, _elsewhere])
@pytest.mark.parametrize("is_at_end", [True, False])
def test_a_write_that_is_not_ours_is_found_and_undone(write: Any, is_at_end: bool) -> None:
    lm = tiny_model("causal")
    digest = lm.digest()
    name, value = weight(lm)
    change = edit(name, Dense(random(*value.shape)))

    def sequence() -> None:
        with Installed(lm) as installed:
            installed.add(change)
            write(lm.model.get_parameter(name))
            if not is_at_end:
                installed.add(change)

    with pytest.raises(EditError, match=f"'{name}' was written to while the edits of a sequence were in force"):
        sequence()
    assert lm.digest() == digest


def test_a_sum_that_overflows_is_no_write() -> None:
    lm = tiny_model("causal")
    name, value = weight(lm)
    huge = torch.full_like(value, 3e38)

    with Installed(lm) as installed:
        for change in (huge, huge, -huge):
            installed.add(edit(name, Dense(change)))
        assert bool(weight(lm)[1].isinf().all())


def test_a_change_of_another_shape_or_parameter_is_refused() -> None:
    lm = tiny_model("causal")
    name, _ = weight(lm)

    with Installed(lm) as installed:
        with pytest.raises(EditError, match="has shape"):
            installed.add(edit(name, Dense(torch.zeros(2, 2))))
        with pytest.raises(EditError, match="has shape"):
            installed.add(edit(name, Replacement(torch.zeros(2, 2))))
        with pytest.raises(EditError, match="'nowhere.weight', which"):
            installed.add(edit("nowhere.weight", Dense(torch.zeros(2, 2))))
