"""Zero-shot relation extraction as questions: a case asks to answer a question about an entity in another way.

It reads the JSON Lines of KnowledgeEditor and MEND, and EasyEdit's JSON. The new answer is one of the alternatives that
the file gives, rephrases are the file's, and locality probes are questions of Natural Questions, as in the paper.

Source: Levy et al. 2017 (arXiv:1706.04115), as De Cao et al. 2021 (arXiv:2104.08164) made edits of it.
Differs from eric-mitchell/mend in: no text is cut at 32 tokens; the alternative and the rephrase are drawn once, by the
seed and the id, not anew at each use; each split has locality questions of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

from bench.datasets._entries import Entry
from bench.datasets._nq import as_question, nq_questions
from bench.datasets._row_cases import drawn, from_pool, make_pool, row_case
from bench.datasets._rows import Asked, LeftOut, Row, Rows, content_id, digest_of
from bench.datasets._source import file_digest, find_file
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase
from bench.errors import ConfigError, DataError
from bench.models.kind import ModelKind

__all__ = ["Zsre", "ZsreConfig"]


@config
class ZsreConfig:
    """Which files are read, and what is drawn from them."""

    path: str = ""  # file with the cases to test on; the only one unless fit_path is given
    fit_path: str = ""  # file with the cases to fit on, like zsre_mend_train.json beside zsre_mend_eval.json
    nq_path: str = ""  # NQ-open, for locality; needed where the file itself has no questions of NQ (MEND's has none)
    locality: Literal["nq", "same"] = "nq"  # questions of Natural Questions, or other questions of zsRE
    locality_label: Literal["gold", "prediction"] = (
        "gold"  # with `same`: the true answer, or what the file's model said
    )
    locality_probes: int = 4  # MEND evaluates one edit with four
    rephrases: int = 1  # at most; MEND draws one
    seed: int = 0  # of all that is drawn; it does not change the splits


class Zsre(Dataset[ZsreConfig]):
    """Questions about entities, to be answered in another way."""

    name = "zsre"
    version = 1
    source = "arXiv:1706.04115, edits of arXiv:2104.08164"
    kinds = ("causal", "seq2seq")
    Config = ZsreConfig
    task = "question answering"
    licence = "questions: none stated; edits: with MIT code; NQ: CC BY-SA 3.0"
    citation = "Levy et al. 2017 (CoNLL); De Cao et al. 2021 (EMNLP); Kwiatkowski et al. 2019 (TACL) for NQ"
    size = "about 244,000 train and 28,000 dev (KnowledgeEditor); 163,000 and 19,000 (EasyEdit)"

    def __init__(self, config: ZsreConfig, kind: ModelKind) -> None:
        """Read and check the files; raises DataError if one is wrong and ConfigError if a field is."""
        super().__init__(config, kind)
        if config.locality_probes < 0 or config.rephrases < 0:
            raise ConfigError("zsre.locality_probes and zsre.rephrases are numbers of probes, 0 or more.")
        if config.locality_label == "prediction" and config.locality == "nq":
            raise ConfigError("zsre.locality_label=prediction needs zsre.locality=same: NQ has no predictions.")
        path = find_file(config.path, field="zsre.path", sample="zsre_easyedit.json")
        fit_path = find_file(config.fit_path, field="zsre.fit_path", sample="") if config.fit_path else None
        self._nq = find_file(config.nq_path, field="zsre.nq_path", sample="nq.jsonl") if config.nq_path else None
        self._rows = Rows(path, fit_path, self._read, seed=config.seed)
        self._pool = cache(self._make_pool)

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        for row in self._rows.of(split):
            own = row.asked[: self.config.locality_probes]
            others = from_pool(self._pool(split), row, self.config.locality_probes - len(own))
            yield row_case(row, (*own, *others), rephrases=self.config.rephrases, seed=self.config.seed)

    def left_out(self) -> Mapping[str, int]:
        return self._rows.left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the version, the kind and the config but for the paths."""
        return digest_of(self, self._rows.digest, *([file_digest(self._nq)] if self._nq else []))

    def _make_pool(self, split: Split) -> Sequence[Asked]:
        if self._nq:
            found = nq_questions(self._nq, split)
        else:
            found = (asked for row in self._rows.of(split) for asked in self._pooled(row))
        pool = make_pool(found, self.config.seed)
        if not pool and self.config.locality_probes:
            raise DataError(
                f"zsre has no question to ask for locality in its {split} split. Name a file of NQ-open with --set "
                "zsre.nq_path=FILE, or take other questions of zsRE with --set zsre.locality=same."
            )
        return pool

    def _pooled(self, row: Row) -> Iterator[Asked]:
        if self.config.locality == "nq":
            yield from row.asked
            return
        answer = row.gold if self.config.locality_label == "gold" else row.old_target
        if answer:
            yield Asked(str(row.prompt), str(answer), "distant", row.id, row.group)

    def _read(self, entry: Entry) -> Row | LeftOut:
        if "src" in entry:
            return self._easyedit(entry)
        if "input" in entry:
            return self._mend(entry)
        raise entry.wrong(
            "this is neither an entry of MEND's files (input, prediction, alternatives, filtered_rephrases, output) "
            "nor of EasyEdit's (src, pred, alt, rephrase, answers, loc, loc_ans); its fields are "
            + ", ".join(entry.values)
        )

    def _mend(self, entry: Entry) -> Row | LeftOut:
        prompt, prediction = entry.text("input"), entry.text("prediction")
        answers = [output.text("answer") for output in entry.parts("output") if "answer" in output]
        row = Row(
            id=f"zsre/{entry.name('id')}" if "id" in entry else content_id("zsre", prompt, prediction),
            where=entry.where,
            group=_title(entry) or prompt,
            prompt=prompt,
            target="",
            subject=_title(entry),
            old_target=prediction,
            gold=answers[0] if answers else None,
            rephrases=entry.texts("filtered_rephrases"),
            is_named="id" in entry,
        )
        return self._chosen(row, entry.texts("alternatives"))

    def _easyedit(self, entry: Entry) -> Row | LeftOut:
        prompt, subject, target = entry.text("src"), entry.text("subject"), entry.text("alt")
        answers = entry.texts("answers")
        takes_own = self.config.locality == "nq" and not self._nq
        row = Row(
            id=content_id("zsre", prompt, target),
            where=entry.where,
            group=subject or prompt,
            prompt=prompt,
            target="",
            subject=subject,
            old_target=entry.text("pred"),
            gold=answers[0] if answers else None,
            rephrases=(entry.text("rephrase"),),
            asked=(Asked(as_question(entry.text("loc")), entry.text("loc_ans"), "distant"),) if takes_own else (),
        )
        return self._chosen(row, (target,))

    def _chosen(self, row: Row, alternatives: Sequence[str]) -> Row | LeftOut:
        """Draw the target of a row, with the filters of eric-mitchell/mend."""
        targets = [target for target in alternatives if target.strip()]
        rephrases = tuple(text for text in row.rephrases if text.strip() and text != row.prompt)
        if not str(row.prompt).strip():
            return LeftOut("there is no question")
        if not targets:
            return LeftOut("there is no alternative")
        if not rephrases:
            return LeftOut("there is no rephrase but the question itself")
        old = row.old_target or None
        return replace(
            row,
            target=drawn(targets, 1, "alternative", self.config.seed, row.id)[0],
            subject=row.subject if row.subject and row.subject in str(row.prompt) else None,
            old_target=old,
            alternative=old,
            rephrases=rephrases,
        )


def _title(entry: Entry) -> str | None:
    """Give the page that the answer was found on, which is that of the entity, where KILT's rows still have it."""
    for output in entry.parts("output"):
        for page in output.parts("provenance") if "provenance" in output else []:
            if "title" in page:
                return page.text("title") or None
    return None
