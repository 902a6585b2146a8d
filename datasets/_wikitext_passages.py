"""The passages of a WikiText file: which article each is of, and which are edited and which must stay.

An article's passages are all edited or all asked for locality, by a hash of its title, so that an edit never puts
another end to a passage that is then to go on as before.

Source: Merity et al. 2016 (arXiv:1609.07843). The filter is that of eric-mitchell/mend: 50 words and more, ASCII only.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.datasets._entries import read_entries, text_lines
from bench.datasets._fact_splits import split_of
from bench.datasets._fact_table import rank
from bench.datasets._rows import Asked
from bench.editing.dataset import Beginning, Split
from bench.errors import DataError

__all__ = ["Passage", "beginnings", "check_passages", "passages_to_keep", "place_in", "shortened"]

FEWEST_WORDS = 50
MOST_KEPT = 1_000  # passages of a split for locality and perplexity
EDITED_SHARE = 0.75  # of the articles
PROMPT_TOKENS = range(24, 55)  # with the ten of a target at most 64, the length of a typical passage of the paper's
FEWEST_BEFORE = 16  # words before a place whose next words are asked for

_TITLE = re.compile(r" ?= (?!=)(.+?)(?<!=) = ?")
_TABLES = (".parquet", ".arrow", ".csv")


class Passage(NamedTuple):
    """One paragraph; the name is that of its article with a checksum."""

    article: str
    name: str
    text: str


def check_passages(path: Path) -> None:
    """Check that a file holds a passage; raises DataError if none is long enough."""
    if next(_passages(path), None) is None:
        raise DataError(f"{path} holds no passage: no paragraph on one line has {FEWEST_WORDS} words, all in ASCII.")


def beginnings(path: Path, code: Callable[[str], Sequence[int]], count: int, seed: int) -> Iterator[Beginning]:
    """Yield the beginnings of drawn passages of the articles that are edited."""
    edited = (passage for passage in _passages(path) if _is_edited(passage.article))
    for article, name, text in heapq.nsmallest(count, edited, key=lambda passage: rank("passage", seed, passage.name)):
        tokens = tuple(code(text))
        length = PROMPT_TOKENS[rank("prompt", name) % len(PROMPT_TOKENS)]
        if len(tokens) > length:
            yield Beginning(name=name, group=article, tokens=tokens[:length])


def passages_to_keep(path: Path, split: Split, seed: int) -> list[Passage]:
    """Draw passages of the articles of a split that are not edited."""
    found = (p for p in _passages(path) if not _is_edited(p.article) and split_of(p.article.casefold()) is split)
    return heapq.nsmallest(MOST_KEPT, found, key=lambda passage: rank("kept", seed, passage.name))


def place_in(passage: Passage, words: int, longest: int) -> Asked | None:
    """Draw a place in a passage and ask for its next words; None if no place has plain words."""
    all_words = passage.text.split()[: longest or None]
    starts = [
        start
        for start in range(FEWEST_BEFORE, len(all_words) - words + 1)
        if all(word.isalpha() for word in all_words[start : start + words])
    ]
    if not starts:
        return None
    start = starts[rank("place", passage.name) % len(starts)]
    before, after = " ".join(all_words[:start]), " ".join(all_words[start : start + words])
    return Asked(before, after, "distant", None, passage.article)


def shortened(passage: Passage, longest: int) -> str:
    """Give a passage's first words; all of them if longest is 0."""
    return " ".join(passage.text.split()[: longest or None])


def _passages(path: Path) -> Iterator[Passage]:
    article = ""
    for line in _lines(path):
        text = line.strip()
        if title := _TITLE.fullmatch(line.rstrip() + " "):
            article = title[1]
        elif not text.startswith("= ") and len(text.split()) >= FEWEST_WORDS and text.isascii():
            # Titles are not unique where rare words are <unk>.
            yield Passage(article, f"{article}/{hashlib.sha256(text.encode()).hexdigest()[:8]}", text)


def _lines(path: Path) -> Iterator[str]:
    if path.suffix in _TABLES:  # the hub has a row a line
        return (entry.text("text").rstrip("\n") for entry in read_entries(path))
    return (line for _, line in text_lines(path))


def _is_edited(article: str) -> bool:
    return rank("use", article) / 2**64 < EDITED_SHARE
