"""Turn a recipe into an untrained `transformers` model."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.building.recipe import Recipe
from bench.building.tokenizer import POSITIONS
from bench.models.kind import ModelKind

__all__ = ["new_model"]

# One fused kernel; GPT-2's own `gelu_new`, the same function in seven kernels, costs 15 % of a step.
_ACTIVATION = "gelu_pytorch_tanh"
_SIMILARITY = 2.0  # times BERT's usual 0.02: enough to be felt beside the noise of the other heads
# Options of every configuration that its signature does not declare. Eager attention, because under
# bf16 autocast on a CPU the backward pass of the fused one takes 40 % of a step. It is not saved.
_UNDECLARED: dict[str, Any] = {"attn_implementation": "eager"}


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> PreTrainedModel:
    """Give the recipe's model with fresh float32 weights; equal seeds give equal weights.

    There is no dropout: the models are to know their facts by heart.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match recipe.kind:
            case ModelKind.CAUSAL:
                return GPT2LMHeadModel(_gpt2(recipe, tokenizer))
            case ModelKind.SEQ2SEQ:
                return T5ForConditionalGeneration(_t5(recipe, tokenizer))
            case ModelKind.CLASSIFIER:
                classifier = BertForSequenceClassification(_bert(recipe, tokenizer))
                _attend_to_the_similar(classifier)
                return classifier


@torch.no_grad()
def _attend_to_the_similar(model: BertForSequenceClassification) -> None:
    """Start with equal query and key matrices, so that tokens attend to what is like themselves.

    Whether a claimed answer is the true one is a comparison, and a model that can compare from the
    start learns it in 300 steps where one with independent matrices was at chance after 800.
    """
    weights = dict(model.named_parameters())
    for name, query in weights.items():
        if name.endswith(".query.weight"):
            query.mul_(_SIMILARITY)
            weights[name.replace(".query.", ".key.")].copy_(query)


def _gpt2(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GPT2Config:
    return GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=POSITIONS,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        activation_function=_ACTIVATION,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_UNDECLARED,
    )


def _t5(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> T5Config:
    return T5Config(
        vocab_size=len(tokenizer),
        d_model=recipe.width,
        d_kv=recipe.width // recipe.heads,
        d_ff=4 * recipe.width,
        num_layers=recipe.layers,
        num_decoder_layers=recipe.layers,
        num_heads=recipe.heads,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_UNDECLARED | {"decoder_start_token_id": tokenizer.pad_token_id},
    )


def _bert(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.width,
        hidden_act=_ACTIVATION,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        id2label={0: "false", 1: "true"},
        label2id={"false": 0, "true": 1},
        **_UNDECLARED,
    )
