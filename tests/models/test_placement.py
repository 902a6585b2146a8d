"""A model that accelerate has spread over devices is edited, replayed and scored like any other.

There is one device here, the CPU; what is tested is that nothing trips over accelerate's hooks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from bench import registry
from bench.editing.edit import LowRank, WeightEdit
from bench.editing.editor import PreparationData
from bench.editing.learned import LearnedEditor
from bench.editing.rowwise import Rowwise
from bench.editing.written import written
from bench.errors import ModelError
from bench.models.generation import generate
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.placement import check_placement, placement
from bench.testing import tiny_cases, tiny_model

FAMILIES = ("gpt2", "llama", "t5", "bart", "bert")


@pytest.fixture
def dispatched() -> Callable[[str], LanguageModel]:
    """Make a tiny model whose modules all carry accelerate's hooks, as `device_map="auto"` leaves them."""
    accelerate = pytest.importorskip("accelerate")

    def make(family: str) -> LanguageModel:
        lm = tiny_model(family)
        blocks = [block for stack in lm.architecture.stacks for block in stack.blocks]
        leaves = [name for name, module in lm.model.named_modules() if name and not list(module.children())]
        outside = [name for name in leaves if not name.startswith(tuple(f"{block}." for block in blocks))]
        loose = [name for name, _ in lm.model.named_buffers() if "." not in name]
        places = dict.fromkeys([*blocks, *outside, *loose], "cpu")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The following device_map keys do not match")  # loose buffers
            model = accelerate.dispatch_model(lm.model, device_map=places, main_device="cpu", force_hooks=True)
        assert all("_hf_hook" in vars(model.get_submodule(block)) for block in blocks)
        return replace(lm, model=model)

    return make


def pairs(lm: LanguageModel, count: int = 3) -> list[tuple[Any, Any]]:
    return [(case.request.prompt, case.request.target) for case in tiny_cases(lm.kind, count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_the_same(family: str, dispatched: Callable[[str], LanguageModel]) -> None:
    plain, spread = tiny_model(family), dispatched(family)

    expected = plain.answers(plain.batch(pairs(plain)))
    found = spread.answers(spread.batch(pairs(spread)))

    assert torch.equal(found.logits, expected.logits)
    assert spread.digest() == plain.digest()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_replayed_gives_the_same_answers_and_leaves_accelerates_hooks(
    family: str, dispatched: Callable[[str], LanguageModel]
) -> None:
    lm = dispatched(family)
    batch = lm.batch(pairs(lm))
    depths = tuple(len(stack.blocks) - 1 for stack in lm.architecture.stacks)
    forwards = {name: vars(module).get("forward") for name, module in lm.model.named_modules()}

    kept = lm.keep(batch, depths)
    replayed = lm.answers(batch, kept=kept)

    assert torch.equal(replayed.logits, lm.answers(batch).logits)
    assert all(output is not None for output in kept.outputs)
    assert {name: vars(module).get("forward") for name, module in lm.model.named_modules()} == forwards


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_flow_to_weights_that_stand_in_for_the_models_own(
    family: str, dispatched: Callable[[str], LanguageModel]
) -> None:
    grads = []
    for lm in (tiny_model(family), dispatched(family)):
        weights = lm.leaves("last:1")
        lm.loss(pairs(lm), weights).backward()
        grads.append([weight.grad for weight in weights.values()])

    for expected, found in zip(*grads, strict=True):
        assert expected is not None and found is not None
        assert torch.equal(found, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_has_the_same_effect_beside_the_weights_and_in_them(
    family: str, dispatched: Callable[[str], LanguageModel]
) -> None:
    lm = dispatched(family)
    matrix = lm.matrices("last:1")[-1]
    generator = torch.Generator().manual_seed(0)
    left, right = (
        0.3 * torch.randn(shape, generator=generator) for shape in ((matrix.in_features, 2), (2, matrix.out_features))
    )
    edit, batch = WeightEdit(changes={matrix.name: LowRank(left=left, right=right)}), lm.batch(pairs(lm))
    before = lm.digest()

    beside = Rowwise(lm, [edit]).answers(batch, torch.zeros(batch.size, dtype=torch.long)).logits
    with written(lm, edit):
        inside = lm.answers(batch).logits

    assert torch.allclose(beside, inside, atol=1e-5)
    assert not torch.allclose(beside, lm.answers(batch).logits, atol=1e-3)
    assert lm.digest() == before


@pytest.mark.parametrize("method", list(registry.plugins("methods")))
def test_every_editor_makes_the_edit_that_it_makes_of_a_plain_model(
    method: str, dispatched: Callable[[str], LanguageModel]
) -> None:
    cls = registry.load("methods", method)
    requests = [case.request for case in tiny_cases(ModelKind.CAUSAL, 2)]
    logits = []
    for lm in (tiny_model("gpt2"), dispatched("gpt2")):
        config = cls.Config()
        generator = torch.Generator().manual_seed(0)
        data = PreparationData(cases=tiny_cases(lm.kind, 4), tune=(), texts=(), seed=0)
        state = (
            cls.initial_state(lm, config, generator)
            if issubclass(cls, LearnedEditor)
            else cls.prepare(lm, config, data)
        )
        edit = cls(lm, config, state).edit(requests[:1], memory=None, generator=generator)
        batch = lm.batch([(edit.rewrite(r.prompt), r.target) for r in requests])
        answers = Rowwise(lm, [edit]).answers(batch, torch.zeros(2, dtype=torch.long))
        logits.append(answers.logits.detach())

    assert torch.allclose(*logits, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_it_speaks_the_same(family: str, dispatched: Callable[[str], LanguageModel]) -> None:
    prompts = [prompt for prompt, _ in pairs(tiny_model(family))]

    assert generate(dispatched(family), prompts) == generate(tiny_model(family), prompts)


@pytest.mark.parametrize("elsewhere", ["cpu", "disk"])
def test_a_part_that_is_not_on_a_gpu_is_refused_with_the_reason(elsewhere: str) -> None:
    model: PreTrainedModel = tiny_model("gpt2").model
    model.hf_device_map = {"transformer.h.0": 0, "transformer.h.1": 1, "transformer.h.2": elsewhere}

    with pytest.raises(
        ModelError, match=f"1 of its 3 parts, 'transformer.h.2' for one, would be kept on the {elsewhere}"
    ):
        check_placement("big", model, 2)


def test_a_model_that_is_wholly_on_gpus_is_accepted() -> None:
    model: PreTrainedModel = tiny_model("gpt2").model
    model.hf_device_map = {"transformer.h.0": 0, "transformer.h.1": "cuda:1"}

    check_placement("big", model, 2)


def test_one_gpu_needs_no_placement() -> None:
    assert placement(1) == {}


def test_several_gpus_need_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.placement.importlib.util.find_spec", lambda name: None)

    with pytest.raises(ModelError, match=r"needs accelerate.*editbench\[large\]"):
        placement(2)


def test_the_cpu_and_the_disk_are_offered_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")

    class Gpu:
        total_memory = 1000

    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: Gpu())

    assert placement(2) == {"device_map": "auto", "max_memory": {0: 900, 1: 900, "cpu": 0}}
