"""Which split a subject is in, and which phrasings of a fact are kept from training."""

from __future__ import annotations

from functools import cache

from bench.datasets._fact_table import Fact, FactTable, rank
from bench.editing.dataset import Split

__all__ = ["HELD_OUT", "held_out_phrasings", "split_facts", "split_of", "trained_phrasings"]

HELD_OUT = 2  # phrasings of each fact that no model is trained on

# Shares of the subjects, by a hash: 8 % for early stopping, enough for a test at ±3 points.
TEST_SHARE = 0.32
TUNE_SHARE = 0.08


def split_of(subject: str) -> Split:
    """Give the split that holds all facts of a subject."""
    place = rank("split", subject) / 2**64
    if place < TEST_SHARE:
        return Split.TEST
    return Split.TUNE if place < TEST_SHARE + TUNE_SHARE else Split.FIT


def held_out_phrasings(table: FactTable, fact: Fact) -> tuple[int, ...]:
    """Give the places of the phrasings that only rephrase probes use."""
    return _shuffled_phrasings(fact.id, len(table.relations[fact.relation].phrasings))[:HELD_OUT]


def trained_phrasings(table: FactTable, fact: Fact) -> tuple[int, ...]:
    """Give the places of the phrasings that the corpus, requests and locality probes use."""
    return _shuffled_phrasings(fact.id, len(table.relations[fact.relation].phrasings))[HELD_OUT:]


def split_facts(table: FactTable, split: Split) -> tuple[Fact, ...]:
    """Give the facts of a split in a fixed order in which the relations are mixed."""
    found = [fact for fact in table.facts if split_of(fact.subject) is split]
    return tuple(sorted(found, key=lambda fact: rank("order", fact.id)))


@cache
def _shuffled_phrasings(fact_id: str, count: int) -> tuple[int, ...]:
    return tuple(sorted(range(count), key=lambda place: rank("phrasing", fact_id, place)))
