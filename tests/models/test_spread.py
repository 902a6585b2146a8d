"""Where a model lies on several GPUs, nothing mixes their tensors: shown with fake tensors, which need no GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.editing.edit import LowRank
from bench.editing.terms import dense_term, low_rank_term
from bench.models.encoding import Batch
from bench.models.positions import mlp_at_answers
from bench.testing import tiny_model

ELSEWHERE, FURTHER = "cuda:1", "cuda:2"


@pytest.fixture
def batch() -> Batch:
    """Two rows of eight tokens, on the CPU: three labels."""
    lm = tiny_model("gpt2")
    return lm.batch([("Babaco lies in", "Dofi"), ("The capital of Gugulo is", "Bado")])


class _Mover(nn.Module):
    """Stands for a module on another GPU than its input comes from, as accelerate's hook makes one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(FURTHER)


def test_the_last_mlp_picks_and_spreads_where_its_tensors_lie(batch: Batch) -> None:
    mlp = _Mover()
    with mlp_at_answers(mlp, batch), FakeTensorMode(allow_non_fake_inputs=True):
        whole = mlp(torch.zeros(*batch.input_ids.shape, 4, device=ELSEWHERE))

    assert (whole.shape, str(whole.device)) == ((*batch.input_ids.shape, 4), FURTHER)


@pytest.mark.parametrize("edit_of_row", [[0, 1], [1, -1], [0, 0]])
@pytest.mark.parametrize(
    "make",
    [
        lambda: low_rank_term({e: LowRank(torch.ones(4, 2), torch.ones(2, 3)) for e in range(2)}, 2),
        lambda: dense_term({e: torch.ones(4, 3) for e in range(2)}, 2, is_bias=False),
        lambda: dense_term({e: torch.ones(3) for e in range(2)}, 2, is_bias=True),
    ],
    ids=["low rank", "dense", "bias"],
)
def test_what_rows_gain_is_added_where_the_output_lies(
    make: Callable[[], Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]]], edit_of_row: list[int]
) -> None:
    add = make()(torch.tensor(edit_of_row))

    with FakeTensorMode(allow_non_fake_inputs=True):
        y = add(torch.zeros(2, 5, 4, device=ELSEWHERE), torch.zeros(2, 5, 3, device=FURTHER))

    assert (y.shape, str(y.device)) == ((2, 5, 3), FURTHER)
