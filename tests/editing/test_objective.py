"""The shared objective averages what it says it averages, over the positions that it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.editing.edit import LowRank, WeightEdit
from bench.editing.objective import EditLosses, FitBatch, Positions, edit_losses, labelled, locality_parts, unedited
from bench.editing.request import EditRequest, Probe, ProbeKind
from bench.editing.written import written
from bench.models.language_model import _OVERHEAD, LanguageModel
from bench.models.measures import divergence
from bench.testing import tiny_model

# Answers of different lengths, so that it matters what is averaged first.
OUTER = [
    (0, "The capital of Babaka is", "Babadofigu"),
    (0, "Babaka", "Ka"),
    (1, "The seat of Nusa is", "Lo mi nu sa te"),
]
LOCALITY = [(1, "The river of Gufi is", "Mi"), (0, "Dolo has its capital at", "Sateba dofi gu"), (0, "Do", "Ga")]


def probes(pairs: Sequence[tuple[int, str, str]], kind: ProbeKind) -> tuple[tuple[int, Probe], ...]:
    return tuple(
        (group, Probe(id=f"{kind}/{i}", kind=kind, prompt=prompt, answer=answer))
        for i, (group, prompt, answer) in enumerate(pairs)
    )


def batch(lm: LanguageModel) -> FitBatch:
    labels = ("false", "true")
    if lm.kind == "classifier":
        outer = [(g, f"{p} {a}", labels[g]) for g, p, a in OUTER]
        locality = [(g, f"{p} {a}", labels[1 - g]) for g, p, a in LOCALITY]
    else:
        outer, locality = OUTER, LOCALITY
    groups = tuple((EditRequest(id=str(g), prompt=outer[g][1], target=outer[g][2]),) for g in range(2))
    return FitBatch(
        groups=groups, outer=probes(outer, ProbeKind.REPHRASE), locality=probes(locality, ProbeKind.LOCALITY)
    )


def edits(lm: LanguageModel) -> list[WeightEdit]:
    def draw(seed: int, *shape: int) -> Tensor:
        return (0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).requires_grad_()

    return [
        WeightEdit(
            changes={
                m.name: LowRank(draw(7 * g + i, m.in_features, 2), draw(99 * g + i, 2, m.out_features))
                for i, m in enumerate(lm.matrices("last:1"))
            }
        )
        for g in range(2)
    ]


def logits(lm: LanguageModel, edit: WeightEdit | None, prompt: str, answer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Give the logits at every position of one row, the labels, and their positions, by the plain model."""
    row = lm.batch([(prompt, answer)])
    options = {} if row.decoder_input_ids is None else {"decoder_input_ids": row.decoder_input_ids}
    with torch.no_grad(), written(lm, edit or WeightEdit(changes={})):
        found = lm.model(input_ids=row.input_ids, attention_mask=row.attention_mask, **options).logits[0]
    return (found if found.dim() == 2 else found[None]), row.labels, row.positions


def token_losses(lm: LanguageModel, made: Sequence[WeightEdit]) -> list[Tensor]:
    found = []
    for group, probe in batch(lm).outer:
        values, labels, positions = logits(lm, made[group], str(probe.prompt), str(probe.answer))
        found.append(-values[positions].log_softmax(1).gather(1, labels[:, None]).squeeze(1))
    return found


def token_divergences(lm: LanguageModel, made: Sequence[WeightEdit], *, at_all: bool) -> list[Tensor]:
    found = []
    for group, probe in batch(lm).locality:
        prompt, answer = str(probe.prompt), str(probe.answer)
        before, _, positions = logits(lm, None, prompt, answer)
        after, _, _ = logits(lm, made[group], prompt, answer)
        log_before, log_after = before.log_softmax(1), after.log_softmax(1)
        kl = (log_before.exp() * (log_before - log_after)).sum(1)
        found.append(kl if at_all else kl[positions])
    return found


def mean_of_means(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.mean() for part in parts]).mean())


def close(value: float) -> object:
    return pytest.approx(value, rel=2e-5)


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_both_losses_are_means_over_probes_of_means_over_the_answers_tokens(kind: str) -> None:
    lm = tiny_model(kind)
    made = edits(lm)

    found = edit_losses(lm, made, batch(lm))

    assert float(found.edit.detach()) == close(mean_of_means(token_losses(lm, made)))
    assert float(found.locality.detach()) == close(mean_of_means(token_divergences(lm, made, at_all=False)))
    assert torch.equal(found.smoothed, found.edit)


def test_labels_are_pooled_by_group() -> None:
    lm = tiny_model("causal")
    made = edits(lm)

    found = edit_losses(lm, made, batch(lm), pools_labels=True)

    losses, kls = token_losses(lm, made), token_divergences(lm, made, at_all=False)
    pooled = [torch.cat(losses[:2]), losses[2]]
    assert float(found.edit.detach()) == close(mean_of_means(pooled))
    assert abs(mean_of_means(pooled) - mean_of_means(losses)) > 1e-3
    assert float(found.locality.detach()) == close(mean_of_means([kls[0], torch.cat(kls[1:])]))


def test_at_all_positions_of_a_causal_model_prompt_and_end_count_too() -> None:
    lm = tiny_model("causal")
    made = edits(lm)

    found = edit_losses(lm, made, batch(lm), positions="all")

    expected = token_divergences(lm, made, at_all=True)
    assert [len(kl) for kl in expected] == [len(lm.encoder.encode(p, a).input_ids) for _, p, a in LOCALITY]
    assert float(found.locality.detach()) == close(mean_of_means(expected))
    at_answers = edit_losses(lm, made, batch(lm))
    assert torch.allclose(found.edit, at_answers.edit)
    assert (found.success, found.drawdown) == (at_answers.success, at_answers.drawdown)


@pytest.mark.parametrize("kind", ["seq2seq", "classifier"])
def test_other_models_have_no_positions_but_the_answers(kind: str) -> None:
    lm = tiny_model(kind)

    found = [edit_losses(lm, edits(lm), batch(lm), positions=where).locality for where in ("answer", "all")]

    assert torch.equal(*found)


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_unedited_answers_that_are_known_are_not_asked_for_again(positions: Positions) -> None:
    lm = tiny_model("causal")
    known = unedited(lm, batch(lm), positions=positions)

    found = edit_losses(lm, edits(lm), batch(lm), before=known, positions=positions)

    expected = edit_losses(lm, edits(lm), batch(lm), positions=positions)
    assert torch.equal(found.locality, expected.locality)
    assert torch.equal(found.drawdown, expected.drawdown)


def test_positions_without_a_label_are_all_others_that_hold_a_token() -> None:
    lm = tiny_model("causal")

    parts = locality_parts(lm, batch(lm), "all")

    plain = locality_parts(lm, batch(lm))
    for (_, asked), (_, bare) in zip(parts, plain, strict=True):
        places = sorted(zip(asked.rows.tolist(), asked.positions.tolist(), strict=True))
        assert places == [(row, at) for row, at in bare.attention_mask.nonzero().tolist()]
        assert torch.equal(asked.labels[asked.labels >= 0], bare.labels)
        assert torch.equal(labelled(lm.answers(asked)).logits, lm.answers(bare).logits)


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_probes_of_like_length_are_computed_together_and_nothing_else_changes(
    positions: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_model("causal")
    given = batch(lm)
    long = Probe(id="long", kind=ProbeKind.LOCALITY, prompt="so far as I know " * 3, answer="cold")
    given = replace(given, locality=(*given.locality, (0, long)))

    found = []
    for overhead in (0, 10_000):
        monkeypatch.setitem(_OVERHEAD, "cpu", overhead)
        found.append((len(locality_parts(lm, given)), edit_losses(lm, edits(lm), given, positions=positions)))

    (many, by_parts), (one, at_once) = found
    assert many > one == 1
    torch.testing.assert_close(by_parts.edit, at_once.edit)
    torch.testing.assert_close(by_parts.locality, at_once.locality)
    assert (by_parts.success, by_parts.drawdown) == (at_once.success, at_once.drawdown)


def test_smoothed_labels_are_cross_entropy_with_a_spread_target() -> None:
    lm = tiny_model("causal")
    made = edits(lm)

    found = edit_losses(lm, made, batch(lm), smoothing=0.1)

    expected = []
    for group, probe in batch(lm).outer:
        values, labels, positions = logits(lm, made[group], str(probe.prompt), str(probe.answer))
        size = values.shape[1]
        target = torch.full((len(labels), size), 0.1 / (size - 1))
        target[range(len(labels)), labels] = 0.9
        expected.append(-(target * values[positions].log_softmax(1)).sum(1))
    assert float(found.smoothed.detach()) == close(mean_of_means(expected))
    assert float(found.edit.detach()) == close(mean_of_means(token_losses(lm, made)))


def test_a_step_without_locality_probes_has_no_divergence_to_learn_from() -> None:
    lm = tiny_model("causal")

    found = edit_losses(lm, edits(lm), replace(batch(lm), locality=()))

    assert torch.isnan(found.locality)
    assert torch.isnan(found.drawdown)
    assert torch.isfinite(found.edit)


def test_an_edit_that_changes_nothing_has_no_divergence_and_no_drawdown() -> None:
    lm = tiny_model("causal")

    found = edit_losses(lm, [WeightEdit(changes={})] * 2, batch(lm), positions="all")

    assert float(found.locality) == pytest.approx(0, abs=1e-6)
    assert float(found.drawdown) == 0


def test_success_and_drawdown_count_probes_of_which_every_token_is_right() -> None:
    lm = tiny_model("classifier")
    nothing = [WeightEdit(changes={})] * 2

    found = edit_losses(lm, nothing, batch(lm))

    right = [lm.answers(lm.batch([(p.prompt, p.answer)])).is_right().item() for _, p in batch(lm).outer]
    assert float(found.success) == pytest.approx(sum(right) / 3)


def test_gradients_flow_to_the_factors_of_both_losses() -> None:
    lm = tiny_model("causal")
    made = edits(lm)

    losses = edit_losses(lm, made, batch(lm))

    for loss in (losses.edit, losses.locality):
        grads = torch.autograd.grad(loss, [t for edit in made for t in edit.tensors], retain_graph=True)
        assert all(bool((grad != 0).any()) for grad in grads)


def test_the_total_weighs_the_two_losses() -> None:
    one = torch.ones(())
    losses = EditLosses(edit=2 * one, smoothed=5 * one, locality=3 * one, success=one, drawdown=0 * one)

    assert float(losses.weighted(c_edit=0.1).total) == pytest.approx(3.2)
    assert float(losses.weighted(c_edit=0.1, c_locality=2.0).total) == pytest.approx(6.2)
    summed = losses.summed(7 * one)
    assert [float(x) for x in (summed.total, summed.edit, summed.locality)] == [7, 2, 3]


def test_the_divergence_is_taken_from_the_unedited_to_the_edited() -> None:
    before, after = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])

    assert float(divergence(before, after)) != pytest.approx(float(divergence(after, before)))
