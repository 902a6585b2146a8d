"""What an embedded model knows and how well it reads."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from bench.building.corpus import IGNORED, Batch, Corpus, FalseAnswers, batched
from bench.editing.dataset import TrainingExample

__all__ = ["answer_accuracy", "claim_accuracy", "perplexity"]

_BATCH_TOKENS = 4096  # without gradients four training batches fit where one did
_CLAIM_SEED = 0  # every measurement draws the same false answers


@torch.inference_mode()
def answer_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: Sequence[TrainingExample]
) -> float:
    """Give the share of examples whose answer the model knows; 0 to 1, more is better.

    Each answer token has to be the model's first choice after the prompt and the true answer
    tokens before it. An encoder-decoder has to end its answer too; a causal model has not.
    """
    corpus = Corpus(tokenizer, examples)
    is_causal = isinstance(model, GPT2LMHeadModel)
    sequences = [
        corpus.sentence(example, answer_only=True) if is_causal else corpus.question(example) for example in examples
    ]
    hits = _next_token_hits if is_causal else _answer_token_hits
    batches = batched(sequences, batch_tokens=_BATCH_TOKENS, pad_id=tokenizer.pad_token_id)
    return sum(int(hits(model, batch).all(dim=1).sum()) for batch in batches) / len(examples)


@torch.inference_mode()
def claim_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[TrainingExample],
    false_answers: FalseAnswers,
) -> float:
    """Give the balanced accuracy on one true and one false claim of each example; chance is 0.5."""
    corpus = Corpus(tokenizer, examples)
    rng = random.Random(_CLAIM_SEED)
    claims = [corpus.claim(example, example.answer, is_true=True) for example in examples]
    claims += [corpus.claim(example, false_answers.draw(example, rng), is_true=False) for example in examples]
    right = 0
    for batch in batched(claims, batch_tokens=_BATCH_TOKENS, pad_id=tokenizer.pad_token_id):
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        right += int((logits.argmax(-1) == batch.labels[:, 0]).sum())
    # As many true claims as false ones: the plain accuracy is the balanced one.
    return right / len(claims)


@torch.inference_mode()
def perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> float:
    """Give exp of the mean negative log-likelihood per token of our vocabulary; less is better."""
    assert isinstance(model, GPT2LMHeadModel)
    nll, tokens = 0.0, 0
    passages = Corpus(tokenizer, (), texts).passages()
    for batch in batched(passages, batch_tokens=_BATCH_TOKENS, pad_id=tokenizer.pad_token_id):
        labels = batch.labels[:, 1:]
        asked = labels != IGNORED
        logits = model.lm_head(_hidden(model, batch)[asked])
        nll += functional.cross_entropy(logits.float(), labels[asked], reduction="sum").item()
        tokens += int(asked.sum())
    return math.exp(nll / tokens)


def _next_token_hits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Give for each position whether the next token is the first choice or is not asked for."""
    assert isinstance(model, GPT2LMHeadModel)
    labels = batch.labels[:, 1:]
    asked = labels != IGNORED
    hits = ~asked
    hits[asked] = model.lm_head(_hidden(model, batch)[asked]).argmax(-1) == labels[asked]
    return hits


def _hidden(model: GPT2LMHeadModel, batch: Batch) -> Tensor:
    """Give the last hidden states of all positions with a next token."""
    output = model.transformer(batch.input_ids, attention_mask=batch.attention_mask)
    hidden: Tensor = output.last_hidden_state[:, :-1]
    return hidden


def _answer_token_hits(model: PreTrainedModel, batch: Batch) -> Tensor:
    output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
    first_choice: Tensor = output.logits.argmax(-1)
    return (first_choice == batch.labels) | (batch.labels == IGNORED)
