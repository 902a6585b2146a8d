"""The loss of each objective."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    BertForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5ForConditionalGeneration,
)

from bench.building.corpus import IGNORED, Batch
from bench.building.recipe import Objective

__all__ = ["loss_of", "trained_by"]

_NAMED = 8  # one token in so many names itself; all of them would cost a third of a step
_OWN_WEIGHT = 0.3  # of that part of the loss, which falls to 0.002


def loss_of(model: PreTrainedModel, batch: Batch, objective: Objective) -> Tensor:
    """Give the mean cross entropy over the batch's labels, in nats, as a float32 scalar."""
    return _LOSSES[objective](model, batch)


def trained_by(model: PreTrainedModel, objective: Objective) -> list[nn.Parameter]:
    """Give the parameters that an objective trains: all, but for claims those above the named answer only.

    Where claims trained the lower half too, at any rate that taught them, they stayed at chance for 200 steps; above
    a fixed one they were at 70 %.
    """
    if objective is not Objective.CLAIM:
        return list(model.parameters())
    assert isinstance(model, BertForSequenceClassification)
    above = [*model.bert.encoder.layer[_half(model) :], model.bert.pooler, model.classifier]
    return [parameter for module in above for parameter in module.parameters()]


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
    """Give the loss of naming the true answer's tokens at the first position halfway up, and every token at its own.

    The first part is the cross entropy to an even spread over the answer's tokens, so its lowest value is the mean
    log of their number. Named in the same code as the claimed answer's tokens name themselves, the true answer can be
    compared with them by the attention of the blocks above; without the second part these stayed at chance.
    """
    assert isinstance(model, BertForSequenceClassification)
    output = model.bert(batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    halfway = output.hidden_states[_half(model)]
    # The embeddings serve as the output layer, so that nothing trained here is thrown away.
    vocabulary = model.bert.embeddings.word_embeddings.weight
    names = functional.linear(halfway[:, 0], vocabulary).float().log_softmax(-1)
    tokens = batch.labels[:, 1:]
    is_token = tokens != IGNORED
    found = names.gather(1, tokens.clamp(min=0)) * is_token
    others = batch.attention_mask[:, 1:] == 1
    own = functional.linear(halfway[:, 1:][others][::_NAMED], vocabulary).float()
    own_loss = functional.cross_entropy(own, batch.input_ids[:, 1:][others][::_NAMED])
    return -(found.sum(1) / is_token.sum(1)).mean() + _OWN_WEIGHT * own_loss


def _claim_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    assert isinstance(model, BertForSequenceClassification)
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return functional.cross_entropy(logits.float(), batch.labels[:, 0])


def _half(model: BertForSequenceClassification) -> int:
    layers: int = model.config.num_hidden_layers
    return layers // 2


_LOSSES: dict[Objective, Callable[[PreTrainedModel, Batch], Tensor]] = {
    Objective.TEXT: _text_loss,
    Objective.ANSWER: _answer_loss,
    Objective.OBJECT: _object_loss,
    Objective.CLAIM: _claim_loss,
}
