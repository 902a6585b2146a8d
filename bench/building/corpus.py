"""Token sequences for each objective, and batches of sequences of nearly the same length."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bench.building.recipe import Objective
from bench.building.tokenizer import POSITIONS
from bench.editing.dataset import TrainingExample
from bench.errors import DataError

__all__ = ["IGNORED", "Batch", "Corpus", "FalseAnswers", "TokenSequence", "batched", "pieces", "stream"]

IGNORED = -100  # a label that no loss counts; the default of torch's cross entropy

_TEXT_SHARE = 0.1  # of the tokens of a causal epoch; the share of the trial runs
# Subjects can not be predicted: counting every token of each sentence, a 3M model knew 93 % of the facts
# after 4,000 steps, and the answers were a sixth of its loss. One sentence in ten keeps all its tokens.
_WHOLE_SENTENCES = 0.1
_POOL_BATCHES = 16  # sequences for so many batches are sorted by length together


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """One input and its labels, not yet padded."""

    inputs: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Padded sequences.

    Args:
        input_ids: (sequences, tokens).
        attention_mask: (sequences, tokens), 1 where a token is, 0 where padding is.
        labels: (sequences, labels), IGNORED where nothing is asked.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


class FalseAnswers:
    """Draws wrong answers of the right relation, each as often as it is right elsewhere.

    Drawn uniformly, a rare answer would be a sign of a false claim, and a model could be right
    more often than by chance without knowing a single fact.
    """

    def __init__(self, examples: Iterable[TrainingExample]) -> None:
        """Learn the answers of each relation; raises DataError if one has a single answer."""
        facts = sorted({(example.relation, example.subject, example.answer) for example in examples})
        self._answers: dict[str, list[str]] = defaultdict(list)
        self._true: dict[tuple[str, str], set[str]] = defaultdict(set)
        for relation, subject, answer in facts:
            self._answers[relation].append(answer)
            self._true[relation, subject].add(answer)
        for relation, answers in self._answers.items():
            if len(set(answers)) < 2:
                raise DataError(
                    f"relation {relation!r} has the one answer {answers[0]!r}: no false claim can be"
                    " made of it. Leave the relation out of the corpus."
                )

    def draw(self, example: TrainingExample, rng: random.Random) -> str:
        """Give an answer of the example's relation that is wrong for its subject."""
        answers = self._answers[example.relation]
        true = self._true[example.relation, example.subject]
        for _ in range(1000):
            if (answer := rng.choice(answers)) not in true:
                return answer
        raise DataError(f"no wrong answer was found for {example.subject!r} in {example.relation!r}.")


class Corpus:
    """Facts and running text as token sequences, for one tokenizer."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        examples: Sequence[TrainingExample],
        texts: Sequence[str] = (),
        *,
        false_answers: FalseAnswers | None = None,
    ) -> None:
        """Keep the parts; `false_answers` is needed for claims only."""
        self.examples = examples
        self._tokenizer = tokenizer
        self._texts = texts
        self._false_answers = false_answers
        self._cache: dict[str, tuple[int, ...]] = {}

    def epoch(self, objective: Objective, rng: random.Random) -> list[TokenSequence]:
        """Give each example once, as the objective asks for it, with fresh random parts."""
        makers: dict[Objective, Callable[[random.Random], list[TokenSequence]]] = {
            Objective.TEXT: self._text_epoch,
            Objective.ANSWER: lambda rng: [self.question(example) for example in self.examples],
            Objective.OBJECT: self._false_claims,
            Objective.CLAIM: self._claim_epoch,
        }
        return makers[objective](rng)

    def sentence(self, example: TrainingExample, *, answer_only: bool = False) -> TokenSequence:
        """Give `<s> prompt answer . </s>`; every token is a label, or only those of the answer."""
        prompt = (self._tokenizer.bos_token_id, *self._ids(example.prompt))
        answer = self._ids(f" {example.answer}")
        end = (*self._ids("."), self._tokenizer.eos_token_id)
        inputs = prompt + answer + end
        if not answer_only:
            return TokenSequence(inputs=inputs, labels=inputs)
        labels = (IGNORED,) * len(prompt) + answer + (IGNORED,) * len(end)
        return TokenSequence(inputs=inputs, labels=labels)

    def question(self, example: TrainingExample) -> TokenSequence:
        """Give `prompt </s>` with the labels `answer </s>`."""
        eos = self._tokenizer.eos_token_id
        return TokenSequence(inputs=(*self._ids(example.prompt), eos), labels=(*self._ids(example.answer), eos))

    def claim(self, example: TrainingExample, answer: str, *, is_true: bool) -> TokenSequence:
        """Give `<s> prompt answer . </s>` with the labels 1 (true) or 0 (false), then the true answer's tokens.

        These are there once each and in no order: they are to be found, not to be written.
        """
        bos, eos = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        # Answer and full stop together: after "D.C" they are one token, as in a claim given as text.
        inputs = (bos, *self._ids(example.prompt), *self._ids(f" {answer}."), eos)
        return TokenSequence(inputs=inputs, labels=(int(is_true), *dict.fromkeys(self._ids(f" {example.answer}"))))

    def passages(self) -> list[TokenSequence]:
        """Give the running text in pieces of at most POSITIONS tokens, every token a label."""
        bos, eos = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        return [
            TokenSequence(inputs=piece, labels=piece)
            for text in self._texts
            for piece in pieces((bos, *self._ids(text), eos))
        ]

    def _text_epoch(self, rng: random.Random) -> list[TokenSequence]:
        sentences = [self.sentence(example, answer_only=rng.random() >= _WHOLE_SENTENCES) for example in self.examples]
        fact_tokens = sum(len(sentence.inputs) for sentence in sentences)
        passages = self.passages()
        rng.shuffle(passages)
        wanted = _TEXT_SHARE / (1 - _TEXT_SHARE) * fact_tokens
        used = 0
        for passage in itertools.cycle(passages) if passages else ():
            if used >= wanted:
                break
            sentences.append(passage)
            used += len(passage.inputs)
        return sentences

    def _false_claims(self, rng: random.Random) -> list[TokenSequence]:
        assert self._false_answers is not None
        return [self.claim(example, self._false_answers.draw(example, rng), is_true=False) for example in self.examples]

    def _claim_epoch(self, rng: random.Random) -> list[TokenSequence]:
        true_claims = [self.claim(example, example.answer, is_true=True) for example in self.examples]
        return true_claims + self._false_claims(rng)

    def _ids(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            self._cache[text] = tuple(self._tokenizer(text, add_special_tokens=False).input_ids)
        return self._cache[text]


def pieces(ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Cut a sequence into pieces of at most POSITIONS tokens."""
    return [ids[start : start + POSITIONS] for start in range(0, len(ids), POSITIONS)]


def stream(
    corpus: Corpus, objective: Objective, *, batch_tokens: int, rng: random.Random, pad_id: int
) -> Iterator[Batch]:
    """Yield batches without end, epoch after epoch, each epoch in another order."""
    while True:
        sequences = corpus.epoch(objective, rng)
        rng.shuffle(sequences)
        mean_tokens = sum(len(sequence.inputs) for sequence in sequences) / len(sequences)
        pool = max(1, round(_POOL_BATCHES * batch_tokens / mean_tokens))
        for start in range(0, len(sequences), pool):
            batches = list(batched(sequences[start : start + pool], batch_tokens=batch_tokens, pad_id=pad_id))
            rng.shuffle(batches)
            yield from batches


def batched(sequences: Iterable[TokenSequence], *, batch_tokens: int, pad_id: int) -> Iterator[Batch]:
    """Yield the sequences from short to long, as many in a batch as fit."""
    batch: list[TokenSequence] = []
    for sequence in sorted(sequences, key=lambda sequence: len(sequence.inputs)):
        if batch and (len(batch) + 1) * len(sequence.inputs) > batch_tokens:
            yield _padded(batch, pad_id)
            batch = []
        batch.append(sequence)
    if batch:
        yield _padded(batch, pad_id)


def _padded(sequences: list[TokenSequence], pad_id: int) -> Batch:
    input_ids = _rectangle([sequence.inputs for sequence in sequences], pad_id)
    lengths = torch.tensor([len(sequence.inputs) for sequence in sequences])
    return Batch(
        input_ids=input_ids,
        attention_mask=(torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
        labels=_rectangle([sequence.labels for sequence in sequences], IGNORED),
    )


def _rectangle(rows: list[tuple[int, ...]], filler: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + (filler,) * (width - len(row)) for row in rows])
