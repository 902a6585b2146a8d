"""The cache answers what is near a request with its target, and nothing else."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.config import build_config
from bench.editing.edit import ForwardEdit, State
from bench.editing.editor import PreparationData
from bench.editing.request import EditRequest, Text
from bench.editing.rowwise import Rowwise
from bench.errors import DataError, EditError
from bench.models.answers import Answers
from bench.models.generation import generate
from bench.models.language_model import LanguageModel
from bench.testing import FAMILIES, tiny_cases, tiny_model

cache: Any = importlib.import_module("bench.methods.cache")
KINDS = ["causal", "seq2seq", "classifier"]
NEAR = 1e-3  # of keys of one prompt, whatever its batch


def editor(lm: LanguageModel, **changes: Any) -> Any:
    return cache.Cache(lm, cache.CacheConfig(**{"threshold": NEAR, **changes}), State())


def request(lm: LanguageModel, number: int = 0, **changes: Any) -> EditRequest:
    return replace(tiny_cases(lm.kind, 1, start=number)[0].request, **changes)


def edit(made: Any, *requests: EditRequest, memory: State | None = None) -> ForwardEdit:
    found = made.edit(list(requests), memory=memory, generator=torch.Generator())
    assert isinstance(found, ForwardEdit)
    return found


def scored(lm: LanguageModel, made: ForwardEdit, *pairs: tuple[Text, Text]) -> Answers:
    with torch.no_grad():
        return Rowwise(lm, [made]).answers(lm.batch(list(pairs)), torch.zeros(len(pairs), dtype=torch.long))


def spoken(lm: LanguageModel, made: ForwardEdit, *prompts: Text) -> list[str]:
    return Rowwise(lm, [made]).generate(list(prompts), torch.zeros(len(prompts), dtype=torch.long))


def key(lm: LanguageModel, prompt: Text) -> Tensor:
    """Give the mean of the last hidden states of a prompt alone in its batch."""
    ids = torch.tensor([lm.encoder.prompt_ids(prompt)])
    decoder = {"decoder_input_ids": ids} if lm.kind == "seq2seq" else {}
    with torch.no_grad():
        output = lm.model(input_ids=ids, output_hidden_states=True, **decoder)
    states = output.encoder_last_hidden_state if decoder else output.hidden_states[-1]
    mean: Tensor = states[0].mean(0)
    return mean


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_is_the_mean_of_the_last_states_of_the_prompt_without_padding(family: str) -> None:
    lm = tiny_model(family)
    cases = tiny_cases(lm.kind, 2)
    prompts = [str(probe.prompt) for case in cases for probe in case.probes]

    found = cache._keys(lm, lm.batch([(p.prompt, p.answer) for case in cases for p in case.probes]))

    for index, prompt in enumerate(prompts):
        torch.testing.assert_close(found[index], key(lm, prompt), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_gets_its_target_and_other_prompts_the_models_answer(kind: str) -> None:
    lm = tiny_model(kind)
    wanted, other = request(lm), request(lm, 1)
    made = edit(editor(lm), wanted)

    hit = scored(lm, made, (wanted.prompt, wanted.target), (other.prompt, other.target))

    plain = lm.answers(lm.batch([(wanted.prompt, wanted.target), (other.prompt, other.target)]), is_sparse=True)
    is_request = hit.rows == 0
    assert bool(hit.is_right()[is_request].all())
    assert torch.equal(hit.logits[~is_request], plain.logits[~is_request])


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_a_hit_has_one_hot_logits(scale: float) -> None:
    lm = tiny_model("causal")
    wanted = request(lm)

    hit = scored(lm, edit(editor(lm, scale=scale), wanted), (wanted.prompt, wanted.target))

    size = hit.logits.shape[1]
    expected = scale - math.log(math.exp(scale) + size - 1)
    assert hit.log_probs().tolist() == pytest.approx([expected] * len(hit.labels), rel=1e-5)
    assert hit.logits.sum(1).tolist() == [scale] * len(hit.labels)


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_behind_the_target_comes_the_end_of_text(kind: str) -> None:
    lm = tiny_model(kind)
    wanted = request(lm, target="Ka")
    longer = (wanted.prompt, "Ka do fi gu lo mi")

    said = scored(lm, edit(editor(lm), wanted), longer).logits.argmax(1).tolist()

    own = lm.encoder.encode(wanted.prompt, "Ka").labels
    end = lm.tokenizer.eos_token_id
    assert said == [*own, *[end] * (len(said) - len(own))]
    assert len(said) > len(own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hit_says_the_target_and_otherwise_the_model_speaks(kind: str) -> None:
    lm = tiny_model(kind)
    wanted, other = request(lm), request(lm, 1)
    made = edit(editor(lm), wanted)

    found = spoken(lm, made, other.prompt, wanted.prompt)

    assert found == [generate(lm, [other.prompt])[0], wanted.target]


def test_a_target_of_ids_is_said_as_text() -> None:
    lm = tiny_model("causal")
    wanted = request(lm, prompt=(5, 6, 7), target=lm.encoder.prompt_ids(" Kado"))

    assert spoken(lm, edit(editor(lm), wanted), (5, 6, 7)) == ["Kado"]


def test_of_many_requests_the_nearest_wins() -> None:
    lm = tiny_model("causal")
    several = [request(lm, number) for number in range(4)]
    made = edit(editor(lm, threshold=1e6), *several)

    assert spoken(lm, made, *(one.prompt for one in several)) == [one.target for one in several]
    keys = torch.stack([key(lm, one.prompt) for one in several])
    elsewhere = "Nulo is a place"
    nearest = int((keys - key(lm, elsewhere)).norm(dim=1).argmin())
    assert spoken(lm, made, elsewhere) == [several[nearest].target]


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_of_a_sequence_holds_all_requests_and_survives_being_stored(kind: str) -> None:
    lm = tiny_model(kind)
    made = editor(lm)
    first, second = request(lm), request(lm, 1)
    memory = edit(made, first).memory
    assert memory is not None
    stored = State(tensors=memory.tensors, values=json.loads(json.dumps(dict(memory.values))))

    both = edit(editor(lm), second, memory=stored)

    assert spoken(lm, both, first.prompt, second.prompt) == [first.target, second.target]
    assert bool(scored(lm, both, (first.prompt, first.target), (second.prompt, second.target)).is_right().all())


@pytest.mark.parametrize("is_together", [True, False])
def test_a_prompt_that_is_edited_again_gets_the_later_target(is_together: bool) -> None:
    lm = tiny_model("causal")
    old, new = request(lm, target="Kado"), request(lm, target="Fi", id="again")
    made = editor(lm)

    later = edit(made, old, new) if is_together else edit(made, new, memory=edit(made, old).memory)

    assert spoken(lm, later, old.prompt) == ["Fi"]
    assert len(later.tensors[0]) == 1


def test_an_edit_counts_its_keys_and_labels_once() -> None:
    lm = tiny_model("causal")
    wanted = request(lm)

    width, tokens = lm.input_embeddings.shape[1], len(lm.encoder.encode(wanted.prompt, wanted.target).labels)
    assert edit(editor(lm), wanted).bytes == 4 * width + 8 * tokens


def test_no_request_is_refused() -> None:
    with pytest.raises(EditError, match="no request"):
        edit(editor(tiny_model("causal")))


# --------------------------------------------------------------------------------------- the distance


def test_the_fitted_distance_lies_between_what_is_near_and_what_is_far() -> None:
    near, far = torch.tensor([0.0, 1.0, 2.0, 9.0]), torch.tensor([3.0, 8.0, 10.0])

    assert float(cache._dividing(near, far)) == pytest.approx(2.5)


def test_a_request_is_near_itself_even_if_its_rephrases_are_farther_than_all_others() -> None:
    near, far = torch.tensor([0.0, 0.0, 5.0, 6.0]), torch.tensor([1.0, 1.5, 2.0])

    assert float(cache._dividing(near, far)) == pytest.approx(0.5)


def test_without_a_threshold_the_distance_is_fitted_on_the_fit_split() -> None:
    lm = tiny_model("causal")
    data = PreparationData(cases=tiny_cases("causal", 12), tune=[], texts=[], seed=0)

    state = cache.Cache.prepare(lm, cache.CacheConfig(), data)

    assert float(state.tensors["threshold"]) > 0
    assert cache.Cache(lm, cache.CacheConfig(), state).threshold == float(state.tensors["threshold"])
    half = cache.Cache(lm, cache.CacheConfig(factor=0.5), state)
    assert half.threshold == float(state.tensors["threshold"]) / 2


def test_a_given_threshold_needs_no_preparation() -> None:
    lm = tiny_model("causal")
    data = PreparationData(cases=[], tune=[], texts=[], seed=0)

    assert cache.Cache.prepare(lm, cache.CacheConfig(threshold=3.0), data) == State()
    assert editor(lm, threshold=3.0, factor=2.0).threshold == 6.0


def test_a_fit_split_without_locality_probes_is_refused() -> None:
    bare = [replace(case, probes=case.probes[:3]) for case in tiny_cases("causal", 3)]
    data = PreparationData(cases=bare, tune=[], texts=[], seed=0)

    with pytest.raises(DataError, match="set threshold"):
        cache.Cache.prepare(tiny_model("causal"), cache.CacheConfig(), data)


@pytest.mark.parametrize(("preset", "threshold"), [("fever", 6.5), ("zsre", 3.0), ("wikitext", 2.5)])
def test_the_papers_distances_are_presets(preset: str, threshold: float) -> None:
    made = build_config(cache.CacheConfig, {"preset": preset}, owner="cache", presets=cache.Cache.presets)

    assert made.threshold == threshold
