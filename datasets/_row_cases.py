"""Cases made of the rows of data files, and the pools that their locality probes are drawn from.

All is drawn by hashes of ids and the seed, so that a case is the same whichever others are made before it.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence

from bench.datasets._fact_table import rank
from bench.datasets._rows import Asked, Row
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind, Text

__all__ = ["POOL", "drawn", "from_pool", "make_pool", "row_case"]

POOL = 2_000  # questions of a split that locality probes are drawn from; all of them where there are fewer


def row_case(row: Row, locality: Iterable[Asked], *, rephrases: int, seed: int) -> EditCase:
    """Make a case of a row.

    Args:
        row: the edit.
        locality: questions that it must leave alone; one that is put twice is a probe once.
        rephrases: how many to draw at most.
        seed: of the drawing.
    """
    request = EditRequest(
        id=row.id, prompt=row.prompt, target=row.target, subject=row.subject, old_target=row.old_target
    )
    prompts: list[Text] = [row.prompt, *drawn(row.rephrases, rephrases, "rephrase", seed, row.id)]
    probes = [
        Probe(
            id=f"{row.id}/rephrase/{place}" if place else f"{row.id}/request",
            kind=ProbeKind.REPHRASE if place else ProbeKind.REQUEST,
            prompt=prompt,
            answer=row.target,
            alternative=row.alternative,
            about=row.id,
        )
        for place, prompt in enumerate(prompts)
    ]
    found = {probe.id: probe for probe in map(_locality_probe, locality)}
    return EditCase(request=request, probes=(*probes, *found.values()))


def drawn(values: Sequence[str], count: int, *parts: str | int) -> list[str]:
    """Draw some of the values, each at most once; all of them where there are too few."""
    return sorted(dict.fromkeys(values), key=lambda value: rank(*parts, value))[:count]


def make_pool(asked: Iterable[Asked], seed: int) -> list[Asked]:
    """Draw the questions of a pool, holding no more than it has."""
    return heapq.nsmallest(POOL, asked, key=lambda one: rank("pool", seed, one.prompt, one.answer))


def from_pool(pool: Sequence[Asked], row: Row, count: int) -> Iterator[Asked]:
    """Yield questions that follow one another in the pool from a drawn one on, none of them about the row itself."""
    start = rank("locality", row.id)
    found = 0
    for step in range(len(pool)):
        if found == count:
            return
        one = pool[(start + step) % len(pool)]
        if one.group != row.group and one.prompt != row.prompt:
            found += 1
            yield one


def _locality_probe(one: Asked) -> Probe:
    name = hashlib.sha256(f"{one.prompt}\0{one.answer}".encode()).hexdigest()[:12]
    return Probe(
        id=f"loc/{name}",
        kind=ProbeKind.LOCALITY,
        prompt=one.prompt,
        answer=one.answer,
        scope=one.scope,
        about=one.about,
    )
