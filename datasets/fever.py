"""FEVER: a case asks a classifier to call a claim true or false, in half of them against what the model said.

It reads KnowledgeEditor's JSON Lines, which have rephrases, FEVER's own, and FEVER-Symmetric's. Locality probes are
other claims of the split with their true label. FEVER-Symmetric has each claim twice, with evidence that supports and
with evidence that refutes it, so that its prompts are claim and evidence together.

Source: Thorne et al. 2018 (arXiv:1803.05355); De Cao et al. 2021 (arXiv:2104.08164); Schuster et al. 2019
(arXiv:1908.05267). Differs from eric-mitchell/mend in: no claim is cut at 32 tokens; what is drawn is drawn once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from bench.datasets._entries import Entry
from bench.datasets._fact_table import rank
from bench.datasets._row_cases import from_pool, make_pool, row_case
from bench.datasets._rows import Asked, LeftOut, Row, Rows, content_id, digest_of
from bench.datasets._source import find_file
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase
from bench.errors import ConfigError
from bench.models.kind import ModelKind

__all__ = ["Fever", "FeverConfig"]

_UNSURE = "NOT ENOUGH INFO"
# FEVER-Symmetric counts its variants of a claim: the claim's own number, six noughts, and 2, 3 or 4.
_VARIANT = re.compile(r"(\d+)0{6}[234]")


@config
class FeverConfig:
    """Which files are read, what the model calls the labels, and what is drawn."""

    path: str = ""  # file with the claims to test on; the only one unless fit_path is given
    fit_path: str = ""  # file with the claims to fit on, like fever-train-kilt.jsonl beside fever-dev-kilt.jsonl
    supports: str = "true"  # what the model calls a claim that is supported
    refutes: str = "false"  # what it calls one that is refuted
    own_labels: bool = True  # half of the requests ask for the label that the model gave, as in the paper
    locality_probes: int = 4  # MEND evaluates one edit with four
    rephrases: int = 1  # at most; MEND draws one
    most_words: int = 0  # prompts of more words are left out, 0: none; MEND cuts them at 32 tokens
    seed: int = 0  # of all that is drawn; it does not change the splits


class Fever(Dataset[FeverConfig]):
    """Claims about entries of Wikipedia, to be called true or false."""

    name = "fever"
    version = 1
    source = "arXiv:1803.05355, edits of arXiv:2104.08164, arXiv:1908.05267"
    kinds = ("classifier",)
    Config = FeverConfig
    task = "claim classification"
    licence = "Wikipedia's terms, or CC BY-SA 3.0"
    citation = "Thorne et al. 2018 (NAACL); De Cao et al. 2021 (EMNLP); Schuster et al. 2019 (EMNLP)"
    size = "about 105,000 train and 10,000 dev (KILT); 956 and 708 (FEVER-Symmetric)"

    def __init__(self, config: FeverConfig, kind: ModelKind) -> None:
        """Read and check the files; raises DataError if one is wrong and ConfigError if a field is."""
        super().__init__(config, kind)
        for name in ("locality_probes", "rephrases", "most_words"):
            if getattr(config, name) < 0:
                raise ConfigError(f"fever.{name} is {getattr(config, name)}; it must be at least 0.")
        if config.supports == config.refutes:
            raise ConfigError(
                f"fever.supports and fever.refutes are both {config.supports!r}; a model tells them apart."
            )
        self._names = {"SUPPORTS": config.supports, "REFUTES": config.refutes}
        path = find_file(config.path, field="fever.path", sample="fever_ke.jsonl")
        fit_path = find_file(config.fit_path, field="fever.fit_path", sample="") if config.fit_path else None
        self._rows = Rows(path, fit_path, self._read, seed=config.seed)
        self._pool = cache(self._make_pool)

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        pool = self._pool(split)
        for row in self._rows.of(split):
            others = from_pool(pool, row, self.config.locality_probes)
            yield row_case(row, others, rephrases=self.config.rephrases, seed=self.config.seed)

    def left_out(self) -> Mapping[str, int]:
        return self._rows.left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the version, the kind and the config but for the paths."""
        return digest_of(self, self._rows.digest)

    def _make_pool(self, split: Split) -> Sequence[Asked]:
        rows = self._rows.of(split)
        return make_pool((Asked(str(r.prompt), str(r.gold), "distant", r.id, r.group) for r in rows), self.config.seed)

    def _read(self, entry: Entry) -> Row | LeftOut:
        if "input" in entry:
            return self._knowledge_editor(entry)
        if "claim" in entry and ("evidence_sentence" in entry or "gold_label" in entry):
            return self._symmetric(entry)
        if "claim" in entry:
            return self._fever(entry)
        raise entry.wrong(
            "this is neither a line of KnowledgeEditor's files (input, output, prediction, alternatives, "
            "filtered_rephrases) nor of FEVER's (id, claim, label, evidence) nor of FEVER-Symmetric's (id, claim, "
            f"label, evidence_sentence or evidence); its fields are {', '.join(entry.values)}"
        )

    def _knowledge_editor(self, entry: Entry) -> Row | LeftOut:
        claim = entry.text("input")
        outputs = entry.parts("output")
        if not outputs:
            raise entry.wrong("the field 'output' is empty; its first element has the label")
        rephrases = tuple(text for text in entry.texts("filtered_rephrases") if text.strip() and text != claim)
        if not entry.texts("alternatives"):
            return LeftOut("there is no alternative")
        if not rephrases:
            return LeftOut("there is no rephrase but the claim itself")
        id = f"fever/{entry.name('id')}" if "id" in entry else content_id("fever", claim)
        pages = [page.text("title") for out in outputs if "provenance" in out for page in out.parts("provenance")]
        said = self._label(entry, entry.text("prediction"))
        gold = self._label(outputs[0], outputs[0].text("answer"))
        return self._row(entry, id, claim, said=said, gold=gold, page=pages[0] if pages else None, rephrases=rephrases)

    def _fever(self, entry: Entry) -> Row | LeftOut:
        if entry.text("label") == _UNSURE:
            return LeftOut(f"the label is {_UNSURE}")
        gold = self._label(entry, entry.text("label"))
        id = f"fever/{entry.name('id')}"
        return self._row(entry, id, entry.text("claim"), said=gold, gold=gold, page=_first_page(entry))

    def _symmetric(self, entry: Entry) -> Row | LeftOut:
        number = entry.name("id")
        variant = _VARIANT.fullmatch(number)
        evidence = entry.text("evidence_sentence" if "evidence_sentence" in entry else "evidence")
        gold = self._label(entry, entry.text("label"))
        claim = entry.text("claim")
        row = self._row(entry, f"fever/{number}", f"{claim} Evidence: {evidence}", said=gold, gold=gold, page=None)
        if isinstance(row, LeftOut):
            return row
        return replace(row, group=f"number {variant[1] if variant else number}", also=(claim,))

    def _row(
        self,
        entry: Entry,
        id: str,
        claim: str,
        *,
        said: str,
        gold: str,
        page: str | None,
        rephrases: tuple[str, ...] = (),
    ) -> Row | LeftOut:
        """Make a row; said is the label that the model gave, or the true one where the file does not tell."""
        words = len(claim.split())
        if not words:
            return LeftOut("there is no claim")
        if words > self.config.most_words > 0:
            return LeftOut(f"the prompt has more than {self.config.most_words} words")
        (other,) = set(self._names.values()) - {said}
        is_kept = self.config.own_labels and rank("own label", self.config.seed, id) % 2 == 0
        return Row(
            id=id,
            where=entry.where,
            group=page or claim,
            prompt=claim,
            target=said if is_kept else other,
            subject=page if page and page in claim else None,
            old_target=said,
            alternative=other if is_kept else said,
            gold=gold,
            rephrases=rephrases,
            is_named="id" in entry,
        )

    def _label(self, entry: Entry, label: str) -> str:
        if label not in self._names:
            raise entry.wrong(f"the label {label!r} is none of {', '.join(self._names)}")
        return self._names[label]


def _first_page(entry: Entry) -> str | None:
    """Give the title of the first page of the evidence: lists of lists of [annotation, evidence, page, sentence]."""
    evidence = entry.values.get("evidence")
    while isinstance(evidence, list) and evidence and isinstance(evidence[0], list):
        evidence = evidence[0]
    if isinstance(evidence, list) and len(evidence) == 4 and isinstance(evidence[2], str):
        return evidence[2].replace("_", " ").replace("-LRB-", "(").replace("-RRB-", ")")
    return None
