"""The table of facts: what it holds, and what is said of a wrong file."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from bench.datasets import _fact_table, facts
from bench.datasets._fact_table import Fact, load_table
from bench.errors import DataError

Rows = tuple[Fact, ...]
Relations = dict[str, dict[str, list[str]]]
Questions = dict[str, set[Fact]]

DATA = Path(facts.__file__).parent / "facts_data"  # in a checkout and in the wheel


def test_the_table_has_at_least_4000_facts_of_15_relations(rows: Rows) -> None:
    assert len(rows) >= 4000
    assert len({row.relation for row in rows}) >= 15


def test_no_subject_has_two_objects_in_a_relation(rows: Rows) -> None:
    pairs = Counter((row.relation, row.subject) for row in rows)

    assert {pair for pair, count in pairs.items() if count > 1} == set()


def test_a_subject_is_of_one_type_only(relations: Relations, rows: Rows) -> None:
    types = defaultdict(set)
    for row in rows:
        types[row.subject.lower()].add(relations[row.relation]["subject_type"])

    assert {subject for subject, found in types.items() if len(found) > 1} == set()


@pytest.mark.parametrize("relation", load_table().relations)
def test_a_relation_has_many_facts_answers_and_phrasings(relation: str, rows: Rows, relations: Relations) -> None:
    answers = [row.object for row in rows if row.relation == relation]

    assert 40 <= len(answers) <= 0.2 * len(rows)
    assert len(set(answers)) >= 10
    assert len(set(relations[relation]["phrasings"])) >= 6


def test_no_answer_is_longer_than_six_words(rows: Rows) -> None:
    assert {row.object for row in rows if len(row.object.split()) > 6} == set()


def test_every_prompt_has_one_answer(questions: Questions) -> None:
    assert {prompt for prompt, found in questions.items() if len(found) > 1} == set()


def test_no_prompt_goes_on_into_another_prompt(questions: Questions) -> None:
    """Else a model that continues text would see other words where the answer belongs."""
    begun = {" ".join(words[:n]) for words in (prompt.split(" ") for prompt in questions) for n in range(1, len(words))}

    assert begun & questions.keys() == set()


def test_every_prompt_can_stand_at_the_start_of_a_sentence(questions: Questions) -> None:
    unfit = [prompt for prompt in questions if prompt != prompt.strip() or prompt[0].islower() or "  " in prompt]

    assert unfit == []


def test_the_readme_counts_the_facts_of_the_table(rows: Rows) -> None:
    counts = Counter(row.relation for row in rows)
    found = re.findall(r"^\| (\w+) \| [\w, ]+ \| (\d+) \| \d+ \|$", (DATA / "README.md").read_text(), re.MULTILINE)

    assert {name: int(count) for name, count in found} == counts


def add_line(folder: Path, line: str) -> None:
    with (folder / "facts.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def copy_data(folder: Path) -> None:
    for name in (_fact_table.FACTS_FILE, _fact_table.RELATIONS_FILE):
        (folder / name).write_bytes((DATA / name).read_bytes())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("country_capital,Atlantis", "not relation, subject and object"),
        ("country_king,Atlantis,Atlas", "relation 'country_king' is not in relations.toml"),
        ("country_capital,Austria,Graz", "'country_capital' of 'Austria' occurs twice"),
    ],
)
def test_a_wrong_fact_is_named_with_file_and_line(tmp_path: Path, line: str, message: str, rows: Rows) -> None:
    copy_data(tmp_path)
    add_line(tmp_path, line)

    with pytest.raises(DataError, match=message) as caught:
        load_table(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / 'facts.csv'}, line {len(rows) + 2}: ")


def test_a_table_without_its_header_is_an_error(tmp_path: Path) -> None:
    copy_data(tmp_path)
    (tmp_path / "facts.csv").write_text("country_capital,Austria,Vienna\n", encoding="utf-8")

    with pytest.raises(DataError, match="line 1: the header is not 'relation,subject,object'"):
        load_table(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"The capital of {subject} is"', '"The capital is"', r"wrong ones \['The capital is'\]"),
        ('tied = ["city_time_zone"]', 'tied = ["city_mayor"]', r"unknown tied relations \['city_mayor'\]"),
        ('answer_type = "demonym"', "", "'answer_type' is missing or wrong"),
        ("[relations.country_capital]", "[relations.country_capital", "is missing or wrong"),
    ],
)
def test_a_wrong_relation_is_named_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    copy_data(tmp_path)
    path = tmp_path / "relations.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")

    with pytest.raises(DataError, match=message) as caught:
        load_table(tmp_path)

    assert str(path) in str(caught.value)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"facts\.csv"):
        load_table(tmp_path)


def test_the_digest_changes_with_a_data_file(tmp_path: Path) -> None:
    copy_data(tmp_path)
    add_line(tmp_path, "country_capital,Atlantis,Poseidonis")

    assert load_table(tmp_path).digest != load_table().digest
