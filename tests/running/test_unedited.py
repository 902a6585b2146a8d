"""What the unedited model gave for a batch is computed for the first method only, as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.editing.edit import Edit, LowRank, PromptEdit, WeightEdit
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.running.measure import Measure
from bench.running.questions import Question, ask
from bench.running.scoring import measure_edited
from bench.running.unedited import Unedited
from bench.testing import tiny_cases, tiny_model

KINDS = [str(kind) for kind in ModelKind]


def change(lm: LanguageModel, seed: int) -> Edit:
    generator = torch.Generator().manual_seed(seed)
    matrix = lm.matrices("default")[-1]
    left, right = (
        torch.randn(shape, generator=generator) for shape in ((matrix.in_features, 1), (1, matrix.out_features))
    )
    return WeightEdit(changes={matrix.name: LowRank(0.1 * left, right)})


def measure(lm: LanguageModel, asked: list[Question], edit: Edit, unedited: Unedited | None) -> list[Measure]:
    owner = [0] * len(asked)
    return measure_edited(lm, asked, [edit], owner, application="factored", unedited=unedited)


@pytest.fixture
def blocks_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collects which way the model was asked: `keep` for lower blocks, `answers` for the unedited model."""
    calls: list[str] = []
    for name in ("keep", "answers"):
        real = getattr(LanguageModel, name)

        def counted(*arguments: object, _real: object = real, _name: str = name, **options: object) -> object:
            calls.append(_name)
            return _real(*arguments, **options)  # type: ignore[operator]  # either is a method

        monkeypatch.setattr(LanguageModel, name, counted)
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_method_gets_the_same_bits_as_if_it_were_alone(kind: str) -> None:
    lm = tiny_model(kind)
    asked = ask(tiny_cases(kind, 4))
    unedited = Unedited(lm)
    measure(lm, asked, change(lm, 1), unedited)

    assert measure(lm, asked, change(lm, 2), unedited) == measure(lm, asked, change(lm, 2), None)


def test_a_second_method_does_not_ask_the_unedited_model_again(blocks_run: list[str]) -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 4))
    unedited = Unedited(lm)
    measure(lm, asked, change(lm, 1), unedited)
    first = len(blocks_run)
    del blocks_run[:]

    measure(lm, asked, change(lm, 2), unedited)

    assert first == 5  # lower blocks and edited answers of two batches, unedited answers of the one that is compared
    assert blocks_run == ["answers", "answers"]


def test_what_does_not_fit_is_computed_again(blocks_run: list[str]) -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 4))
    unedited = Unedited(lm, most_bytes=0)
    measure(lm, asked, change(lm, 1), unedited)
    first = list(blocks_run)
    del blocks_run[:]

    measure(lm, asked, change(lm, 1), unedited)

    assert blocks_run == first


def test_an_edit_of_other_blocks_or_of_prompts_takes_nothing_that_is_not_its_own() -> None:
    lm = tiny_model("causal")
    asked = ask(tiny_cases("causal", 4))
    unedited = Unedited(lm)
    measure(lm, asked, change(lm, 1), unedited)
    lowest = lm.matrices("all")[0]
    ones = LowRank(torch.ones(lowest.in_features, 1), torch.ones(1, lowest.out_features))
    deep = WeightEdit(changes={lowest.name: ones})
    rewriting = PromptEdit(replace=lambda prompt: "w1 w2 " + prompt if isinstance(prompt, str) else prompt)

    for edit in (deep, rewriting):
        assert measure(lm, asked, edit, unedited) == measure(lm, asked, edit, None)
