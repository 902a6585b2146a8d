"""A ForwardEdit scores and speaks for its own rows, and leaves the others to the model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bench.editing.edit import Edit, ForwardEdit, LowRank, State, WeightEdit
from bench.editing.request import Text
from bench.editing.rowwise import Rowwise
from bench.errors import EditError
from bench.models.generation import generate
from bench.models.language_model import LanguageModel
from bench.testing import tiny_model

PROMPTS: list[Text] = ["The capital of Babaka is", "Babaka", "The seat of Bababa is", "Gufi"]


def speaking(heard: list[list[Text]]) -> ForwardEdit:
    """Say "hm" to one word, and nothing to more."""

    def respond(prompts: Sequence[Text]) -> list[str | None]:
        heard.append(list(prompts))
        return ["hm" if " " not in str(prompt) else None for prompt in prompts]

    return ForwardEdit(wrap=lambda batch, answers: answers, respond=respond)


def loud(lm: LanguageModel) -> WeightEdit:
    matrix = lm.matrices("last:1")[-1]
    return WeightEdit(
        changes={matrix.name: LowRank(torch.ones(matrix.in_features, 1), torch.ones(1, matrix.out_features))}
    )


def test_an_edit_says_what_it_has_to_say_and_the_model_says_the_rest() -> None:
    lm = tiny_model("causal")
    heard: list[list[Text]] = []
    edits: list[Edit] = [speaking(heard), loud(lm)]

    found = Rowwise(lm, edits).generate(PROMPTS, torch.tensor([0, 0, 1, -1]), max_new_tokens=4)

    plain = generate(lm, PROMPTS, max_new_tokens=4)
    weighted = Rowwise(lm, [loud(lm)]).generate([PROMPTS[2]], torch.tensor([0]), max_new_tokens=4)
    assert found == [plain[0], "hm", *weighted, plain[3]]
    assert heard == [PROMPTS[:2]]


def test_an_edit_without_rows_is_not_asked() -> None:
    lm = tiny_model("causal")
    heard: list[list[Text]] = []

    found = Rowwise(lm, [speaking(heard)]).generate(PROMPTS, torch.tensor([-1] * 4), max_new_tokens=3)

    assert found == generate(lm, PROMPTS, max_new_tokens=3)
    assert heard == []


def test_everything_can_be_said_without_the_model() -> None:
    lm = tiny_model("causal")

    assert Rowwise(lm, [speaking([])]).generate(["Babaka", "Gufi"], torch.tensor([0, 0])) == ["hm", "hm"]


def test_an_edit_that_can_not_speak_is_refused() -> None:
    edit = ForwardEdit(wrap=lambda batch, answers: answers)

    with pytest.raises(EditError, match="no free generation"):
        Rowwise(tiny_model("causal"), [edit]).generate(PROMPTS, torch.tensor([0] * 4))


def test_a_tensor_that_is_part_and_memory_counts_once() -> None:
    keys, other = torch.zeros(3), torch.zeros(5)

    edit = ForwardEdit(
        wrap=lambda batch, answers: answers, parts=(keys,), memory=State(tensors={"k": keys, "o": other})
    )

    assert edit.bytes == 4 * (3 + 5)
