"""Blocks below an edit are computed once and replayed."""

from __future__ import annotations

import pytest
import torch

from bench.models.replay import replaying, untouched_blocks
from bench.testing.tiny import FAMILIES, tiny_cases, tiny_model


def batch_of(lm, n=3):
    return lm.batch([(probe.prompt, probe.answer) for case in tiny_cases(lm.kind, n) for probe in case.probes])


def depths_of(lm):
    """Give the depths below what is edited by default; of an encoder-decoder those of its encoder."""
    first = {stack: [m.block for m in lm.matrices("default") if m.stack == stack] for stack in (0, 1)}
    depths = [min(first[0])] + [0] * (len(lm.architecture.stacks) - 1)
    return tuple(depths)


@pytest.mark.parametrize("family", list(FAMILIES))
@torch.no_grad()
def test_replayed_logits_are_equal_bit_for_bit(family):
    lm = tiny_model(family)
    batch, depths = batch_of(lm), depths_of(lm)
    assert depths[0] > 0

    replayed = lm.answers(batch, kept=lm.keep(batch, depths)).logits

    assert replayed.equal(lm.answers(batch).logits)


@pytest.mark.parametrize("family", ["t5", "bart"])
@torch.no_grad()
def test_both_stacks_of_an_encoder_decoder_are_replayed(family):
    lm = tiny_model(family)
    batch = batch_of(lm)

    replayed = lm.answers(batch, kept=lm.keep(batch, (3, 2))).logits

    assert replayed.equal(lm.answers(batch).logits)


@pytest.mark.parametrize("family", list(FAMILIES))
@torch.no_grad()
def test_replayed_blocks_do_not_run(family):
    lm = tiny_model(family)
    batch, depths = batch_of(lm), depths_of(lm)
    before, kept = lm.answers(batch).logits, lm.keep(batch, depths)

    below = lm.model.get_submodule(lm.architecture.stacks[0].blocks[0])
    for parameter in below.parameters():
        parameter.fill_(float("nan"))
    after = lm.answers(batch, kept=kept).logits

    assert after.equal(before)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_keeping_runs_no_block_above(family):
    lm = tiny_model(family)
    ran = []
    for stack in lm.architecture.stacks:
        for path in stack.blocks:
            lm.model.get_submodule(path).register_forward_hook(lambda *_, path=path: ran.append(path))
    depths = depths_of(lm)

    lm.keep(batch_of(lm), depths)

    assert ran == list(lm.architecture.stacks[0].blocks[: depths[0]])


@pytest.mark.parametrize("family", list(FAMILIES))
@torch.no_grad()
def test_some_rows_can_be_replayed(family):
    lm = tiny_model(family)
    batch, rows = batch_of(lm), torch.tensor([4, 0, 7])
    kept = lm.keep(batch, depths_of(lm))

    some = batch.select(rows)
    replayed = lm.answers(some, kept=kept.select(rows, batch.size)).logits

    torch.testing.assert_close(replayed, lm.answers(some).logits, rtol=1e-5, atol=1e-5)


def test_the_model_is_as_it_was_after_an_exception():
    lm = tiny_model("gpt2")
    batch = batch_of(lm)
    before, kept = lm.answers(batch).logits, lm.keep(batch, (1,))

    with pytest.raises(RuntimeError), replaying(lm.model, lm.architecture, kept):
        raise RuntimeError

    assert not any("forward" in module.__dict__ for module in lm.model.modules())
    assert not any(module._forward_hooks for module in lm.model.modules())
    assert lm.answers(batch).logits.equal(before)


def test_a_forward_that_another_library_has_put_there_comes_back():
    lm = tiny_model("gpt2")
    block = lm.model.get_submodule(lm.architecture.stacks[0].blocks[0])
    wrapped = block.forward = block.forward
    kept = lm.keep(batch_of(lm), (1,))

    with replaying(lm.model, lm.architecture, kept):
        pass

    assert block.__dict__["forward"] is wrapped


@pytest.mark.parametrize(
    ("family", "changed", "untouched"),
    [
        ("gpt2", ["transformer.h.2.mlp.c_fc.weight", "transformer.h.3.mlp.c_fc.bias"], (2,)),
        ("gpt2", ["transformer.h.1"], (1,)),
        ("gpt2", [], (4,)),
        ("gpt2", ["transformer.wte.weight"], (0,)),
        ("t5", ["encoder.block.1.layer.1.DenseReluDense.wo.weight"], (1, 0)),
        ("t5", ["decoder.block.2.layer.2.DenseReluDense.wo.weight"], (3, 2)),
        ("t5", ["decoder.block.2.x", "encoder.block.2.x"], (2, 0)),
    ],
)
def test_blocks_below_the_lowest_change_are_untouched(family, changed, untouched):
    assert untouched_blocks(tiny_model(family).architecture, changed) == untouched


def test_a_block_whose_number_begins_like_another_is_told_from_it():
    lm = tiny_model("gpt2", n_layer=12)

    assert untouched_blocks(lm.architecture, ["transformer.h.11.mlp.c_fc.weight"]) == (11,)
