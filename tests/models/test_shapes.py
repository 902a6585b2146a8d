"""Random weights have the shape of the published model; only then are their costs those of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from bench.errors import ModelError
from bench.models import catalogue
from bench.models.architecture import find_architecture
from bench.models.catalogue import find_model, random_models
from bench.models.kind import ModelKind
from bench.models.loading import identify_model, load_model
from bench.models.random_weights import random_model
from bench.models.shapes import SHAPES, Shape

# As the checkpoints on the hub have them (safetensors' own count, shared ones once); BERT's with two labels.
PUBLISHED = {
    "distilgpt2": 81_912_576,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt-neo-1.3b": 1_315_575_808,
    "gpt-neo-2.7b": 2_651_307_520,
    "gpt-j-6b": 6_050_882_784,
    "llama-1b": 1_100_048_384,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "t5-small": 76_961_152,
    "t5-large": 783_150_080,
    "t5-xl": 2_849_757_184,
    "t5-xxl": 11_135_332_352,
    "bart-base": 139_420_416,
    "bart-large": 406_291_456,
    "bert-base": 109_483_778,
    "bert-large": 335_143_938,
}


def tiny(name: str, **settings: object) -> Shape:
    """Give a shape of the family of a known one, small enough for a test."""
    return replace(SHAPES[name], name=f"tiny-{name}", settings=dict(SHAPES[name].settings) | settings)


TINY = {
    "tiny-gpt2": tiny("gpt2", n_embd=16, n_layer=3, n_head=2, vocab_size=5000),
    "tiny-t5-small": tiny("t5-small", d_model=16, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2),
    "tiny-bert-base": tiny(
        "bert-base", hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    ),
}


@pytest.fixture
def tiny_shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "SHAPES", TINY)
    yield


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_shape_has_the_published_parameters_and_says_which_matrices_can_be_edited(name: str) -> None:
    shape = SHAPES[name]

    model, _ = random_model(shape, device="meta", dtype=torch.float32)

    architecture = find_architecture(model, shape.kind)
    assert architecture.parameters == shape.parameters == PUBLISHED[name]
    assert architecture.outline() == shape.matrices


def test_t5_v1_1_has_a_table_of_its_own_for_the_output() -> None:
    model, _ = random_model(SHAPES["t5-small"], device="meta", dtype=torch.float32)

    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert model.config.scale_decoder_outputs is False


@pytest.mark.parametrize("name", list(TINY))
def test_random_weights_answer_in_the_whole_vocabulary(name: str, tiny_shapes: None) -> None:
    lm = load_model(f"random:{name}")
    pairs = [("The capital of France is", "true" if lm.kind is ModelKind.CLASSIFIER else "Rome")]

    logits = lm.answers(lm.batch(pairs)).logits

    settings = TINY[name].settings
    assert logits.shape[1] == (2 if lm.kind is ModelKind.CLASSIFIER else settings["vocab_size"])
    assert logits.isfinite().all()
    assert len(lm.tokenizer) < settings["vocab_size"]


def test_random_weights_are_the_same_every_time_and_leave_the_global_random_state(tiny_shapes: None) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    first, second = load_model("random:tiny-gpt2"), load_model("random:tiny-gpt2")

    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.digest() == second.digest()
    assert first.identity == second.identity


def test_random_weights_are_drawn_in_the_dtype_asked_for(tiny_shapes: None) -> None:
    lm = load_model("random:tiny-gpt2", dtype="bf16")

    assert {parameter.dtype for parameter in lm.model.parameters()} == {torch.bfloat16}


def test_the_identity_depends_on_the_shape(tiny_shapes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identify_model("random:tiny-gpt2").identity
    monkeypatch.setattr(catalogue, "SHAPES", {"tiny-gpt2": tiny("gpt2", n_embd=16, n_layer=4, n_head=2)})

    assert identify_model("random:tiny-gpt2").identity != first


def test_a_shape_that_is_not_there_gets_the_nearest_one() -> None:
    with pytest.raises(ModelError, match=r"'random:gpt2-x': there is no such shape. Did you mean 'gpt2-xl'\?"):
        find_model("random:gpt2-x")


def test_the_shapes_are_listed_with_what_they_are() -> None:
    entries = random_models()

    assert list(entries) == [f"random:{name}" for name in PUBLISHED]
    assert entries["random:bert-base"].kind is ModelKind.CLASSIFIER
    assert entries["random:gpt2-xl"].parameters == 1_557_611_200
