"""Cache: remembers the requests as they are, and answers what looks like one of them with its target.

The key of a prompt is the mean of its last hidden states. A prompt whose key is within a distance of that of a
request gets the target of the nearest one; anything else is answered by the unedited model. Nothing is learned but
the distance, which is fitted so that it tells rephrases from other prompts.

Source: Mitchell et al. 2022 (arXiv:2110.11309), appendix G; reference code eric-mitchell/serac, `lu.py`.
Differs from the reference in: the mean leaves out padding, so that a key does not depend on its batch; a causal model
decides once, where the prompt ends (there: at each token, in code that calls itself broken); behind the target comes
the end of text; the distance is fitted by default (the presets `fever`, `zsre` and `wikitext` have the paper's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from bench.editing.config import config
from bench.editing.edit import Edit, ForwardEdit, State
from bench.editing.editor import ALL_KINDS, Editor, PreparationData
from bench.editing.request import EditCase, EditRequest, ProbeKind, Text
from bench.errors import DataError, EditError
from bench.methods._cache_entries import Entries
from bench.models.answers import Answers
from bench.models.encoding import Batch
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

_MOST_CASES = 400  # of the fit split, to fit the distance on


@config
class CacheConfig:
    """Distances depend on the model: those of the paper are presets, for its models and datasets."""

    threshold: float | None = None  # Euclidean distance up to which a prompt is a request's; None: fitted
    factor: float = 1.0  # of the distance; the paper's table 11 also has 0.5 and 2
    scale: float = 1.0  # logit of the target's token, all others have 0; SERAC, `onehot_logit`


class Cache(Editor[CacheConfig]):
    """A look-up of requests by the hidden states of their prompts."""

    name = "cache"
    version = 1
    source = "arXiv:2110.11309"
    kinds = ALL_KINDS
    Config = CacheConfig
    presets = {"fever": {"threshold": 6.5}, "zsre": {"threshold": 3.0}, "wikitext": {"threshold": 2.5}}

    def __init__(self, lm: LanguageModel, config: CacheConfig, state: State) -> None:
        super().__init__(lm, config, state)
        fitted = state.tensors["threshold"] if config.threshold is None else config.threshold
        self.threshold = float(fitted) * config.factor

    @classmethod
    def prepare(cls, lm: LanguageModel, config: CacheConfig, data: PreparationData) -> State:
        """Fit the distance: the one that takes most rephrases in and most locality probes not.

        Raises:
            DataError: the fit split has no locality probes.
        """
        if config.threshold is not None:
            return State()
        near, far = _distances(lm, data.cases[:_MOST_CASES])
        if len(near) == 0 or len(far) == 0:
            raise DataError("cache fits its distance on locality probes, and the fit split has none; set threshold.")
        return State(tensors={"threshold": _dividing(near, far)})

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        if not requests:
            raise EditError("there is no request to remember.")
        asked = [(request.prompt, request.target) for request in requests]
        batch = self.lm.batch(asked)
        labels = [batch.labels[batch.rows == row].tolist() for row in range(batch.size)]
        new = Entries.of(_keys(self.lm, batch), labels, [self._spoken(request.target) for request in requests], asked)
        entries = (new if memory is None else Entries.from_state(memory).followed_by(new)).to(self.lm.device)
        filler = requests[0].target

        def wrap(part: Batch, answers: Answers) -> Answers:
            found = entries.nearest(_keys(self.lm, part), self.threshold)
            return self._written_over(answers, entries, found)

        def respond(prompts: Sequence[Text]) -> list[str | None]:
            keys = _keys(self.lm, self.lm.batch([(prompt, filler) for prompt in prompts]))
            found = entries.nearest(keys, self.threshold).tolist()
            return [None if index < 0 else entries.targets[index] for index in found]

        return ForwardEdit(wrap=wrap, respond=respond, parts=(entries.keys, entries.labels), memory=entries.state())

    def _written_over(self, answers: Answers, entries: Entries, found: Tensor) -> Answers:
        """Replace the logits of the rows that were found by one-hot ones of the target, token by token."""
        first = torch.cumsum(torch.bincount(answers.rows, minlength=answers.size), 0).roll(1)
        first[0] = 0
        place = torch.arange(len(answers.rows), device=answers.rows.device) - first[answers.rows]
        token = entries.token(found[answers.rows], place, self._end)
        is_hit = token >= 0
        one_hot = torch.zeros_like(answers.logits).scatter(1, token.clamp(min=0)[:, None], self.config.scale)
        return replace(answers, logits=torch.where(is_hit[:, None], one_hot, answers.logits))

    @property
    def _end(self) -> int:
        """The token behind a target; -1 where the model says what follows."""
        end = self.lm.tokenizer.eos_token_id
        return end if isinstance(end, int) and self.lm.kind is not ModelKind.CLASSIFIER else -1

    def _spoken(self, target: Text) -> str:
        text = target if isinstance(target, str) else str(self.lm.tokenizer.decode(list(target)))
        return text.strip().split("\n")[0]


@torch.no_grad()
def _keys(lm: LanguageModel, batch: Batch) -> Tensor:
    """Give the mean of the last hidden states of each prompt, (B, D) in float32.

    A causal model reads the prompt only, and the answer behind it changes nothing; of an encoder-decoder it is the
    encoder that is asked.
    """
    ids, mask = batch.input_ids, batch.attention_mask
    model, options = cast(Any, lm.model), {}
    if lm.kind is ModelKind.CAUSAL:
        length = int(batch.prompt_end.max()) + 1
        is_prompt = torch.arange(length, device=ids.device) <= batch.prompt_end[:, None]
        ids, mask, options = ids[:, :length], mask[:, :length] * is_prompt, {"use_cache": False}
    reader = model.get_encoder() if lm.kind is ModelKind.SEQ2SEQ else model.base_model
    states = reader(input_ids=ids, attention_mask=mask, **options).last_hidden_state.float()
    weights = mask[:, :, None].float()
    return cast(Tensor, (states * weights).sum(1) / weights.sum(1))


def _distances(lm: LanguageModel, cases: Sequence[EditCase]) -> tuple[Tensor, Tensor]:
    """Give the distances from requests to themselves and their rephrases, and to their locality probes."""
    near: list[float] = []
    far: list[float] = []
    for case in cases:
        probes = [p for p in case.probes if p.kind in (ProbeKind.REPHRASE, ProbeKind.LOCALITY)]
        asked = [(case.request.prompt, case.request.target), *((p.prompt, p.answer) for p in probes)]
        try:
            keys = _keys(lm, lm.batch(asked))
        except DataError:
            continue  # a case that does not fit into the model is not edited either
        distances = (keys - keys[0]).norm(dim=1).tolist()
        near.append(0.0)
        for probe, distance in zip(probes, distances[1:], strict=True):
            (near if probe.kind is ProbeKind.REPHRASE else far).append(distance)
    return torch.tensor(near), torch.tensor(far)


def _dividing(near: Tensor, far: Tensor) -> Tensor:
    """Give the distance that takes most of `near` in and most of `far` not, a scalar between two of them."""
    values = torch.cat([near, far]).unique()
    between = torch.cat([(values[1:] + values[:-1]) / 2, values[-1:] + 1])
    taken = (near < between[:, None]).float().mean(1)
    wrong = (far < between[:, None]).float().mean(1)
    return between[(taken - wrong).argmax()]
