"""The running text: length, variety, and nothing that the facts tell."""

from __future__ import annotations

import re

from bench.datasets._fact_table import load_table
from bench.datasets._prose import passages
from bench.datasets._prose_words import MEN, WOMEN


def test_passages_have_four_to_six_sentences_and_50_to_90_words() -> None:
    for text in passages(7, 300):
        assert 50 <= len(text.split()) <= 90
        assert 4 <= len(re.findall(r"[.](?: |$)", text)) <= 6


def test_passages_of_one_seed_are_different_and_so_are_those_of_two() -> None:
    first, second = passages(1, 500), passages(2, 500)

    assert len({*first, *second}) == 1000


def test_a_longer_list_begins_with_the_shorter() -> None:
    assert passages(5, 30)[:10] == passages(5, 10)


def test_no_slot_is_left_and_every_sentence_begins_with_a_capital() -> None:
    for text in passages(8, 300):
        assert not set("{}") & set(text)
        assert not re.search(r"(?:^|[.] )\"?[a-z]", text)


def test_pronouns_agree_with_the_only_person() -> None:
    for text in passages(9, 500):
        people = [name for name in (*WOMEN, *MEN) if re.search(rf"\b{name}\b", text)]
        if len(people) == 1:
            wrong = r"\b(he|his|him|himself)\b" if people[0] in WOMEN else r"\b(she|her|herself)\b"
            assert not re.search(wrong, text, re.IGNORECASE), text


def test_both_women_and_men_are_the_main_person() -> None:
    first = [next(word for word in re.findall(r"\w+", text) if word in (*WOMEN, *MEN)) for text in passages(12, 100)]

    assert {name in WOMEN for name in first} == {True, False}


def test_a_pronoun_does_not_open_the_sentence_after_one_about_another_person() -> None:
    about_another = re.compile(r"(?:, who lived next door,| wanted to help)[^.]*[.] (\w+)")
    openings = {word for text in passages(13, 500) for word in about_another.findall(text)}

    assert openings
    assert openings & {"He", "She"} == set()


def test_articles_fit_the_next_word() -> None:
    for text in passages(10, 500):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiouh]", text, re.IGNORECASE), text


def test_no_passage_names_a_subject_of_the_facts() -> None:
    capitals = set(re.findall(r"\b[A-Z][a-z]+\b", " ".join(passages(11, 1000))))

    assert {fact.subject for fact in load_table().facts} & capitals == set()
