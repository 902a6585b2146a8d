"""Free generation is greedy, does not depend on its batch, and stops where the text ends."""

from __future__ import annotations

import pytest
import torch

from bench.errors import DataError
from bench.models.encoding import Text
from bench.models.generation import generate
from bench.models.language_model import LanguageModel
from bench.testing import FAMILIES, tiny_model

PROMPTS: list[Text] = ["The capital of Babaka is", "Babaka", "The largest river of Bababa and of Babadola is", "is"]


def greedy(lm: LanguageModel, prompt: Text, steps: int) -> str:
    """Take the most probable token again and again, without transformers' generation."""
    ids = list(lm.encoder.prompt_ids(prompt))
    written: list[int] = []
    for _ in range(steps):
        if lm.kind == "causal":
            logits = lm.model(input_ids=torch.tensor([ids + written])).logits
        else:
            start = [lm.encoder.decoder_start]
            logits = lm.model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([start + written])).logits
        written.append(int(logits[0, -1].argmax()))
        if written[-1] == lm.tokenizer.eos_token_id:
            break
    return str(lm.tokenizer.decode(written, skip_special_tokens=True)).strip().split("\n")[0]


GENERATING = [name for name, family in FAMILIES.items() if family.kind != "classifier"]


@pytest.mark.parametrize("family", GENERATING)
def test_a_batch_says_what_each_prompt_says_alone(family: str) -> None:
    lm = tiny_model(family)

    together = generate(lm, PROMPTS, max_new_tokens=5)

    with torch.no_grad():
        assert together == [greedy(lm, prompt, 5) for prompt in PROMPTS]


@pytest.mark.parametrize("family", ["gpt2", "t5_gated"])
def test_generation_stops_at_the_end_of_text(family: str) -> None:
    lm = tiny_model(family)
    _say_end_first(lm, PROMPTS[0])

    said = generate(lm, PROMPTS, max_new_tokens=5)

    assert said[0] == ""
    assert any(said[1:])


def test_a_row_that_ended_early_says_nothing_more_without_a_padding_token() -> None:
    lm = tiny_model("gpt2")
    _say_end_first(lm, PROMPTS[0])
    with_padding = generate(lm, PROMPTS, max_new_tokens=5)

    lm.tokenizer.pad_token = None
    lm.model.generation_config.pad_token_id = None

    # Token 0, as a stand-in, would be readable text in GPT-2's own tokenizer.
    assert generate(lm, PROMPTS, max_new_tokens=5) == with_padding


def test_a_classifier_says_the_name_of_its_label() -> None:
    assert set(generate(tiny_model("bert"), PROMPTS)) <= {"false", "true"}


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_a_prompt_that_leaves_no_room_is_refused(family: str) -> None:
    with pytest.raises(DataError, match="at most 64"):
        generate(tiny_model(family), [(5,) * 63 if family == "gpt2" else (5,) * 65], max_new_tokens=5)


def test_no_prompt_says_nothing() -> None:
    assert generate(tiny_model("gpt2"), []) == []


def _say_end_first(lm: LanguageModel, prompt: Text) -> None:
    """Exchange the scores of the end-of-text token and of what the model says first."""
    first, end = _first_token(lm, prompt), lm.tokenizer.eos_token_id
    weight = lm.model.get_output_embeddings().weight.data
    weight[[first, end]] = weight[[end, first]]


def _first_token(lm: LanguageModel, prompt: Text) -> int:
    ids = lm.encoder.prompt_ids(prompt)
    with torch.no_grad():
        if lm.kind == "causal":
            return int(lm.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        start = torch.tensor([[lm.encoder.decoder_start]])
        return int(lm.model(input_ids=torch.tensor([ids]), decoder_input_ids=start).logits[0, -1].argmax())
