"""Rows gain what the change of their edit gives, however the products are arranged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.editing import terms
from bench.editing.edit import LowRank, WeightEdit
from bench.editing.rowwise import Rowwise
from bench.editing.terms import Term, dense_term, is_smaller_dense, low_rank_term
from bench.editing.written import written
from bench.testing import tiny_cases, tiny_model

ROWS, TOKENS, N_IN, N_OUT = 7, 3, 5, 4
EDIT_OF_ROW = {
    "every row another or none": [2, 0, -1, 2, 3, 0, -1],
    "all rows have one": [2, 0, 3, 2, 3, 0, 2],
    "one edit": [2] * ROWS,
    "one edit or none": [-1, 2, 2, -1, 2, 2, 2],
    "none": [-1] * ROWS,
}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank() -> tuple[Term, dict[int, Tensor]]:
    changes = {edit: LowRank(draw(edit, N_IN, edit + 1), draw(-edit - 1, edit + 1, N_OUT)) for edit in (0, 2, 3)}
    return low_rank_term(changes, 4), {edit: change.left @ change.right for edit, change in changes.items()}


def dense() -> tuple[Term, dict[int, Tensor]]:
    changes = {edit: draw(edit, N_IN, N_OUT) for edit in (0, 2, 3)}
    return dense_term(changes, 4, is_bias=False), changes


@pytest.mark.parametrize("make", [low_rank, dense])
@pytest.mark.parametrize("most", [0, 2**25])
@pytest.mark.parametrize("which", EDIT_OF_ROW)
def test_each_row_is_multiplied_by_the_change_of_its_edit(
    make: object, most: int, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "_MOST_COPIED", most)
    term, changes = make()  # type: ignore[operator]
    x, y = draw(10, ROWS, TOKENS, N_IN), draw(11, ROWS, TOKENS, N_OUT)

    found = term(torch.tensor(EDIT_OF_ROW[which]))(x, y)

    for row, edit in enumerate(EDIT_OF_ROW[which]):
        expected = y[row] if edit < 0 else y[row] + x[row] @ changes[edit]
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("most", [0, 2**25])
@pytest.mark.parametrize("which", EDIT_OF_ROW)
def test_each_row_gains_the_bias_of_its_edit(which: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_MOST_COPIED", most)
    biases = {edit: draw(edit, N_OUT) for edit in (0, 2, 3)}
    x, y = draw(10, ROWS, TOKENS, N_IN), draw(11, ROWS, TOKENS, N_OUT)

    found = dense_term(biases, 4, is_bias=True)(torch.tensor(EDIT_OF_ROW[which]))(x, y)

    for row, edit in enumerate(EDIT_OF_ROW[which]):
        torch.testing.assert_close(found[row], y[row] if edit < 0 else y[row] + biases[edit])


@pytest.mark.parametrize(("rank", "is_smaller"), [(1, False), (12, False), (13, True)])
def test_factors_are_multiplied_out_when_they_hold_more_numbers_than_the_matrix(rank: int, is_smaller: bool) -> None:
    change = LowRank(torch.zeros(20, rank), torch.zeros(rank, 30))  # 20 · 30 = 600 = 12 · (20 + 30)

    assert is_smaller_dense(change) is is_smaller


def test_a_change_of_more_rank_than_its_matrix_equals_the_written_one_and_passes_gradients() -> None:
    lm = tiny_model("causal")
    matrix = lm.matrices("last:1")[0]
    left = (0.05 * draw(1, matrix.in_features, 40)).requires_grad_()
    right = 0.05 * draw(2, 40, matrix.out_features)
    edit = WeightEdit(changes={matrix.name: LowRank(left, right)})
    batch = lm.batch([(case.request.prompt, case.request.target) for case in tiny_cases("causal", 4)])

    found = Rowwise(lm, [edit]).answers(batch, torch.zeros(4, dtype=torch.long)).logits

    with written(lm, edit), torch.no_grad():
        expected = lm.answers(batch).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    found.sum().backward()
    assert left.grad is not None
    assert left.grad.abs().sum() > 0
