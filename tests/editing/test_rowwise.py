"""Each row of a batch runs under its own edit, exactly as if that edit were written into the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from bench.editing.edit import (
    Change,
    Dense,
    Edit,
    ForwardEdit,
    LowRank,
    ModuleEdit,
    PromptEdit,
    Replacement,
    Rows,
    WeightEdit,
)
from bench.editing.rowwise import Rowwise
from bench.editing.written import written
from bench.errors import EditError
from bench.models.answers import Answers
from bench.models.encoding import Batch, Text
from bench.models.generation import generate
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import wrap_model
from bench.testing import FAMILIES, tiny_cases, tiny_model, tiny_tokenizer

GENERATING = [name for name, family in FAMILIES.items() if family.kind != "classifier"]


def draw(seed: int, *shape: int) -> Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank_edit(lm: LanguageModel, seed: int, layers: str = "last:2", rank: int = 2) -> WeightEdit:
    changes: dict[str, Change] = {
        m.name: LowRank(draw(seed + i, m.in_features, rank), draw(seed - i, rank, m.out_features))
        for i, m in enumerate(lm.matrices(layers))
    }
    return WeightEdit(changes=changes)


def dense_edit(lm: LanguageModel, seed: int, layers: str = "last:1") -> WeightEdit:
    names = [m.name for m in lm.matrices(layers)]
    names += [name for m in lm.matrices(layers) if (name := f"{m.module}.bias") in dict(lm.model.named_parameters())]
    return WeightEdit(changes={n: Dense(draw(seed, *lm.model.get_parameter(n).shape)) for n in names})


def batch(lm: LanguageModel, cases: int = 2) -> Batch:
    return lm.batch([(probe.prompt, probe.answer) for case in tiny_cases(lm.kind, cases) for probe in case.probes])


def logits(answers: Answers, row: int) -> Tensor:
    return answers.logits[answers.rows == row]


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def _opt() -> LanguageModel:
    """Make a tiny OPT, whose MLP sees (B · T, features)."""
    tokenizer = tiny_tokenizer("<s>")
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = OPTForCausalLM(config)
    return wrap_model(model, tokenizer, ModelKind.CAUSAL, name="tiny-opt", identity="tiny-opt")


def no_hooks(lm: LanguageModel) -> bool:
    return not any(module._forward_hooks or module._forward_pre_hooks for module in lm.model.modules())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_mixed_rows_equal_the_written_edits(family: str) -> None:
    lm = tiny_model(family)
    edits = [low_rank_edit(lm, 1), dense_edit(lm, 2), low_rank_edit(lm, 3, "last:1", rank=5)]
    rows = batch(lm)
    edit_of_row = torch.tensor([0, 1, -1, 2, 0, 1, 2, -1, 0, 1])

    found = Rowwise(lm, edits).answers(rows, edit_of_row)

    plain = lm.answers(rows)
    for index, edit in enumerate(edits):
        with written(lm, edit):
            expected = lm.answers(rows)
        for row in (edit_of_row == index).nonzero().squeeze(1).tolist():
            assert_close(logits(found, row), logits(expected, row))
            assert not torch.equal(logits(found, row), logits(plain, row))


@pytest.mark.parametrize("edit_of_row", [[0, 1, 2], [2, 0, 1], [1, 1, 1], [-1, 0, 2]])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_dense_changes_that_lie_side_by_side_are_those_of_separate_edits(family: str, edit_of_row: list[int]) -> None:
    lm = tiny_model(family)
    changes = {m.name: draw(m.block, 3, *lm.model.get_parameter(m.name).shape) for m in lm.matrices("last:1")}
    edits = [WeightEdit(changes={name: Dense(values[i]) for name, values in changes.items()}) for i in range(3)]
    changes = {name: values.clone().requires_grad_() for name, values in changes.items()}
    rows = batch(lm).select(torch.arange(3))
    stacked = Rowwise.stacked(lm, changes)

    found = stacked.answers(rows, torch.tensor(edit_of_row))

    expected = Rowwise(lm, edits).answers(rows, torch.tensor(edit_of_row))
    assert_close(found.logits.detach(), expected.logits)
    assert stacked.depths == Rowwise(lm, edits).depths
    grads = torch.autograd.grad(found.log_probs().sum(), list(changes.values()))
    used = {row for row in edit_of_row if row >= 0}
    assert all({i for i in range(3) if bool((grad[i] != 0).any())} == used for grad in grads)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_rows_without_an_edit_are_unchanged_bit_for_bit(family: str) -> None:
    lm = tiny_model(family)
    rows = batch(lm)
    edit_of_row = torch.tensor([0, -1] * 5)

    found = Rowwise(lm, [low_rank_edit(lm, 1), dense_edit(lm, 2)]).answers(rows, edit_of_row)

    plain = lm.answers(rows)
    for row in range(1, 10, 2):
        assert torch.equal(logits(found, row), logits(plain, row))


@pytest.mark.parametrize("edit_of_row", [torch.zeros(10, dtype=torch.long), torch.tensor([0, -1] * 5)])
@torch.no_grad()
def test_a_model_that_joins_rows_and_tokens_is_edited_by_rows(edit_of_row: Tensor) -> None:
    lm = _opt()
    edit, rows = low_rank_edit(lm, 1), batch(lm)

    found = Rowwise(lm, [edit]).answers(rows, edit_of_row)

    plain = lm.answers(rows)
    with written(lm, edit):
        changed = lm.answers(rows)
    for row, index in enumerate(edit_of_row.tolist()):
        assert_close(logits(found, row), logits(plain if index < 0 else changed, row))


@torch.no_grad()
def test_low_rank_and_dense_changes_of_one_edit_work_together() -> None:
    lm = tiny_model("gpt2")
    edit = WeightEdit(changes={**low_rank_edit(lm, 1).changes, **dense_edit(lm, 2).changes})
    rows = batch(lm)

    found = Rowwise(lm, [edit]).answers(rows, torch.zeros(rows.size, dtype=torch.long))

    with written(lm, edit):
        assert_close(found.logits, lm.answers(rows).logits)


@torch.no_grad()
def test_an_edit_without_a_change_changes_nothing() -> None:
    lm = tiny_model("gpt2")
    rows = batch(lm)

    found = Rowwise(lm, [WeightEdit(changes={})]).answers(rows, torch.zeros(rows.size, dtype=torch.long))

    assert torch.equal(found.logits, lm.answers(rows).logits)


@torch.no_grad()
def test_a_change_of_rank_nought_changes_nothing() -> None:
    lm = tiny_model("gpt2")
    rows = batch(lm)

    edit = low_rank_edit(lm, 1, rank=0)
    found = Rowwise(lm, [edit]).answers(rows, torch.zeros(rows.size, dtype=torch.long))

    assert torch.equal(found.logits, lm.answers(rows).logits)


@pytest.mark.parametrize("family", ["gpt2", "t5", "bert"])
def test_gradients_flow_to_the_factors_as_through_written_weights(family: str) -> None:
    lm = tiny_model(family)
    matrix = lm.matrices("last:1")[0]
    left = draw(1, matrix.in_features, 2).requires_grad_()
    right = draw(2, 2, matrix.out_features).requires_grad_()
    rows = batch(lm)

    edit = WeightEdit(changes={matrix.name: LowRank(left, right)})
    loss = Rowwise(lm, [edit]).answers(rows, torch.zeros(rows.size, dtype=torch.long)).loss()
    found = torch.autograd.grad(loss, [left, right])

    delta = left @ right if matrix.is_transposed else (left @ right).T
    changed = {matrix.name: lm.model.get_parameter(matrix.name) + delta}
    expected = torch.autograd.grad(lm.answers(rows, changed).loss(), [left, right])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("family", GENERATING)
def test_generation_under_rowwise_edits_equals_that_of_the_written_ones(family: str) -> None:
    lm = tiny_model(family)
    edits = [low_rank_edit(lm, 1), dense_edit(lm, 2)]
    prompts: list[Text] = ["The capital of Babaka is", "Babaka", "The seat of Bababa is"]

    found = Rowwise(lm, edits).generate(prompts, torch.tensor([1, -1, 0]), max_new_tokens=5)

    plain = generate(lm, prompts, max_new_tokens=5)
    with written(lm, edits[0]):
        first = generate(lm, prompts, max_new_tokens=5)
    with written(lm, edits[1]):
        second = generate(lm, prompts, max_new_tokens=5)
    assert found == [second[0], plain[1], first[2]]


def test_a_replacement_is_refused() -> None:
    lm = tiny_model("gpt2")
    name = lm.matrices("last:1")[0].name
    edit = WeightEdit(changes={name: Replacement(lm.model.get_parameter(name).data)})

    with pytest.raises(EditError, match="can only be written"):
        Rowwise(lm, [edit])


@pytest.mark.parametrize("name", ["transformer.wte.weight", "transformer.ln_f.weight"])
def test_a_parameter_that_is_no_linear_map_is_refused(name: str) -> None:
    lm = tiny_model("gpt2")
    edit = WeightEdit(changes={name: Dense(torch.zeros_like(lm.model.get_parameter(name)))})

    with pytest.raises(EditError, match="no Linear or Conv1D"):
        Rowwise(lm, [edit])


@pytest.mark.parametrize("name", ["transformer.h.9.mlp.c_fc.weight", "nothing"])
def test_an_unknown_parameter_is_refused(name: str) -> None:
    with pytest.raises(EditError, match=name):
        Rowwise(tiny_model("gpt2"), [WeightEdit(changes={name: Dense(torch.zeros(2, 2))})])


@pytest.mark.parametrize("change", [Dense(torch.zeros(3, 4)), LowRank(torch.zeros(3, 1), torch.zeros(1, 4))])
def test_a_change_of_another_shape_is_refused(change: Change) -> None:
    lm = tiny_model("gpt2")

    with pytest.raises(EditError, match="shape"):
        Rowwise(lm, [WeightEdit(changes={lm.matrices("last:1")[0].name: change})])


def test_hooks_are_removed_after_an_exception() -> None:
    lm = tiny_model("gpt2")

    def fail(output: Tensor, inputs: Tensor, rows: Rows) -> Tensor:
        raise RuntimeError("on purpose")

    broken = ModuleEdit(patches={"transformer.h.2": fail})
    rows = batch(lm)
    with pytest.raises(RuntimeError, match="on purpose"):
        Rowwise(lm, [low_rank_edit(lm, 1), broken]).answers(rows, torch.tensor([0, 1] * 5))

    assert no_hooks(lm)


@torch.no_grad()
def test_a_module_edit_patches_its_rows_at_the_end_of_their_prompts() -> None:
    lm = tiny_model("gpt2")
    seen: list[Rows] = []

    def patch(output: Tensor, inputs: Tensor, rows: Rows) -> Tensor:
        seen.append(rows)
        changed = output.clone()
        changed[torch.arange(len(rows.index)), rows.prompt_end] += 1.0
        return changed

    rows = batch(lm)
    edit_of_row = torch.tensor([0, -1] * 5)
    found = Rowwise(lm, [ModuleEdit(patches={"transformer.h.1.mlp": patch})]).answers(rows, edit_of_row)

    plain = lm.answers(rows)
    assert seen[0].index.tolist() == [0, 2, 4, 6, 8]
    assert torch.equal(seen[0].prompt_end, rows.prompt_end[::2])
    assert torch.equal(seen[0].attention_mask, rows.attention_mask[::2])
    for row in range(10):
        assert torch.equal(logits(found, row), logits(plain, row)) is (row % 2 == 1)
    assert no_hooks(lm)


@torch.no_grad()
def test_a_module_edit_patches_a_module_that_is_called_by_keyword() -> None:
    lm = tiny_model("llama")
    rows = batch(lm)
    edit = ModuleEdit(patches={"model.layers.1.self_attn": lambda output, inputs, rows: output + inputs})

    found = Rowwise(lm, [edit]).answers(rows, torch.zeros(rows.size, dtype=torch.long))

    assert not torch.equal(found.logits, lm.answers(rows).logits)


@torch.no_grad()
def test_a_forward_edit_wraps_the_scoring_of_its_rows() -> None:
    lm = tiny_model("gpt2")

    def always_first_token(part: Batch, answers: Answers) -> Answers:
        assert part.size == answers.size == 5
        assert torch.equal(part.labels, answers.labels)
        changed = torch.zeros_like(answers.logits)
        changed[:, 0] = 9.0
        return Answers(logits=changed, labels=answers.labels, rows=answers.rows, size=answers.size)

    rows = batch(lm)
    found = Rowwise(lm, [ForwardEdit(wrap=always_first_token)]).answers(rows, torch.tensor([0, -1] * 5))

    plain = lm.answers(rows)
    assert set(logits(found, 2).argmax(1).tolist()) == {0}
    assert torch.equal(logits(found, 3), logits(plain, 3))


def test_a_forward_edit_does_not_speak_for_itself() -> None:
    lm = tiny_model("gpt2")
    edit = ForwardEdit(wrap=lambda part, answers: answers)

    with pytest.raises(EditError, match="no free generation"):
        Rowwise(lm, [edit]).generate(["Babaka"], torch.tensor([0]))


@torch.no_grad()
def test_a_prompt_edit_rewrites_what_the_model_reads() -> None:
    lm = tiny_model("gpt2")
    fact = "The capital of Babaka is Babami. "
    edit = PromptEdit(replace=lambda prompt: fact + prompt if isinstance(prompt, str) else prompt)
    case = tiny_cases("causal", 1)[0]

    rewritten = lm.batch([(edit.rewrite(case.request.prompt), case.request.target)])
    found = Rowwise(lm, [edit]).answers(rewritten, torch.zeros(1, dtype=torch.long))

    expected = lm.answers(lm.batch([(f"{fact}{case.request.prompt}", case.request.target)]), is_sparse=True)
    assert torch.equal(found.logits, expected.logits)


@pytest.mark.parametrize(
    ("edit", "is_exportable"),
    [
        (WeightEdit(changes={}), True),
        (ModuleEdit(patches={}), False),
        (ForwardEdit(wrap=lambda part, answers: answers), False),
        (PromptEdit(replace=lambda prompt: prompt), False),
    ],
)
def test_only_changes_of_weights_can_be_exported(edit: Edit, is_exportable: bool) -> None:
    assert edit.is_exportable is is_exportable


def test_bytes_and_finiteness_of_an_edit_are_those_of_its_tensors() -> None:
    edit = WeightEdit(changes={"a": LowRank(torch.zeros(4, 1), torch.zeros(1, 3)), "b": Dense(torch.zeros(5))})
    broken = WeightEdit(changes={"a": Dense(torch.tensor([float("nan")]))})

    assert edit.bytes == 4 * (4 + 3 + 5)
    assert edit.is_finite
    assert not broken.is_finite
