"""The table of facts and its relations, read from datasets/facts_data and checked."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import DataError

__all__ = ["Fact", "FactTable", "Relation", "load_table", "rank"]

FOLDER = Path(__file__).resolve().parent / "facts_data"
FACTS_FILE = "facts.csv"
RELATIONS_FILE = "relations.toml"
HEADER = ["relation", "subject", "object"]
FEWEST_PHRASINGS = 6  # two are held out, so that at least four are trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One kind of fact.

    Args:
        name: as it stands in facts.csv.
        subject_type: what a subject is, like `country`; subjects of one type share relations.
        answer_type: what an object is, like `city`.
        phrasings: texts with `{subject}`; the answer follows after a space.
        tied: relations of the same subject whose answer would follow from an edit of this one.
    """

    name: str
    subject_type: str
    answer_type: str
    phrasings: tuple[str, ...]
    tied: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One row of facts.csv; the id is short, and the same as long as relation and subject are."""

    id: str
    relation: str
    subject: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTable:
    """All relations and facts.

    Args:
        relations: by name, in the order of the file.
        facts: in the order of the file.
        with_article: the subjects that a sentence writes with "the".
        by_relation: the facts of each relation.
        by_subject: the facts of each subject.
        objects: the different objects of each relation, sorted.
        digest: SHA-256 of both files, hex digits.
    """

    relations: Mapping[str, Relation]
    facts: tuple[Fact, ...]
    with_article: frozenset[str]
    by_relation: Mapping[str, tuple[Fact, ...]]
    by_subject: Mapping[str, tuple[Fact, ...]]
    objects: Mapping[str, tuple[str, ...]]
    digest: str

    def prompt(self, fact: Fact, phrasing: int) -> str:
        """Write the question of a fact in one of the phrasings of its relation."""
        name = f"the {fact.subject}" if fact.subject in self.with_article else fact.subject
        text = self.relations[fact.relation].phrasings[phrasing].format(subject=name)
        return f"The{text[3:]}" if text.startswith("the ") else text


def rank(*parts: str | int) -> int:
    """Draw a number from a text: the same on every machine and in every process."""
    text = "\0".join(map(str, ("facts", *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@cache
def load_table(folder: Path = FOLDER) -> FactTable:
    """Read both files; raises DataError, naming file and line, if one is missing or wrong."""
    sources = {name: _read(folder / name) for name in (FACTS_FILE, RELATIONS_FILE)}
    relations, with_article = _relations(sources[RELATIONS_FILE].decode(), folder / RELATIONS_FILE)
    facts = tuple(_facts(sources[FACTS_FILE].decode(), folder / FACTS_FILE, relations))
    by_relation = {name: tuple(f for f in facts if f.relation == name) for name in relations}
    by_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        by_subject.setdefault(fact.subject, []).append(fact)
    return FactTable(
        relations=relations,
        facts=facts,
        with_article=with_article,
        by_relation=by_relation,
        by_subject={subject: tuple(found) for subject, found in by_subject.items()},
        objects={name: tuple(sorted({f.object for f in found})) for name, found in by_relation.items()},
        digest=hashlib.sha256(b"\0".join(sources.values())).hexdigest(),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the facts file {str(path)!r} can not be read: {error}. Install bench anew.") from error


def _relations(text: str, path: Path) -> tuple[dict[str, Relation], frozenset[str]]:
    try:
        content = tomllib.loads(text)
        with_article = frozenset(content["with_article"])
        relations = {name: _relation(name, entry) for name, entry in content["relations"].items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: {error} is missing or wrong. Each relation needs types and phrasings.") from error
    for relation in relations.values():
        unknown = set(relation.tied) - set(relations)
        wrong = [phrasing for phrasing in relation.phrasings if phrasing.count("{subject}") != 1]
        if unknown or wrong or len(set(relation.phrasings)) < FEWEST_PHRASINGS:
            raise DataError(
                f"{path}: relation {relation.name!r} has {len(relation.phrasings)} phrasings, wrong ones {wrong}, "
                f"unknown tied relations {sorted(unknown)}. Give {FEWEST_PHRASINGS} with one {{subject}} each."
            )
    return relations, with_article


def _relation(name: str, entry: dict[str, Any]) -> Relation:
    return Relation(
        name=name,
        subject_type=entry["subject_type"],
        answer_type=entry["answer_type"],
        phrasings=tuple(entry["phrasings"]),
        tied=tuple(entry.get("tied", ())),
    )


def _facts(text: str, path: Path, relations: Mapping[str, Relation]) -> Iterator[Fact]:
    rows = csv.reader(text.splitlines())
    if next(rows, None) != HEADER:
        raise DataError(f"{path}, line 1: the header is not {','.join(HEADER)!r}. Make it with tools/make_facts.py.")
    seen: set[str] = set()
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if len(row) != len(HEADER) or not all(row):
            raise DataError(f"{where}: {row} is not relation, subject and object. Make it with tools/make_facts.py.")
        relation, subject, answer = row
        if relation not in relations:
            raise DataError(f"{where}: relation {relation!r} is not in {RELATIONS_FILE}. Add its phrasings there.")
        fact_id = f"{rank('id', relation, subject):016x}"[:8]
        if fact_id in seen:
            raise DataError(f"{where}: {relation!r} of {subject!r} occurs twice. Keep one object.")
        seen.add(fact_id)
        yield Fact(id=fact_id, relation=relation, subject=subject, object=answer)
