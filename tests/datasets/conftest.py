"""The facts as the data files hold them, read here and not by the dataset's own reader; datasets on their samples."""

from __future__ import annotations

import csv
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.datasets import facts
from bench.datasets._fact_table import Fact
from bench.datasets.facts import Facts, FactsConfig
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, Text
from bench.models.kind import ModelKind

DATA = Path(facts.__file__).parent / "facts_data"

SAMPLES = Path(facts.__file__).parent / "samples"


@pytest.fixture(scope="session")
def on_samples() -> Callable[..., Dataset[Any]]:
    """Give a dataset that reads the samples, if it reads files at all; keywords are fields of its config."""

    def make(name: str, kind: ModelKind, **changes: object) -> Dataset[Any]:
        cls = registry.load("datasets", name)
        known = [field.name for field in fields(cls.Config)]
        values: dict[str, object] = {
            field: "sample" for field in known if field.endswith("path") and not field.startswith("fit_")
        }
        if "tokenizer" in known:
            values["tokenizer"] = "facts-gpt2-3m"
        made: Dataset[Any] = cls(build_config(cls.Config, values | changes, owner=name), kind)
        return made

    return make


@pytest.fixture
def sample_file(tmp_path: Path) -> Callable[..., Path]:
    """Copy a sample, changed by a function of its text, and give its path."""

    def make(name: str, change: Callable[[str], str] = lambda text: text) -> Path:
        path = tmp_path / name
        path.write_text(change((SAMPLES / name).read_text(encoding="utf-8")), encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def rows() -> tuple[Fact, ...]:
    """Give the lines of facts.csv, without ids."""
    with (DATA / "facts.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Fact(id="", **line) for line in csv.DictReader(file))


@pytest.fixture(scope="session")
def relations() -> dict[str, dict[str, list[str]]]:
    """Give the entries of relations.toml."""
    return tomllib.loads((DATA / "relations.toml").read_text(encoding="utf-8"))["relations"]


@pytest.fixture(scope="session")
def questions(rows: tuple[Fact, ...], relations: dict[str, dict[str, list[str]]]) -> dict[str, set[Fact]]:
    """Give the facts that each possible prompt, in any phrasing, asks for."""
    articles = tomllib.loads((DATA / "relations.toml").read_text(encoding="utf-8"))["with_article"]
    found = defaultdict(set)
    for row in rows:
        name = f"the {row.subject}" if row.subject in articles else row.subject
        for phrasing in relations[row.relation]["phrasings"]:
            text = phrasing.replace("{subject}", name)
            found["The" + text[3:] if text.startswith("the ") else text].add(row)
    return dict(found)


@pytest.fixture(scope="session")
def asked(questions: dict[str, set[Fact]]) -> Callable[[Text], Fact]:
    """Tell which fact a prompt asks for."""

    def find(prompt: Text) -> Fact:
        (row,) = questions[str(prompt)]
        return row

    return find


@pytest.fixture(scope="session")
def claimed(questions: dict[str, set[Fact]], asked: Callable[[Text], Fact]) -> Callable[[Text], tuple[Fact, str]]:
    """Take a claim apart into the fact that it is about and the object that it names."""

    def find(claim: Text) -> tuple[Fact, str]:
        words = str(claim).removesuffix(".").split(" ")
        (prompt,) = (begun for n in range(len(words)) if (begun := " ".join(words[:n])) in questions)
        return asked(prompt), str(claim)[len(prompt) + 1 : -1]

    return find


@pytest.fixture(scope="session")
def dataset() -> Callable[[ModelKind], Facts]:
    """Give the dataset with its defaults."""
    return cache(lambda kind: Facts(FactsConfig(), kind))


@pytest.fixture(scope="session")
def cases(dataset: Callable[[ModelKind], Facts]) -> Callable[[ModelKind, Split], tuple[EditCase, ...]]:
    """Give the cases of a split, made once."""
    return cache(lambda kind, split: tuple(dataset(kind).cases(split)))


@pytest.fixture(scope="session")
def every_case(
    cases: Callable[[ModelKind, Split], tuple[EditCase, ...]],
) -> Callable[[ModelKind], Iterator[EditCase]]:
    """Give the cases of all splits."""
    return lambda kind: (case for split in Split for case in cases(kind, split))


@pytest.fixture(scope="session")
def prompts(dataset: Callable[[ModelKind], Facts]) -> Callable[[bool], frozenset[str]]:
    """Give the prompts that models are trained on, or those that are held out."""
    return cache(
        lambda held_out: frozenset(e.prompt for e in dataset(ModelKind.CAUSAL).training_examples(held_out=held_out))
    )
