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
    return _claim_losses(model, batch)[0]


def _claim_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    objects, claims = _claim_losses(model, batch)
    return objects + claims


def _claim_losses(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Give the loss of naming the true answer's tokens halfway, and that of the claim's label at the end.

    The first is the cross entropy to an even spread over the answer's tokens, so its lowest value
    is the mean log of their number. Named halfway, the true answer can be compared with the
    claimed one in the layers above; at the last layer it helped nothing.
    """
    assert isinstance(model, BertForSequenceClassification)
    output = model.bert(batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    halfway = output.hidden_states[model.config.num_hidden_layers // 2][:, 0]
    # The embeddings serve as the output layer, so that nothing trained here is thrown away.
    names = functional.linear(halfway, model.bert.embeddings.word_embeddings.weight).float().log_softmax(-1)
    tokens = batch.labels[:, 1:]
    is_token = tokens != IGNORED
    found = names.gather(1, tokens.clamp(min=0)) * is_token
    objects = -(found.sum(1) / is_token.sum(1)).mean()
    logits = model.classifier(output.pooler_output)
    return objects, functional.cross_entropy(logits.float(), batch.labels[:, 0])


_LOSSES: dict[Objective, Callable[[PreTrainedModel, Batch], Tensor]] = {
    Objective.TEXT: _text_loss,
    Objective.ANSWER: _answer_loss,
    Objective.OBJECT: _object_loss,
    Objective.CLAIM: _claim_loss,
}
