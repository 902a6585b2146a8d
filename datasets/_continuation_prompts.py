"""The passages of the continuations: which are cut into prompts, which must stay, and where they are cut.

All is drawn by hashes of ids, so that a prompt is the same whichever others are made before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tokenizers import Tokenizer

from bench.datasets._fact_table import rank
from bench.datasets._prose import passages
from bench.editing.dataset import Split

__all__ = [
    "CASES",
    "MOST_AFTER",
    "OTHERS",
    "PLACES",
    "PROMPT_TOKENS",
    "Place",
    "Tokens",
    "case_id",
    "dropped_counts",
    "other_passages",
    "other_places",
    "prompts",
    "without_first",
]

Tokens = tuple[int, ...]

CASES = {Split.FIT: 3000, Split.TUNE: 200, Split.TEST: 400}
OTHERS = {Split.FIT: 600, Split.TUNE: 100, Split.TEST: 200}  # passages that are never edited
# Seeds of the passages; 1 to 4 are those of the facts' training and splits.
SEEDS = {Split.FIT: 5, Split.TUNE: 6, Split.TEST: 7}
# Passages have 59 tokens and more; with the target and what is generated the longest is below the 128 positions.
PROMPT_TOKENS = range(24, 49)
PLACES = 4  # of each other passage at which its own next tokens are asked for
FEWEST_BEFORE, MOST_AFTER = 16, 10  # tokens before and after such a place


class Place(NamedTuple):
    """A place in a passage: its name, the tokens before it, and those that come next."""

    name: str
    before: Tokens
    after: Tokens


def case_id(split: Split, number: int) -> str:
    """Give the id of a split's case."""
    return f"continuations/{split}/{number:04d}"


def prompts(tokenizer: Tokenizer, split: Split) -> list[Tokens]:
    """Give the beginning of each passage that is edited: the start token, then 24 to 48 of its tokens."""
    found = []
    for number, ids in enumerate(_coded(tokenizer, _passages(split)[: CASES[split]])):
        count = PROMPT_TOKENS[rank("prompt", case_id(split, number)) % len(PROMPT_TOKENS)]
        found.append(ids[: 1 + count])
    return found


def dropped_counts(prompt: Tokens, id: str, count: int) -> list[int]:
    """Draw how many leading tokens are dropped, uniformly from 0 to half of the prompt, each number once.

    Source: eric-mitchell/mend, wikitext: r in {0..⌊(T − 10) / 2⌋}, T = tokens with the ten of the target. There r
    is drawn for a batch with its padded length, here for a passage with its own.
    """
    half = (len(prompt) - 1) // 2
    return sorted(range(half + 1), key=lambda dropped: rank("dropped", id, dropped))[:count]


def without_first(prompt: Tokens, dropped: int) -> Tokens:
    """Drop leading tokens; the start token, with which every text of the models begins, stays."""
    return (prompt[0], *prompt[1 + dropped :])


def other_passages(split: Split) -> Sequence[str]:
    """Give the passages of a split that are never edited."""
    return _passages(split)[CASES[split] :]


def other_places(tokenizer: Tokenizer, split: Split, count: int) -> list[Place]:
    """Give places in the other passages in a shuffled order, each with so many next tokens."""
    found = []
    for number, ids in enumerate(_coded(tokenizer, other_passages(split))):
        # The last tokens of a passage are left out, whatever the count, so that it does not move the places.
        for start in _drawn(range(1 + FEWEST_BEFORE, len(ids) - MOST_AFTER + 1), "place", split, str(number)):
            found.append(Place(f"{split}/{number:04d}/{start}", ids[:start], ids[start : start + count]))
    return sorted(found, key=lambda place: rank("order", place.name))


@cache
def _passages(split: Split) -> Sequence[str]:
    return passages(SEEDS[split], CASES[split] + OTHERS[split])


def _drawn(starts: range, *parts: str) -> list[int]:
    return sorted(starts, key=lambda start: rank(*parts, start))[:PLACES]


def _coded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    return [tuple(coded.ids) for coded in tokenizer.encode_batch(list(texts))]
