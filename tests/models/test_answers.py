"""Answers measure what the specification's worked numbers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.models.answers import Answers
from bench.models.encoding import Text
from bench.models.measures import divergence
from bench.testing import FAMILIES, tiny_cases, tiny_model


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    path = Path(__file__).parent.parent / "golden" / "mend_golden.json"
    arrays = json.loads(path.read_text(encoding="utf-8"))
    losses = {name: array for name, array in arrays.items() if name.startswith("loss/")}
    return {name: torch.tensor(array["values"]).reshape(array["shape"]) for name, array in losses.items()}


def answers(logits: Tensor, labels: Tensor, *, shift: int) -> Answers:
    """Take (B, T, V) logits where labels (B, T) are not -100; label t is predicted at position t - shift."""
    labels = labels[:, shift:]
    rows, positions = (labels != -100).nonzero().unbind(1)
    return Answers(logits=logits[rows, positions], labels=labels[rows, positions], rows=rows, size=len(logits))


@pytest.mark.parametrize(
    ("logits", "shift", "nll"), [("post", 1, 2.712076), ("logits_hit", 1, 1.580753), ("post", 0, 1.896073)]
)
def test_the_loss_is_the_mean_over_labels(golden: dict[str, Tensor], logits: str, shift: int, nll: float) -> None:
    found = answers(golden[f"loss/{logits}"], golden["loss/labels"], shift=shift).loss()

    assert float(found) == pytest.approx(nll, rel=1e-6)


def test_one_of_two_sequences_is_wholly_right(golden: dict[str, Tensor]) -> None:
    found = answers(golden["loss/logits_hit"], golden["loss/labels"], shift=1)

    is_whole = found.sum_rows(found.is_right().float()) == found.tokens()

    assert float(is_whole.float().mean()) == float(golden["loss/mc_shift1_hit/acc"]) == 0.5


def test_a_binary_head_has_the_references_loss(golden: dict[str, Tensor]) -> None:
    logits = torch.cat([torch.zeros_like(golden["loss/post_bin"]), golden["loss/post_bin"]], dim=1)
    labels = golden["loss/bin_targets"].squeeze(1)
    found = Answers(logits=logits, labels=labels, rows=torch.arange(5), size=5)

    assert float(found.loss()) == pytest.approx(0.991600, rel=1e-5)
    assert float(found.is_right().float().mean()) == pytest.approx(0.2)


def test_the_divergence_is_the_references(golden: dict[str, Tensor]) -> None:
    keep = golden["loss/mask"].bool()

    sequence = divergence(golden["loss/pre"][keep], golden["loss/post"][keep]).mean()
    before, after = (
        torch.cat([torch.zeros_like(golden[name]), golden[name]], dim=1) for name in ("loss/pre_bin", "loss/post_bin")
    )

    assert float(sequence) == pytest.approx(0.706511, rel=1e-5)
    assert float(divergence(before, after).mean()) == pytest.approx(0.133909, rel=1e-5)


def test_the_divergence_equals_torchs_and_is_nought_of_equals() -> None:
    draw = torch.Generator().manual_seed(0)
    before, after = 3 * torch.randn(6, 9, generator=draw), 3 * torch.randn(6, 9, generator=draw)

    expected = torch.nn.functional.kl_div(
        after.log_softmax(1), before.log_softmax(1), log_target=True, reduction="none"
    ).sum(1)

    torch.testing.assert_close(divergence(before, after), expected)
    assert torch.equal(divergence(before, before), torch.zeros(6))


def test_rows_are_summed_and_averaged_over_their_own_labels() -> None:
    found = Answers(logits=torch.zeros(3, 4), labels=torch.tensor([0, 1, 2]), rows=torch.tensor([0, 1, 1]), size=2)

    assert found.tokens().tolist() == [1, 2]
    assert found.sum_rows(torch.tensor([1.0, 2.0, 4.0])).tolist() == [1, 6]
    assert found.mean_rows(torch.tensor([1.0, 2.0, 4.0])).tolist() == [1, 3]
    torch.testing.assert_close(found.row_loss(), torch.full((2,), 4.0).log())


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_at_answer_positions_equal_those_of_the_whole_sequence(family: str) -> None:
    lm = tiny_model(family)
    cases = tiny_cases(lm.kind, 3)
    pairs: list[tuple[Text, Text]] = [(probe.prompt, probe.answer) for case in cases for probe in case.probes]
    batch = lm.batch(pairs)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if batch.decoder_input_ids is not None:
        inputs["decoder_input_ids"] = batch.decoder_input_ids

    with torch.no_grad():
        whole = lm.model(**inputs).logits
        found = lm.answers(batch).logits

    expected = whole if whole.dim() == 2 else whole[batch.rows, batch.positions]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert not lm.model.get_output_embeddings() or not lm.model.get_output_embeddings()._forward_pre_hooks


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_equals_its_rows_alone(family: str) -> None:
    lm = tiny_model(family)
    pairs: list[tuple[Text, Text]] = [(case.request.prompt, case.request.target) for case in tiny_cases(lm.kind, 3)]

    with torch.no_grad():
        together = lm.answers(lm.batch(pairs)).row_loss()
        alone = torch.stack([lm.answers(lm.batch([pair])).loss() for pair in pairs])

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
