"""KE's gate gives the reference's numbers, and its original objective does what its code does."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.edit import State
from bench.editing.fit import FitScores
from bench.editing.gradients import TokenFactors
from bench.editing.objective import FitBatch
from bench.editing.request import ProbeKind
from bench.models.architecture import Matrix
from bench.models.generation import generate
from bench.models.language_model import LanguageModel
from bench.testing import tiny_cases, tiny_model

ke: Any = importlib.import_module("bench.methods.ke")
networks: Any = importlib.import_module("bench.methods._ke_networks")
constraint: Any = importlib.import_module("bench.methods._ke_constraint")
SMALL = {"lstm": 8, "condition": 8, "head": 4}


def editor(lm: LanguageModel, **changes: Any) -> Any:
    config = ke.KnowledgeEditorConfig(**SMALL, **changes)
    state = ke.KnowledgeEditor.initial_state(lm, config, torch.Generator().manual_seed(0))
    return ke.KnowledgeEditor(lm, config, state)


def batch(lm: LanguageModel, count: int) -> FitBatch:
    cases = tiny_cases(lm.kind, count)
    chosen = [(i, p) for i, case in enumerate(cases) for p in case.probes]
    return FitBatch(
        groups=tuple((case.request,) for case in cases),
        outer=tuple((i, p) for i, p in chosen if p.kind is not ProbeKind.LOCALITY),
        locality=tuple((i, p) for i, p in chosen if p.kind is ProbeKind.LOCALITY),
    )


def scores(success: float) -> FitScores:
    return FitScores(step=1, loss=0.0, edit=0.0, locality=0.0, success=success, drawdown=0.0)


def as_factors(gradient: Tensor) -> TokenFactors:
    """Write an (a, b) matrix G as Σ δ uᵀ with one unit vector u a column."""
    return TokenFactors(inputs=torch.eye(gradient.shape[1]), grads=gradient.T, counts=(gradient.shape[1],))


def golden_head(golden: dict[str, Tensor]) -> Any:
    """Make a head with the reference's weights."""
    head = networks.Head(6, 8, ke.KnowledgeEditorConfig(lstm=2, condition=3, head=4))
    with torch.no_grad():
        for ours, theirs in [(head.first, "ke/w/conditioners.0"), (head.second, "ke/w/conditioners.2")]:
            ours.bias.copy_(golden[f"{theirs}.bias"])
            ours.parametrizations.weight.original0.copy_(golden[f"{theirs}.weight_g"])
            ours.parametrizations.weight.original1.copy_(golden[f"{theirs}.weight_v"])
    return head


@pytest.mark.parametrize("is_transposed", [False, True])
@torch.no_grad()
def test_a_gated_update_is_the_references(golden: dict[str, Tensor], is_transposed: bool) -> None:
    n_in, n_out = (6, 8) if is_transposed else (8, 6)
    matrix = Matrix(
        name="m", module="m", in_features=n_in, out_features=n_out, is_transposed=is_transposed, stack=0, block=0
    )
    output = golden_head(golden)(golden["ke/cond"])
    gradient = golden["ke/grad"].T if is_transposed else golden["ke/grad"]  # as (out, in)

    (change,) = networks.masked(matrix, as_factors(gradient), output, max_scale=1.0)

    found = change.left @ change.right  # (in, out)
    torch.testing.assert_close(found if is_transposed else found.T, golden["ke/update"], rtol=1e-5, atol=1e-6)
    for rows in (output.mask_rows, output.offset_rows):
        assert float(rows.sum()) == pytest.approx(1, rel=1e-6)


@torch.no_grad()
def test_a_head_gives_the_references_numbers(golden: dict[str, Tensor]) -> None:
    output = golden_head(golden)(golden["ke/cond"])

    raw = golden["ke/raw_head"].split([8, 6, 8, 6, 1], dim=1)
    expected = [raw[0], raw[1].softmax(1), raw[2], raw[3].softmax(1), raw[4].sigmoid()]
    for found, wanted in zip(output, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_head_of_zeros_changes_nothing(golden: dict[str, Tensor]) -> None:
    head = golden_head(golden)
    head.second.bias.zero_()
    head.second.parametrizations.weight.original0.zero_()
    matrix = Matrix(name="m", module="m", in_features=8, out_features=6, is_transposed=False, stack=0, block=0)

    (change,) = networks.masked(matrix, as_factors(golden["ke/grad"]), head(golden["ke/cond"]), max_scale=1.0)

    assert bool((change.left @ change.right == 0).all())


@pytest.mark.parametrize(("fidelity", "is_learned"), [("paper", True), ("reference", False)])
def test_the_embedding_of_token_0_is_learned_or_stays(fidelity: str, is_learned: bool) -> None:
    lm = tiny_model("gpt2")
    encoder = editor(lm, fidelity=fidelity).networks["encoder"]

    encoder(torch.tensor([[0, 5]]), torch.tensor([2])).sum().backward()

    gradient = encoder.embedding.weight.grad
    assert bool((gradient[0] != 0).any()) is is_learned
    assert bool((gradient[5] != 0).any())
    assert torch.equal(encoder.embedding.weight, lm.input_embeddings)


# ------------------------------------------------------------------------------ the original objective


def test_the_original_loss_is_the_lagrangian_and_ascends_on_its_multiplier() -> None:
    made = constraint.Constraint(ke.KnowledgeEditorConfig(margin=0.5), torch.device("cpu"))
    edit, divergence = torch.tensor(2.0, requires_grad=True), torch.tensor(0.75, requires_grad=True)
    with torch.no_grad():
        made.multiplier.fill_(3.0)

    total = made.total(edit, divergence)
    of_edit, of_divergence, of_multiplier = torch.autograd.grad(total, [edit, divergence, made.multiplier])

    assert float(total.detach()) == pytest.approx(2 + 3 * 0.25)
    assert float(of_edit) == 1
    assert float(of_divergence) == 3
    assert float(of_multiplier) == -0.25


def test_a_multiplier_is_never_negative() -> None:
    made = editor(tiny_model("gpt2"), objective="original")
    with torch.no_grad():
        made.constraint.multiplier.fill_(-0.5)

    made.after_step(made.loss(batch(made.lm, 2), is_training=True))

    assert float(made.constraint.multiplier.detach()) == 0


def test_the_margin_falls_by_a_fifth_while_edits_succeed_and_not_below_the_least() -> None:
    made = editor(tiny_model("gpt2"), objective="original", margin=1e-3, least_margin=7e-4)
    margins = []

    for success in (0.9, 0.91, 0.91, 0.5):
        made.after_validation(scores(success))
        margins.append(float(made.constraint.margin))

    assert margins == pytest.approx([1e-3, 8e-4, 7e-4, 7e-4])


def test_the_rate_rises_for_a_share_of_the_steps_and_then_falls_to_nought() -> None:
    made = editor(tiny_model("gpt2"), objective="original", steps=200, warm_up=0.05)

    factors = [made.schedule(step) for step in (0, 5, 10, 105, 200)]

    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert editor(tiny_model("gpt2")).schedule(5) is None


def test_the_multiplier_has_a_rate_of_its_own_in_one_centred_rmsprop() -> None:
    made = editor(tiny_model("gpt2"), objective="original", lr=3e-4, multiplier_lr=0.1)

    optimiser = made.optimiser(made.outer_parameters())

    assert isinstance(optimiser, torch.optim.RMSprop)
    assert [(group["lr"], group["centered"]) for group in optimiser.param_groups] == [(3e-4, True), (0.1, True)]
    assert optimiser.param_groups[1]["params"] == [made.constraint.multiplier]


def test_an_edit_is_followed_on_the_request_and_one_rephrase() -> None:
    lm = tiny_model("gpt2")

    rewritten = constraint.OwnAnswers(lm).rewritten(batch(lm, 2))

    kinds = [(group, probe.kind) for group, probe in rewritten.outer]
    assert kinds == [(g, k) for g in (0, 1) for k in (ProbeKind.REQUEST, ProbeKind.REPHRASE)]
    assert [probe.answer for _, probe in rewritten.outer] == [r[0].target for r in rewritten.groups for _ in range(2)]


@pytest.mark.parametrize("kind", ["seq2seq", "classifier"])
def test_the_divergence_is_taken_along_the_models_own_answers(kind: str) -> None:
    lm = tiny_model(kind)
    given = batch(lm, 2)

    rewritten = constraint.OwnAnswers(lm).rewritten(given)

    said = generate(lm, [probe.prompt for _, probe in given.locality])
    expected = [text or probe.answer for text, (_, probe) in zip(said, given.locality, strict=True)]
    assert [probe.answer for _, probe in rewritten.locality] == expected


def test_labels_are_smoothed_but_not_those_of_a_classifier() -> None:
    causal, classifier = tiny_model("causal"), tiny_model("classifier")

    def gap(lm: LanguageModel) -> float:
        given = batch(lm, 2)
        plain, smooth = (
            editor(lm, objective="original", label_smoothing=share).loss(given, is_training=False)
            for share in (0.0, 0.3)
        )
        assert torch.equal(plain.edit, smooth.edit)
        return abs(float(plain.total.detach() - smooth.total.detach()))

    assert gap(causal) > 1e-3
    assert gap(classifier) == 0


def test_a_fit_that_goes_on_has_the_multiplier_the_margin_and_the_answers() -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, objective="original")
    made.loss(batch(lm, 2), is_training=True)
    with torch.no_grad():
        made.constraint.multiplier.fill_(0.25)
    made.after_validation(scores(1.0))
    kept = made.fit_state()

    again = ke.KnowledgeEditor(lm, made.config, made.state())
    again.resume(State(tensors=kept.tensors, values=json.loads(json.dumps(dict(kept.values)))))

    assert float(again.constraint.multiplier.detach()) == 0.25
    assert torch.equal(again.constraint.margin, made.constraint.margin)
    assert again.own_answers.said() == made.own_answers.said() != []
    assert torch.equal(
        again.loss(batch(lm, 2), is_training=True).total, made.loss(batch(lm, 2), is_training=True).total
    )
