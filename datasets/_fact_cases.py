"""Cases made of facts: requests, rephrases, locality probes and running text.

Everything that is drawn is drawn by a hash of the ids, so a case is the same whichever cases
are made before it. A locality probe has the same id in every case that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from bench.datasets._fact_splits import held_out_phrasings, split_facts, trained_phrasings
from bench.datasets._fact_table import Fact, FactTable, rank
from bench.editing.dataset import Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind

__all__ = ["LABELS", "CaseMaker"]

LABELS = ("false", "true")  # of the claims that a classifier reads


class CaseSettings(Protocol):
    """What a case is like; FactsConfig says what each is."""

    @property
    def rephrases(self) -> int: ...
    @property
    def locality_relation(self) -> int: ...
    @property
    def locality_subject(self) -> int: ...
    @property
    def locality_distant(self) -> int: ...
    @property
    def texts(self) -> int: ...
    @property
    def own_labels(self) -> bool: ...


class Neighbour(NamedTuple):
    """A fact to ask for after an edit of another; scope as in Probe."""

    scope: str
    fact: Fact


class CaseMaker:
    """Makes the cases of one split.

    Args:
        table: all facts.
        split: the split whose facts are edited and asked for.
        settings: how many probes a case has, and which targets claims get.
        pool: passages of running text; empty for models that do not continue text.
    """

    def __init__(self, table: FactTable, split: Split, settings: CaseSettings, pool: Sequence[str]) -> None:
        self._table = table
        self._split = split
        self._settings = settings
        self._pool = pool
        self._facts = split_facts(table, split)
        self._of_relation = {
            name: tuple(fact for fact in self._facts if fact.relation == name) for name in table.relations
        }

    def object_case(self, number: int, fact: Fact) -> EditCase:
        """Ask to answer with another object of the relation; number is the case's place."""
        target = self._other_object(fact, "target")
        request = EditRequest(
            id=f"facts/{fact.id}",
            prompt=self._request_prompt(fact),
            target=target,
            subject=fact.subject,
            old_target=fact.object,
        )
        rephrased = [self._table.prompt(fact, p) for p in self._rephrasings(fact)]
        probes = list(self._asked(fact, request, rephrased, alternative=fact.object))
        for neighbour in self._neighbours(fact, target):
            phrasing = self._locality_phrasing(fact, neighbour.fact)
            probes.append(
                Probe(
                    id=f"loc/{neighbour.fact.id}/{phrasing}",
                    kind=ProbeKind.LOCALITY,
                    prompt=self._table.prompt(neighbour.fact, phrasing),
                    answer=neighbour.fact.object,
                    scope=neighbour.scope,
                    about=neighbour.fact.id,
                )
            )
        probes.extend(self._text_probes(number))
        return EditCase(request=request, probes=tuple(probes))

    def claim_case(self, number: int, fact: Fact) -> EditCase:
        """Ask to call a true claim false, or a false one true, by turns of the case's place.

        With own labels every second pair of claims is to keep its label.
        """
        is_true = number % 2 == 0
        is_kept = self._settings.own_labels and number % 4 >= 2
        claimed = fact.object if is_true else self._other_object(fact, "claim")
        request = EditRequest(
            id=f"facts/{fact.id}",
            prompt=f"{self._request_prompt(fact)} {claimed}.",
            target=LABELS[is_true if is_kept else not is_true],
            subject=fact.subject,
            old_target=LABELS[is_true],
        )
        rephrased = [f"{self._table.prompt(fact, p)} {claimed}." for p in self._rephrasings(fact)]
        probes = list(self._asked(fact, request, rephrased, alternative=LABELS[LABELS[1] != request.target]))
        for place, neighbour in enumerate(self._neighbours(fact, claimed)):
            # The parity of the edit is mixed in, so that true and false are spread over the scopes.
            probes.append(self._claim_probe(fact, neighbour, is_true=(place + rank("parity", fact.id)) % 2 == 0))
        return EditCase(request=request, probes=tuple(probes))

    def _asked(
        self, fact: Fact, request: EditRequest, rephrased: Sequence[str], *, alternative: str
    ) -> Iterator[Probe]:
        """Yield the probes whose answer is the target."""
        asked = [(ProbeKind.REQUEST, request.prompt), *((ProbeKind.REPHRASE, prompt) for prompt in rephrased)]
        for place, (kind, prompt) in enumerate(asked):
            yield Probe(
                id=f"{request.id}/{kind}" + (f"/{place}" if place else ""),
                kind=kind,
                prompt=prompt,
                answer=request.target,
                alternative=alternative,
                about=fact.id,
            )

    def _claim_probe(self, edited: Fact, neighbour: Neighbour, *, is_true: bool) -> Probe:
        fact = neighbour.fact
        phrasing = self._locality_phrasing(edited, fact)
        claimed = fact.object if is_true else self._other_object(fact, "claim")
        return Probe(
            id=f"loc/{fact.id}/{phrasing}/{LABELS[is_true]}",
            kind=ProbeKind.LOCALITY,
            prompt=f"{self._table.prompt(fact, phrasing)} {claimed}.",
            answer=LABELS[is_true],
            scope=neighbour.scope,
            about=fact.id,
        )

    def _text_probes(self, number: int) -> Iterator[Probe]:
        """Yield the next passages of the pool, which is gone through again and again."""
        for place in range(min(self._settings.texts, len(self._pool))):
            index = (number * self._settings.texts + place) % len(self._pool)
            yield Probe(id=f"text/{self._split}/{index}", kind=ProbeKind.TEXT, prompt="", answer=self._pool[index])

    def _neighbours(self, fact: Fact, target: str) -> Iterator[Neighbour]:
        """Yield the facts that an edit must leave alone: same relation, same subject, distant."""
        counts = self._settings
        # An edited fact may be told from the other side too: the currency of a country, the
        # country of that currency. Facts that name the subject or an object of the edit are spared.
        named = {fact.subject.lower(), *(_bare(name) for name in (fact.object, target))}
        for found in self._same_relation(fact):
            yield Neighbour("relation", found)

        tied = {fact.relation, *self._table.relations[fact.relation].tied}
        subject = [f for f in self._table.by_subject[fact.subject] if f.relation not in tied]
        of_subject = _draw(subject, counts.locality_subject, "subject", fact.id)
        for found in of_subject:
            yield Neighbour("subject", found)

        wanted = counts.locality_distant + counts.locality_subject - len(of_subject)
        for found in self._distant(fact, named, wanted):
            yield Neighbour("distant", found)

    def _same_relation(self, fact: Fact) -> Iterator[Fact]:
        """Yield facts of other subjects, of the same split where it has enough."""
        wanted = self._settings.locality_relation
        facts = self._of_relation[fact.relation]
        if len(facts) <= wanted:
            facts = self._table.by_relation[fact.relation]
        others = (found for found in _walk(facts, rank("relation", fact.id)) if found.subject != fact.subject)
        return islice(others, wanted)

    def _distant(self, fact: Fact, named: set[str], wanted: int) -> Iterator[Fact]:
        """Yield facts of other relations and subjects, all of different relations while they last."""
        taken: set[str] = set()
        for found in _walk(self._facts, rank("distant", fact.id)):
            if len(taken) == wanted:
                return
            far = found.relation != fact.relation and found.subject != fact.subject
            if far and found.relation not in taken and not {found.subject.lower(), _bare(found.object)} & named:
                taken.add(found.relation)
                yield found

    def _request_prompt(self, fact: Fact) -> str:
        phrasings = trained_phrasings(self._table, fact)
        return self._table.prompt(fact, phrasings[rank("request", fact.id) % len(phrasings)])

    def _rephrasings(self, fact: Fact) -> tuple[int, ...]:
        return held_out_phrasings(self._table, fact)[: self._settings.rephrases]

    def _locality_phrasing(self, edited: Fact, fact: Fact) -> int:
        phrasings = trained_phrasings(self._table, fact)
        return phrasings[rank("locality", edited.id, fact.id) % len(phrasings)]

    def _other_object(self, fact: Fact, use: str) -> str:
        others = [answer for answer in self._table.objects[fact.relation] if answer != fact.object]
        return others[rank(use, fact.id) % len(others)]


def _walk(facts: Sequence[Fact], start: int) -> Iterator[Fact]:
    """Yield facts in their shuffled order from a drawn place on: a draw of its own for each case would be slow."""
    for step in range(len(facts)):
        yield facts[(start + step) % len(facts)]


def _draw(facts: Sequence[Fact], count: int, *parts: str) -> list[Fact]:
    return sorted(facts, key=lambda fact: rank(*parts, fact.id))[:count]


def _bare(name: str) -> str:
    return name.lower().removeprefix("the ")
