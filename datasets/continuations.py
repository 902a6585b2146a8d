"""Running text: a model is to continue the beginning of a passage by ten tokens that another size of model sampled.

Rephrases are the same beginning without some of its first tokens. Locality probes ask for the next tokens of other
passages, as these go on themselves, and text probes are such passages whole. Prompts and targets are token ids of the
embedded models' vocabulary: dropping tokens from a text and tokenising it again could give other tokens.

Source: Mitchell et al. 2022 (arXiv:2110.11309), the Wikitext generation task, with the passages of the embedded
models in place of Wikitext. Differs from it in: see continuations_data/README.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from bench.datasets._continuation_prompts import (
    MOST_AFTER,
    OTHERS,
    PLACES,
    PROMPT_TOKENS,
    Place,
    Tokens,
    case_id,
    dropped_counts,
    other_passages,
    other_places,
    prompts,
    without_first,
)
from bench.datasets._continuation_targets import load_targets
from bench.datasets._fact_table import rank
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import ConfigError
from bench.models.kind import ModelKind

__all__ = ["Continuations", "ContinuationsConfig"]

_FEWEST_OTHERS = min(OTHERS.values())
_ALLOWED = {
    "rephrases": range(PROMPT_TOKENS[0] // 2 + 2),  # the ways to shorten the shortest prompt; one drops nothing
    "locality": range(PLACES * _FEWEST_OTHERS + 1),
    "locality_tokens": range(1, MOST_AFTER + 1),
    "texts": range(_FEWEST_OTHERS + 1),
}


@dataclass(frozen=True, kw_only=True)
class ContinuationsConfig:
    """How many probes a case has."""

    rephrases: int = 2  # beginnings without their first tokens, 0 to 13
    locality: int = 8  # places in other passages whose next tokens are asked for, 0 to 400
    # Asked for at once. Of one token the 3M model knows 75 %, of three together 40 %, of ten 3 %: too few to lose.
    locality_tokens: int = 3
    texts: int = 2  # whole passages, 0 to 100


class Continuations(Dataset[ContinuationsConfig]):
    """Passages of everyday English with a continuation that the edited model would not choose."""

    name = "continuations"
    version = 1
    source = "arXiv:2110.11309 (Wikitext generation), on the embedded models' running text"
    kinds = ("causal",)
    Config = ContinuationsConfig
    task = "continuation of running text"
    licence = "MIT: passages and targets are this project's"
    citation = "Mitchell et al. 2022 (ICLR) for the task"
    size = "3,000 fit, 200 tune, 400 test"

    def __init__(self, config: ContinuationsConfig, kind: ModelKind) -> None:
        """Read the targets; raises DataError if they are wrong and ConfigError if a number is."""
        super().__init__(config, kind)
        for name, number in asdict(config).items():
            if number not in _ALLOWED[name]:
                first, last = _ALLOWED[name][0], _ALLOWED[name][-1]
                raise ConfigError(f"continuations.{name} is {number}. Give a whole number from {first} to {last}.")
        self._targets = load_targets()

    @property
    def vocabulary(self) -> str:
        return self._targets.vocabulary

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        tokenizer = self._targets.tokenizer
        places = other_places(tokenizer, split, self.config.locality_tokens)
        texts = other_passages(split)
        pairs = zip(prompts(tokenizer, split), self._targets.of_split[split], strict=True)
        for number, (prompt, target) in enumerate(pairs):
            request = EditRequest(id=case_id(split, number), prompt=prompt, target=target)
            probes = [
                *self._asked(request, prompt),
                *self._locality_probes(request, places),
                *self._text_probes(split, number, texts),
            ]
            yield EditCase(request=request, probes=tuple(probes))

    def texts(self, split: Split) -> Iterator[str]:
        """Yield the passages of a split that are not edited; no model of ours was trained on them."""
        yield from other_passages(split)

    def digest(self) -> str:
        """Give a SHA-256 over the data files, the cases, the version and the config."""
        parts = [self.name, str(self.version), self._targets.digest, repr(sorted(asdict(self.config).items()))]
        for split in Split:
            parts += map(repr, prompts(self._targets.tokenizer, split))
            parts += self.texts(split)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _asked(self, request: EditRequest, prompt: Tokens) -> Iterator[Probe]:
        """Yield the probes whose answer is the target."""
        yield Probe(id=f"{request.id}/request", kind=ProbeKind.REQUEST, prompt=prompt, answer=request.target)
        for place, dropped in enumerate(dropped_counts(prompt, request.id, self.config.rephrases), start=1):
            yield Probe(
                id=f"{request.id}/rephrase/{place}",
                kind=ProbeKind.REPHRASE,
                prompt=without_first(prompt, dropped),
                answer=request.target,
            )

    def _locality_probes(self, request: EditRequest, places: Sequence[Place]) -> Iterator[Probe]:
        """Yield places that follow one another in their shuffled order, from a drawn one on."""
        start = rank("locality", request.id)
        for step in range(self.config.locality):
            name, before, after = places[(start + step) % len(places)]
            yield Probe(id=f"loc/{name}", kind=ProbeKind.LOCALITY, prompt=before, answer=after, scope="distant")

    def _text_probes(self, split: Split, number: int, texts: Sequence[str]) -> Iterator[Probe]:
        """Yield the next passages, which are gone through again and again."""
        for place in range(self.config.texts):
            index = (number * self.config.texts + place) % len(texts)
            yield Probe(id=f"text/{split}/{index}", kind=ProbeKind.TEXT, prompt="", answer=texts[index])
