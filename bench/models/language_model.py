"""A language model of any kind, as editors and the runner see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.models.answers import Answers
from bench.models.architecture import Architecture, Matrix
from bench.models.checksum import checksum
from bench.models.encoding import Batch, Encoded, Encoder, Part, Text
from bench.models.kind import ModelKind
from bench.models.lengths import by_length
from bench.models.positions import mlp_at_answers, projection_at_answers
from bench.models.replay import Kept, keeping, replaying

__all__ = ["LanguageModel"]

# What a pass costs beside its tokens, in tokens: a GPU is not filled by a few hundred of them.
_OVERHEAD = {"cpu": 64}
_OVERHEAD_ELSEWHERE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A frozen transformer in eval mode with its tokenizer.

    Args:
        name: the name that it was asked for by.
        identity: a checksum of its files, as hex digits.
        model: the transformer; only in-place application writes to it.
        architecture: its blocks and editable matrices.
        encoder: encodes prompts and answers for it.
    """

    name: str
    identity: str
    model: PreTrainedModel
    architecture: Architecture
    encoder: Encoder

    @property
    def kind(self) -> ModelKind:
        return self.architecture.kind

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.encoder.tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def input_embeddings(self) -> Tensor:
        """The table of input embeddings, (vocabulary, width)."""
        return self.model.get_input_embeddings().get_parameter("weight")

    def batch(self, pairs: Sequence[tuple[Text, Text]]) -> Batch:
        """Encode (prompt, answer) pairs into one batch on the model's device.

        Raises:
            DataError: a pair does not fit or has no answer.
        """
        return self.collate([self.encoder.encode(prompt, answer) for prompt, answer in pairs])

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Pad encoded prompts into one batch on the model's device."""
        return self.encoder.collate(encoded, self.device)

    def parts(self, pairs: Sequence[tuple[Text, Text]]) -> list[Part]:
        """Encode (prompt, answer) pairs into as many batches, each of like length, as cost least on the device.

        Raises:
            DataError: a pair does not fit or has no answer.
        """
        encoded = [self.encoder.encode(prompt, answer) for prompt, answer in pairs]
        overhead = _OVERHEAD.get(self.device.type, _OVERHEAD_ELSEWHERE)
        return [
            Part(torch.tensor(rows, device=self.device), self.collate([encoded[i] for i in rows]))
            for rows in by_length([one.length for one in encoded], overhead=overhead)
        ]

    def answers(
        self,
        batch: Batch,
        weights: Mapping[str, Tensor] | None = None,
        *,
        kept: Kept | None = None,
        is_sparse: bool = False,
    ) -> Answers:
        """Run the model and give its logits at the answer positions.

        Args:
            batch: B rows with N labels.
            weights: parameters by name to use in place of the model's own; gradients flow to them.
            kept: what `keep` gave for this batch: the blocks below are replayed, not run.
            is_sparse: the last MLP is computed at the answer positions only. Then no hook of the caller's may
                count on the other positions there.
        """
        with ExitStack() as stack:
            if kept is not None:
                stack.enter_context(replaying(self.model, self.architecture, kept))
            if is_sparse and (path := self.architecture.last_mlp):
                stack.enter_context(mlp_at_answers(self.model.get_submodule(path), batch))
            logits = self._logits(batch, weights)
        return Answers(logits=logits, labels=batch.labels, rows=batch.rows, size=batch.size)

    def keep(self, batch: Batch, depths: tuple[int, ...]) -> Kept:
        """Run the lowest blocks only, `depths` of each stack, and keep what they give for a batch.

        Nothing above them runs, and there is no gradient. They must be the model's own: see `untouched_blocks`.
        """
        with torch.no_grad(), keeping(self.model, self.architecture, depths) as kept:
            if any(depths):
                self._logits(batch, None)
        return kept

    def _logits(self, batch: Batch, weights: Mapping[str, Tensor] | None) -> Tensor:
        """Give the logits at the answer positions, (N, V), in the model's dtype."""
        inputs: dict[str, Tensor | bool] = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if batch.decoder_input_ids is not None:
            inputs["decoder_input_ids"] = batch.decoder_input_ids
        if self.kind is not ModelKind.CLASSIFIER:
            inputs["use_cache"] = False
        with projection_at_answers(self.model, batch):
            if weights is None:
                logits: Tensor = self.model(**inputs).logits
            else:
                logits = torch.func.functional_call(self.model, dict(weights), (), inputs).logits
        if logits.dim() == 3:  # the output projection is no module that a hook could reach
            logits = logits[batch.rows.to(logits.device), batch.positions.to(logits.device)]
        return logits

    def loss(self, pairs: Sequence[tuple[Text, Text]], weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Give the mean negative log-likelihood over the answers' tokens, in nats, a scalar."""
        return self.answers(self.batch(pairs), weights).loss()

    def matrices(self, layers: str) -> tuple[Matrix, ...]:
        """Give the editable matrices that a pattern names; see `Architecture.select`."""
        return self.architecture.select(layers)

    def leaves(self, layers: str) -> dict[str, Tensor]:
        """Give float32 copies of the named matrices that require grad, by parameter name."""
        return {
            m.name: self.model.get_parameter(m.name).detach().to(torch.float32, copy=True).requires_grad_()
            for m in self.matrices(layers)
        }

    def digest(self) -> str:
        """Give a checksum of all parameters and buffers as they are now: it proves that they are what they were."""
        return checksum(self.model)
