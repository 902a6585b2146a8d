"""Fine-tuning gives what a plain loop with torch's own RMSprop gives."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.edit import Dense, State
from bench.editing.editor import PreparationData
from bench.editing.request import EditRequest
from bench.models.language_model import LanguageModel
from bench.models.measures import divergence
from bench.testing import tiny_cases, tiny_model

ft: Any = importlib.import_module("bench.methods.ft")


def editor(lm: LanguageModel, state: State | None = None, **changes: Any) -> Any:
    return ft.FineTune(lm, ft.FineTuneConfig(**{"lr": 1e-3, **changes}), state or State())


def request(lm: LanguageModel, number: int = 0) -> EditRequest:
    return tiny_cases(lm.kind, 1, start=number)[0].request


def edit(made: Any, *requests: EditRequest, seed: int = 0) -> dict[str, Tensor]:
    found = made.edit(list(requests), memory=None, generator=torch.Generator().manual_seed(seed))
    assert all(isinstance(change, Dense) for change in found.changes.values())
    return {name: change.delta for name, change in found.changes.items()}


def plain_loop(
    lm: LanguageModel, wanted: EditRequest, *, steps: int, lr: float = 1e-3, clip: float = 100.0, others: Any = None
) -> tuple[dict[str, Tensor], int]:
    """Train dense residuals as the reference does, and give them after the last step, and the number of steps."""
    start = {name: weight.detach() for name, weight in lm.leaves("default").items()}
    residual = {name: torch.zeros_like(weight).requires_grad_() for name, weight in start.items()}
    optimiser = torch.optim.RMSprop(residual.values(), lr=lr)
    asked = lm.batch([(wanted.prompt, wanted.target)])
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        weights = {name: start[name] + residual[name] for name in start}
        answers = lm.answers(asked, weights)
        if bool(answers.is_right().all()):
            return {name: value.detach() for name, value in residual.items()}, step
        loss = answers.loss()
        if others is not None:
            pair = others[int(torch.randint(len(others), (), generator=generator))]
            before, after = lm.answers(lm.batch([pair])), lm.answers(lm.batch([pair]), weights)
            loss = 1e-2 * loss + divergence(before.logits.detach(), after.logits).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(residual.values(), clip)
        optimiser.step()
    return {name: value.detach() for name, value in residual.items()}, steps


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        # RMSprop divides a gradient by its own size, so that rounding shows where it is next to nothing.
        gap = (found[name] - value).abs()
        assert float(gap.mean()) <= 1e-4 * float(value.abs().mean())


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_an_edit_is_that_of_a_plain_loop(kind: str) -> None:
    lm = tiny_model(kind)
    expected, steps = plain_loop(lm, request(lm), steps=5)

    assert steps > 0
    assert_close(edit(editor(lm, steps=5), request(lm)), expected)


def test_a_large_gradient_is_clipped_as_a_whole() -> None:
    lm = tiny_model("causal")

    expected, _ = plain_loop(lm, request(lm), steps=4, clip=1e-6)  # as small as what keeps RMSprop from dividing by 0

    assert_close(edit(editor(lm, steps=4, clip=1e-6), request(lm)), expected)


def test_the_divergence_is_taken_on_a_new_prompt_each_step() -> None:
    lm = tiny_model("causal")
    others = [("The largest river of Babaka is", "Bado"), ("Gufi has its capital at", "Kalo"), ("Lo", "Mi")]

    found = edit(editor(lm, State(values={"locality": others}), kl=True, steps=6, lr=1e-4), request(lm))

    expected, steps = plain_loop(lm, request(lm), steps=6, lr=1e-4, others=others)
    assert steps == 6
    assert_close(found, expected)


def test_plain_fine_tuning_prepares_nothing_and_with_kl_it_takes_locality_prompts() -> None:
    lm = tiny_model("causal")
    cases = tiny_cases("causal", 4)
    data = PreparationData(cases=cases, tune=[], texts=[], seed=0)

    plain = ft.FineTune.prepare(lm, ft.FineTuneConfig(), data)
    held = ft.FineTune.prepare(lm, ft.FineTuneConfig(kl=True), data)

    assert plain == State()
    probes = [(p.prompt, p.answer) for case in cases for p in case.probes if p.kind == "locality"]
    assert sorted(held.values["locality"]) == sorted(probes)


@pytest.mark.parametrize(("changes", "steps"), [({}, 3), ({"fidelity": "reference"}, 2), ({"last_step": "lost"}, 2)])
def test_the_last_step_is_kept_or_lost(changes: dict[str, Any], steps: int) -> None:
    lm = tiny_model("causal")

    found = edit(editor(lm, steps=3, lr=1e-6, **changes), request(lm))

    expected, taken = plain_loop(lm, request(lm), steps=steps, lr=1e-6)
    assert taken == steps
    assert_close(found, expected)


def test_the_reference_does_nothing_in_one_step() -> None:
    lm = tiny_model("causal")

    lost = edit(editor(lm, steps=1, fidelity="reference"), request(lm))
    kept = edit(editor(lm, steps=1), request(lm))

    assert not any(bool(change.any()) for change in lost.values())
    assert all(bool(change.any()) for change in kept.values())


def right_already(lm: LanguageModel) -> EditRequest:
    """Give a request for what the model says anyway."""
    wanted = request(lm)
    said = int(lm.answers(lm.batch([(wanted.prompt, wanted.target)])).logits[0].detach().argmax())
    prompt = lm.encoder.encode(wanted.prompt, wanted.target).input_ids
    first = len(lm.encoder.prompt_ids(wanted.prompt))
    return replace(wanted, prompt=prompt[:first], target=(said,))


def test_what_the_model_says_already_needs_no_step() -> None:
    lm = tiny_model("causal")

    found = edit(editor(lm), right_already(lm))

    assert not any(bool(change.any()) for change in found.values())


@pytest.mark.parametrize("limit", [1, 7])
def test_no_more_steps_than_the_limit_are_taken(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_model("causal")
    made = editor(lm, lr=1e-9, steps=limit)
    taken: list[int] = []
    step = made._step
    monkeypatch.setattr(made, "_step", lambda *parts: (taken.append(1), step(*parts)))

    edit(made, request(lm))

    assert len(taken) == limit


def test_edits_made_together_are_those_made_alone_whenever_each_is_done() -> None:
    lm = tiny_model("causal")
    made = editor(lm, lr=3e-3, steps=40)
    groups = [[right_already(lm)], [request(lm, 1)], [request(lm, 2), request(lm, 3)]]

    together = made.edit_each(groups, generators=[torch.Generator() for _ in groups])

    lengths = [plain_loop(lm, group[0], steps=40, lr=3e-3)[1] for group in groups[:2]]
    assert lengths[0] == 0 < lengths[1] < 40
    for group, found in zip(groups, together, strict=True):
        assert_close({n: c.delta for n, c in found.changes.items()}, edit(made, *group))


def test_the_loss_of_requests_together_is_a_mean_over_labels_or_a_sum_of_means() -> None:
    lm = tiny_model("causal")
    short, long = request(lm), replace(request(lm, 1), target="Babadofigu kalominu satedo")
    weights = lm.leaves("default")

    def first_step(reduction: str) -> dict[str, Tensor]:
        # a step so small a part of the clip that RMSprop's division leaves the direction as it is
        return edit(editor(lm, steps=1, lr=1e-2, clip=1e-9, reduction=reduction), short, long)

    pairs = [(r.prompt, r.target) for r in (short, long)]
    losses = {
        "mean_over_batch": lm.loss(pairs, weights),
        "per_edit_mean_sum": lm.loss(pairs[:1], weights) + lm.loss(pairs[1:], weights),
    }
    for reduction, loss in losses.items():
        grads = torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
        change = torch.cat([value.flatten() for value in first_step(reduction).values()])
        gradient = torch.cat([grad.flatten() for grad in grads])
        cosine = torch.nn.functional.cosine_similarity(-change, gradient, dim=0)
        assert float(cosine) > 0.9999
