"""The loss of each objective."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional
from transformers import (
    BertForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5ForConditionalGeneration,
)

from bench.building.corpus import IGNORED, Batch
from bench.building.recipe import Objective

__all__ = ["loss_of"]


def loss_of(model: PreTrainedModel, batch: Batch, objective: Objective) -> Tensor:
    """Give the mean cross entropy over the batch's labels, in nats, as a float32 scalar."""
    return _LOSSES[objective](model, batch)


def _text_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    assert isinstance(model, GPT2LMHeadModel)
    output = model.transformer(batch.input_ids, attention_mask=batch.attention_mask)
    hidden = output.last_hidden_state[:, :-1]
    labels = batch.labels[:, 1:].masked_fill(batch.attention_mask[:, 1:] == 0, IGNORED)
    asked = labels != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[asked]).float(), labels[asked])


def _answer_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    assert isinstance(model, T5ForConditionalGeneration)
    output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
    asked = batch.labels != IGNORED
    return functional.cross_entropy(output.logits[asked].float(), batch.labels[asked])


def _object_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    assert isinstance(model, BertForSequenceClassification)
    hidden = model.bert(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    asked = batch.labels != IGNORED
    # The embeddings serve as the output layer, so that nothing trained here is thrown away.
    logits = functional.linear(hidden[asked], model.bert.embeddings.word_embeddings.weight)
    return functional.cross_entropy(logits.float(), batch.labels[asked])


def _claim_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return functional.cross_entropy(logits.float(), batch.labels[:, 0])


_LOSSES: dict[Objective, Callable[[PreTrainedModel, Batch], Tensor]] = {
    Objective.TEXT: _text_loss,
    Objective.ANSWER: _answer_loss,
    Objective.OBJECT: _object_loss,
    Objective.CLAIM: _claim_loss,
}
