"""`bench datasets` and `bench list datasets`: cards, what a dataset makes of its files, and sampled edits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bench = Callable[..., Any]


def test_the_list_has_the_whole_card_of_each_dataset(bench: Bench) -> None:
    rows = {row["name"]: row for row in json.loads(bench("list", "datasets", "--json").out)}

    assert {"facts", "zsre", "counterfact", "counterfact_rebuilt", "fever", "wikitext", "jsonl"} <= set(rows)
    assert {"task", "size", "licence", "citation", "source", "summary"} <= set(rows["fever"])
    assert rows["fever"]["task"] == "claim classification"
    assert "classification" in bench("list", "datasets").out


def test_show_tells_what_a_file_gives_and_what_was_left_out(bench: Bench) -> None:
    said = bench("datasets", "show", "zsre", "--set", "zsre.path=sample", "--json")
    shown = json.loads(said.out)

    assert shown["left_out"] == {"there is no rephrase but the question itself": 1}
    assert sum(split["cases"] for split in shown["splits"].values()) == 29
    assert shown["kind"] == "causal"
    assert re.fullmatch(r"[0-9a-f]{64}", shown["digest"])
    text = bench("datasets", "show", "zsre", "--set", "zsre.path=sample").out
    assert "left out  1: there is no rephrase but the question itself\n" in text
    assert re.search(r"^test +\d+ cases with \d+ request, \d+ rephrase, \d+ locality probes$", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "zsrre"], "no dataset called 'zsrre'.* Did you mean 'zsre'"),
        (["show", "zsre"], "zsre.path names no file"),
        (["show", "zsre", "--set", "path=x"], "--set 'path=x' is not of the form zsre.FIELD=VALUE"),
        (["show", "zsre", "--set", "zsre.locality=none"], "zsre.locality='none': input should be 'nq' or 'same'"),
        (["show", "zsre", "--set", "zsre.path=sample", "--kind", "classifier"], "has no cases for a classifier model"),
        (["sample", "facts-gpt2-1m", "e.jsonl", "--edits", "0"], "--edits is 0; it must be at least 1"),
        (["sample", "facts-gpt2-1m", "e.jsonl", "--unlikely", "11"], "--unlikely is 11, and a target has 10 tokens"),
        (["sample", "facts-t5-4m", "e.jsonl"], "'facts-t5-4m' is a seq2seq model, and only a causal one continues"),
        (["sample", "facts-gpt2-1m", "e.jsonl", "--dataset", "facts"], "'facts' has no passages to sample edits for"),
    ],
)
def test_wrong_words_are_told_in_one_sentence(bench: Bench, words: list[str], message: str) -> None:
    said = bench("datasets", *words)

    assert (said.code, said.out) == (2, "")
    assert re.search(message, said.err), said.err
    assert not Path("e.jsonl").exists()


@pytest.mark.slow
def test_sampled_edits_are_run_by_the_command_that_is_printed(bench: Bench) -> None:
    sets = ["--set", "wikitext.path=sample", "--set", "wikitext.passage_words=40"]
    said = bench("datasets", "sample", "facts-gpt2-1m", "edits.jsonl", "--edits", "20", *sets)
    (command,) = re.findall(r"next: bench (.*)", said.out)

    done = bench(*command.replace("MODEL", "facts-gpt2-1m").split(), "--edits", "2", "--in-process", "--json")

    assert done.code == 0, done.err
    (cell,) = json.loads(done.out)["cells"]
    assert (cell["status"], cell["dataset"]) == ("done", "wikitext")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        ("zsre", "facts-t5-4m"),
        ("counterfact", "facts-gpt2-1m"),
        ("counterfact_rebuilt", "facts-gpt2-1m"),
        ("fever", "facts-bert-4m"),
        ("jsonl", "facts-gpt2-1m"),
    ],
)
def test_a_sample_is_run_from_the_command_line(bench: Bench, dataset: str, model: str) -> None:
    words = ["--methods", "none", "--datasets", dataset, "--set", f"{dataset}.path=sample", "--models", model]

    done = bench("run", *words, "--edits", "3", "--in-process", "--json")

    assert done.code == 0, done.err
    assert [cell["status"] for cell in json.loads(done.out)["cells"]] == ["done"]


def test_more_edits_than_there_are_say_how_many_there_are(bench: Bench) -> None:
    words = ["--methods", "none", "--datasets", "jsonl", "--set", "jsonl.path=sample", "--models", "facts-gpt2-1m"]

    done = bench("run", *words, "--edits", "40", "--in-process")

    assert done.code == 1
    assert "40 edits were asked for and the split has 12 that fit" in re.sub(r"\s+", " ", done.out)
