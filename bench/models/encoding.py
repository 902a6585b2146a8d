"""Turns prompts and answers into token ids, and these into batches.

Prompt and answer are tokenised together and the answer's tokens are found by their character offsets: an answer
tokenised alone loses its leading space, and with it the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bench.errors import DataError, ModelError
from bench.models.chat import conversation, opening
from bench.models.kind import ModelKind

__all__ = ["Batch", "Encoded", "Encoder", "HasAnswer", "Part", "Text"]

Text = str | tuple[int, ...]


class HasAnswer(Protocol):
    """A prompt with the answer to score."""

    @property
    def prompt(self) -> Text: ...

    @property
    def answer(self) -> Text: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One prompt with its answer, as token ids.

    Args:
        input_ids: what the model (or its encoder) reads.
        decoder_ids: what the decoder reads, or nothing.
        labels: the answer's token ids, or the index of the label of a classifier.
        positions: for each label the position whose logits predict it; 0 for a classifier.
        prompt_end: position of the prompt's last token in `input_ids`.
    """

    input_ids: tuple[int, ...]
    decoder_ids: tuple[int, ...]
    labels: tuple[int, ...]
    positions: tuple[int, ...]
    prompt_end: int

    @property
    def length(self) -> int:
        return max(len(self.input_ids), len(self.decoder_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some encoded prompts, padded on the right to one length.

    Args:
        input_ids: (B, T).
        attention_mask: (B, T), 1 where there is a token.
        decoder_input_ids: (B, S), or None.
        labels: (N,) ids of all answer tokens of the batch, row after row.
        rows: (N,) the row of each label.
        positions: (N,) the position whose logits predict it.
        prompt_end: (B,) position of each prompt's last token.
    """

    input_ids: Tensor
    attention_mask: Tensor
    decoder_input_ids: Tensor | None
    labels: Tensor
    rows: Tensor
    positions: Tensor
    prompt_end: Tensor

    @property
    def size(self) -> int:
        return self.input_ids.shape[0]

    def select(self, keep: Tensor) -> Self:
        """Give the rows with the indices `keep`, (K,), in that order."""
        place = torch.full((self.size,), -1, device=keep.device)
        place[keep] = torch.arange(len(keep), device=keep.device)
        rows = place[self.rows]
        order = torch.argsort(rows, stable=True)
        order = order[rows[order] >= 0]
        decoder = self.decoder_input_ids
        return type(self)(
            input_ids=self.input_ids[keep],
            attention_mask=self.attention_mask[keep],
            decoder_input_ids=None if decoder is None else decoder[keep],
            labels=self.labels[order],
            rows=rows[order],
            positions=self.positions[order],
            prompt_end=self.prompt_end[keep],
        )


class Part(NamedTuple):
    """Some rows of something longer that are computed together.

    Args:
        rows: (B,) which ones.
        batch: they themselves, B rows.
    """

    rows: Tensor
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Encodes prompts and answers for one model.

    Args:
        tokenizer: a fast tokenizer (it must give offsets).
        kind: the kind of the model.
        max_length: the most tokens that the model reads; None if it has no limit.
        label_ids: a classifier's labels by name.
        decoder_start: the id that a decoder reads first.
        is_chat: prompts are put into the tokenizer's chat template; running text, whose prompt is empty, is not.
    """

    tokenizer: PreTrainedTokenizerBase
    kind: ModelKind
    max_length: int | None
    label_ids: dict[str, int]
    decoder_start: int | None
    is_chat: bool = False

    def for_chat(self) -> Encoder:
        """Give an encoder that puts prompts into the chat template.

        Raises:
            ModelError: the model is not causal, or its tokenizer has no such template.
        """
        if self.kind is not ModelKind.CAUSAL:
            raise ModelError(f"--chat is for causal models; this one is a {self.kind} model.")
        if not self.tokenizer.chat_template:
            raise ModelError("--chat: the model's tokenizer has no chat template. Leave the option out.")
        return replace(self, is_chat=True)

    def encode(self, prompt: Text, answer: Text) -> Encoded:
        """Encode one prompt with its answer.

        Raises:
            DataError: it does not fit into the model, the answer is empty, or no label has its name.
        """
        if isinstance(answer, str) and not answer.strip() and self.kind is not ModelKind.CLASSIFIER:
            raise DataError(f"the answer to {_shown(prompt)} holds no token to score.")
        match self.kind:
            case ModelKind.CAUSAL:
                encoded = self._causal(prompt, answer)
            case ModelKind.SEQ2SEQ:
                encoded = self._seq2seq(prompt, answer)
            case ModelKind.CLASSIFIER:
                encoded = self._classifier(prompt, answer)
        if self.max_length is not None and encoded.length > self.max_length:
            raise DataError(
                f"a prompt with its answer is {encoded.length} tokens long and the model reads at most "
                f"{self.max_length}: {_shown(prompt)}. Nothing is cut silently; leave the case out or shorten it."
            )
        return encoded

    def collate(self, encoded: Sequence[Encoded], device: torch.device) -> Batch:
        """Pad encoded prompts into one batch on a device."""
        pad = self.tokenizer.pad_token_id
        pad = pad if isinstance(pad, int) else 0
        inputs, mask = _padded([e.input_ids for e in encoded], pad)
        decoder = None
        if self.kind is ModelKind.SEQ2SEQ:
            decoder = _padded([e.decoder_ids for e in encoded], pad)[0].to(device)
        flat = [
            (row, label, at) for row, e in enumerate(encoded) for label, at in zip(e.labels, e.positions, strict=True)
        ]
        rows, labels, positions = torch.tensor(flat, dtype=torch.long).reshape(-1, 3).unbind(1)
        return Batch(
            input_ids=inputs.to(device),
            attention_mask=mask.to(device),
            decoder_input_ids=decoder,
            labels=labels.to(device),
            rows=rows.to(device),
            positions=positions.to(device),
            prompt_end=torch.tensor([e.prompt_end for e in encoded], device=device),
        )

    def prompt_ids(self, prompt: Text) -> tuple[int, ...]:
        """Give the token ids of a prompt alone, with the tokenizer's own special tokens."""
        if isinstance(prompt, str) and prompt and self.is_chat:
            return tuple(self.tokenizer(opening(self.tokenizer, prompt), add_special_tokens=False)["input_ids"])
        return prompt if isinstance(prompt, tuple) else tuple(self.tokenizer(prompt)["input_ids"])

    def _causal(self, prompt: Text, answer: Text) -> Encoded:
        if self.is_chat and prompt and not (isinstance(prompt, str) and isinstance(answer, str)):
            raise DataError("--chat: a prompt or answer of token ids can not be put into a chat template.")
        if isinstance(prompt, str) and isinstance(answer, str):
            ids, first = self._joined(prompt, answer)
        else:
            before = self.prompt_ids(prompt)
            after = answer if isinstance(answer, tuple) else self._continuation(answer)
            ids, first = before + after, len(before)
        first = max(first, 1)  # nothing predicts the first token of all
        if len(ids) <= first:
            raise DataError(f"the answer to {_shown(prompt)} holds no token to score.")
        return Encoded(
            input_ids=ids,
            decoder_ids=(),
            labels=ids[first:],
            positions=tuple(range(first - 1, len(ids) - 1)),
            prompt_end=first - 1,
        )

    def _joined(self, prompt: str, answer: str) -> tuple[tuple[int, ...], int]:
        """Give the ids of prompt and answer, and the index of the answer's first token."""
        if prompt and self.is_chat:
            text, start = conversation(self.tokenizer, prompt, answer)
        else:
            needs_space = prompt and answer and not prompt[-1].isspace() and not answer[0].isspace()
            text, start = f"{prompt} {answer}" if needs_space else prompt + answer, len(prompt)
        # a chat template writes the special tokens itself
        coded = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=not (prompt and self.is_chat))
        ids, offsets = tuple(coded["input_ids"]), coded["offset_mapping"]
        # Special tokens have the empty span (0, 0); a token that straddles the border belongs to the answer.
        first = next((i for i, (_, end) in enumerate(offsets) if end > start), len(ids))
        length = len(ids)
        while length and offsets[length - 1][0] >= offsets[length - 1][1]:
            length -= 1
        return ids[:length], first

    def _continuation(self, answer: str) -> tuple[int, ...]:
        text = answer if answer[:1].isspace() else f" {answer}"
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _seq2seq(self, prompt: Text, answer: Text) -> Encoded:
        ids = self.prompt_ids(prompt)
        # the answer is a text of its own: a leading space would make another first token of it
        labels = (
            answer if isinstance(answer, tuple) else tuple(self.tokenizer(text_target=answer.lstrip())["input_ids"])
        )
        if not labels or not ids:
            raise DataError(f"the answer to {_shown(prompt)} holds no token to score.")
        if self.decoder_start is None:
            raise DataError("the model's configuration names no decoder start token.")
        return Encoded(
            input_ids=ids,
            decoder_ids=(self.decoder_start, *labels[:-1]),
            labels=labels,
            positions=tuple(range(len(labels))),
            prompt_end=len(ids) - 1,
        )

    def _classifier(self, prompt: Text, answer: Text) -> Encoded:
        if not isinstance(answer, str) or answer not in self.label_ids:
            raise DataError(f"the model has no label {answer!r}; it has {', '.join(map(repr, self.label_ids))}.")
        ids = self.prompt_ids(prompt)
        if not ids:
            raise DataError("a prompt holds no token.")
        return Encoded(
            input_ids=ids, decoder_ids=(), labels=(self.label_ids[answer],), positions=(0,), prompt_end=len(ids) - 1
        )


def _padded(sequences: Sequence[tuple[int, ...]], pad: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, : len(sequence)] = 1
    return ids, mask


def _shown(prompt: Text) -> str:
    return repr(prompt if len(prompt) <= 60 else prompt[:57]) + ("" if len(prompt) <= 60 else " …")
