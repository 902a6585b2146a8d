"""Generation: a case asks to continue the beginning of a passage by tokens that a model of your choice sampled.

The edits are a file that `bench datasets sample` writes, or the paper's JSON. Rephrases are the same beginning without
some of its first tokens. Text probes are whole passages, for the perplexity, and locality probes ask for the next words
of others; both are of articles that are never edited.

Source: Mitchell et al. 2022 (arXiv:2110.11309), on WikiText (Merity et al. 2016, arXiv:1609.07843). Differs from
eric-mitchell/mend in: how many tokens are dropped is drawn once for a case, not for a batch with its padded length;
passages for the perplexity are cut, since a longer one than the model reads could not be scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from bench.datasets._fact_table import rank
from bench.datasets._row_cases import from_pool
from bench.datasets._rows import Asked, Row, Rows, digest_of
from bench.datasets._source import file_digest, find_file
from bench.datasets._wikitext_edits import edit_entries, edit_reader, find_tokenizer, find_vocabulary
from bench.datasets._wikitext_passages import beginnings, check_passages, passages_to_keep, place_in, shortened
from bench.editing.config import config
from bench.editing.dataset import Beginning, Dataset, Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import ConfigError, DataError
from bench.models.kind import ModelKind

__all__ = ["Wikitext", "WikitextConfig"]


@config
class WikitextConfig:
    """Which files are read, and how many probes a case has."""

    path: str = ""  # WikiText: wiki.*.tokens, a text file of such lines, or the hub's Parquet with a column `text`
    edits_path: str = (
        ""  # what `bench datasets sample` wrote, or the paper's JSON; split by article if it is the only one
    )
    fit_edits_path: str = ""  # a second file with the edits to fit on, like the paper's train.json beside valid.json
    tokenizer: str = ""  # of the paper's JSON: the model whose tokenizer its texts were made with
    rephrases: int = 1  # beginnings without their first tokens, at most; MEND draws one
    locality_probes: int = 4  # places in other passages whose next words are asked for
    locality_words: int = 1  # asked for at once
    texts: int = 2  # passages for the perplexity, at most
    passage_words: int = 150  # of a passage for perplexity or locality, 0: all; MEND cuts web text at 200 tokens
    seed: int = 0  # of all that is drawn; it does not change the splits


class Wikitext(Dataset[WikitextConfig]):
    """Passages of Wikipedia with a continuation that a model sampled."""

    name = "wikitext"
    version = 1
    source = "arXiv:2110.11309 (Wikitext generation), arXiv:1609.07843"
    kinds = ("causal",)
    Config = WikitextConfig
    task = "continuation of running text"
    licence = "CC BY-SA 3.0 and GFDL (Wikipedia)"
    citation = "Merity et al. 2016 for the texts; Mitchell et al. 2022 (ICLR) for the task"
    size = "about 68,000 edits in the paper; here as many as are sampled"

    def __init__(self, config: WikitextConfig, kind: ModelKind) -> None:
        """Read and check the files; raises DataError if one is wrong and ConfigError if a field is."""
        super().__init__(config, kind)
        for name in ("rephrases", "locality_probes", "texts", "passage_words"):
            if getattr(config, name) < 0:
                raise ConfigError(f"wikitext.{name} is {getattr(config, name)}; it must be at least 0.")
        if config.locality_words < 1:
            raise ConfigError(f"wikitext.locality_words is {config.locality_words}; it must be at least 1.")
        self._path = find_file(config.path, field="wikitext.path", sample="wikitext.txt")
        check_passages(self._path)
        self._keep = cache(lambda split: passages_to_keep(self._path, split, config.seed))
        self._vocabulary: str | None = None
        self._rows: Rows | None = None
        if config.edits_path:
            self._vocabulary, self._rows = self._edits()

    @property
    def vocabulary(self) -> str | None:
        return self._vocabulary

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        pool, passages = self._places(split), list(self.texts(split))
        for number, row in enumerate(self._required().of(split)):
            request = EditRequest(id=row.id, prompt=row.prompt, target=row.target)
            probes = [*self._asked(row), *self._locality_probes(row, pool), *self._text_probes(number, passages)]
            yield EditCase(request=request, probes=tuple(probes))

    def texts(self, split: Split) -> Iterator[str]:
        """Yield the passages of a split that are not edited, cut as the text probes are."""
        return (shortened(passage, self.config.passage_words) for passage in self._keep(split))

    def beginnings(self, code: Callable[[str], Sequence[int]], count: int) -> Iterator[Beginning]:
        return beginnings(self._path, code, count, self.config.seed)

    def left_out(self) -> Mapping[str, int]:
        return self._required().left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the vocabulary, the version and the config but for the paths."""
        return digest_of(self, file_digest(self._path), self._required().digest, str(self._vocabulary))

    def _edits(self) -> tuple[str, Rows]:
        config = self.config
        path = find_file(config.edits_path, field="wikitext.edits_path", sample="wikitext_paper.json")
        fit_path = None
        if config.fit_edits_path:
            fit_path = find_file(config.fit_edits_path, field="wikitext.fit_edits_path", sample="")
        tokenizer = find_tokenizer(config.tokenizer) if config.tokenizer else None
        vocabularies = [find_vocabulary(file, tokenizer) for file in (path, fit_path) if file]
        if len(set(vocabularies)) > 1:
            raise DataError(f"{path} and {fit_path} have token ids of different vocabularies.")
        return vocabularies[0], Rows(path, fit_path, edit_reader(tokenizer), seed=config.seed, entries=edit_entries)

    def _required(self) -> Rows:
        if self._rows is None:
            raise DataError(
                "wikitext has no edits yet. Sample them with `bench datasets sample MODEL EDITS.jsonl --set "
                "wikitext.path=FILE` and name them with --set wikitext.edits_path=EDITS.jsonl, or name the paper's "
                "JSON."
            )
        return self._rows

    def _places(self, split: Split) -> list[Asked]:
        found = (place_in(p, self.config.locality_words, self.config.passage_words) for p in self._keep(split))
        return [place for place in found if place is not None]

    def _asked(self, row: Row) -> Iterator[Probe]:
        """Yield the probes whose answer is the target.

        Dropped are r leading tokens, r in {0..⌊(T − 10) / 2⌋} with T the tokens of prompt and target (MEND), each r
        once. What the model always reads first stays.
        """
        prompt, start = tuple(row.prompt), row.start
        yield Probe(id=f"{row.id}/request", kind=ProbeKind.REQUEST, prompt=row.prompt, answer=row.target)
        counts = sorted(range((len(prompt) - start) // 2 + 1), key=lambda r: rank("drop", self.config.seed, row.id, r))
        for place, dropped in enumerate(counts[: self.config.rephrases], start=1):
            yield Probe(
                id=f"{row.id}/rephrase/{place}",
                kind=ProbeKind.REPHRASE,
                prompt=(*prompt[:start], *prompt[start + dropped :]),  # type: ignore[arg-type]
                answer=row.target,
            )

    def _locality_probes(self, row: Row, pool: Sequence[Asked]) -> Iterator[Probe]:
        for one in from_pool(pool, row, self.config.locality_probes):
            name = _short(one.prompt)
            yield Probe(
                id=f"loc/{name}", kind=ProbeKind.LOCALITY, prompt=one.prompt, answer=one.answer, scope=one.scope
            )

    def _text_probes(self, number: int, passages: Sequence[str]) -> Iterator[Probe]:
        """Yield the next passages, which are gone through again and again."""
        count = min(self.config.texts, len(passages))
        for place in range(count):
            text = passages[(number * count + place) % len(passages)]
            yield Probe(id=f"text/{_short(text)}", kind=ProbeKind.TEXT, prompt="", answer=text)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
