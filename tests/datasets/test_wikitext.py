"""WikiText: passages, which are edited and which stay, both files with edits, and the sampling of the first."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from bench.commands.datasets import sample_edits
from bench.datasets import wikitext
from bench.datasets._wikitext_passages import Passage, place_in
from bench.datasets.wikitext import Wikitext, WikitextConfig
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, ProbeKind
from bench.errors import ConfigError, DataError
from bench.models.catalogue import find_model
from bench.models.kind import ModelKind
from bench.models.vocabulary import vocabulary_digest

Make = Callable[..., Dataset[Any]]
SampleFile = Callable[..., Path]
MODEL = "facts-gpt2-1m"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Give the tokenizer of the embedded models."""
    folder = find_model(MODEL).folder
    assert folder is not None
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample edits of the sample's passages."""
    path = tmp_path_factory.mktemp("edits") / "edits.jsonl"
    sample_edits(MODEL, path, "wikitext", ["wikitext.path=sample"], edits=30, tokens=4, unlikely=1, seed=0)
    return path


@pytest.fixture
def made(edits: Path) -> Callable[..., Wikitext]:
    """Give the dataset of the sampled edits."""

    def make(**fields: Any) -> Wikitext:
        values = {"path": "sample", "edits_path": str(edits), **fields}
        return Wikitext(WikitextConfig(**values), ModelKind.CAUSAL)

    return make


def _cases(dataset: Wikitext | Dataset[Any]) -> list[EditCase]:
    return [case for split in Split for case in dataset.cases(split)]


def test_edits_are_sampled_behind_the_beginnings_of_passages(edits: Path, tokenizer: Tokenizer) -> None:
    header, *lines = [json.loads(line) for line in edits.read_text(encoding="utf-8").splitlines()]
    sample = (Path(wikitext.__file__).parent / "samples" / "wikitext.txt").read_text(encoding="utf-8")
    passages = [tuple(tokenizer.encode(line.strip()).ids) for line in sample.splitlines()]

    assert header["n_tokens"] == 4
    assert header["model"] == MODEL
    assert header["vocabulary"] == vocabulary_digest(tokenizer.get_vocab())
    assert len(lines) == 30
    assert len({line["id"] for line in lines}) == 30
    assert {len(line["target"]) for line in lines} == {4}
    for line in lines:
        prompt = tuple(line["prompt"])
        assert 24 <= len(prompt) <= 54
        assert line["start"] == 1
        assert any(passage[: len(prompt)] == prompt for passage in passages)


def test_a_sampled_edit_is_the_case_that_its_line_describes(made: Callable[..., Wikitext], edits: Path) -> None:
    lines = [json.loads(line) for line in edits.read_text(encoding="utf-8").splitlines()[1:]]

    found = {case.request.id: (case.request.prompt, case.request.target) for case in _cases(made())}

    assert found == {f"wikitext/{line['id']}": (tuple(line["prompt"]), tuple(line["target"])) for line in lines}


def test_its_vocabulary_is_that_of_the_sampling_model(made: Callable[..., Wikitext], tokenizer: Tokenizer) -> None:
    assert made().vocabulary == vocabulary_digest(tokenizer.get_vocab())


def test_a_rephrase_drops_up_to_half_of_the_tokens_behind_the_first(made: Callable[..., Wikitext]) -> None:
    for case in _cases(made(rephrases=99)):
        prompt = tuple(case.request.prompt)
        found = {tuple(probe.prompt) for probe in case.probes if probe.kind is ProbeKind.REPHRASE}

        assert found == {(prompt[0], *prompt[1 + dropped :]) for dropped in range((len(prompt) - 1) // 2 + 1)}


def test_articles_that_are_edited_are_never_asked_for_locality(made: Callable[..., Wikitext], edits: Path) -> None:
    edited = {json.loads(line)["group"] for line in edits.read_text(encoding="utf-8").splitlines()[1:]}
    dataset = made()

    kept = {split: {passage.article for passage in dataset._keep(split)} for split in Split}

    assert all(kept.values())
    assert not edited & set().union(*kept.values())
    assert all(a.isdisjoint(b) for a, b in combinations(kept.values(), 2))


def test_text_probes_are_the_passages_of_the_split_and_cut(made: Callable[..., Wikitext]) -> None:
    dataset = made(passage_words=20, texts=2)

    for split in Split:
        texts = set(dataset.texts(split))
        probes = [p for case in dataset.cases(split) for p in case.probes if p.kind is ProbeKind.TEXT]
        assert {len(text.split()) for text in texts} == {20}
        assert {str(probe.answer) for probe in probes} <= texts
        assert len(probes) == min(2, len(texts)) * len(list(dataset.cases(split)))


def test_a_place_asks_for_the_next_plain_words() -> None:
    words = [f"w{number}" if number != 20 else "plain" for number in range(40)]

    asked = place_in(Passage("a", "a/1", " ".join(words)), 1, 0)

    assert asked is not None
    assert (asked.prompt, asked.answer) == (" ".join(words[:20]), "plain")
    assert place_in(Passage("a", "a/1", " ".join(words)), 2, 0) is None
    assert place_in(Passage("a", "a/1", " ".join(words)), 1, 20) is None


def test_short_and_non_ascii_paragraphs_and_headings_are_no_passages(tmp_path: Path) -> None:
    long = " ".join(["word"] * 50)
    lines = [" = Kept = ", "", " ".join(["word"] * 49), f" = = {long} = = ", long, long + " naïve"]
    path = tmp_path / "wiki.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    dataset = Wikitext(WikitextConfig(path=str(path)), ModelKind.CAUSAL)

    found = [*dataset.beginnings(lambda text: range(len(text.split())), 9)]
    texts = [text for split in Split for text in dataset.texts(split)]

    assert len(found) + len(texts) == 1


@pytest.mark.parametrize("text", ["", "too few words\n"])
def test_a_file_without_a_passage_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=r"wiki\.txt holds no passage: no paragraph on one line has 50 words"):
        Wikitext(WikitextConfig(path=str(path)), ModelKind.CAUSAL)


def test_a_parquet_file_of_the_hub_gives_the_same_passages_as_the_text(sample_file: SampleFile, tmp_path: Path) -> None:
    text = sample_file("wikitext.txt")
    table = tmp_path / "wiki.parquet"
    pq.write_table(pa.table({"text": text.read_text(encoding="utf-8").splitlines(keepends=True)}), table)
    first, second = (Wikitext(WikitextConfig(path=str(path)), ModelKind.CAUSAL) for path in (text, table))

    for split in Split:
        assert list(first.texts(split)) == list(second.texts(split)) != []


def test_the_last_tokens_of_a_text_of_the_papers_are_the_target(
    on_samples: Make, sample_file: SampleFile, tokenizer: Tokenizer
) -> None:
    file = json.loads(sample_file("wikitext_paper.json").read_text(encoding="utf-8"))
    dataset = on_samples("wikitext", ModelKind.CAUSAL)

    found = {(case.request.prompt, case.request.target) for case in _cases(dataset)}

    ids = [tuple(tokenizer.encode(text).ids) for text in file["completions"]]
    assert found == {(whole[:-10], whole[-10:]) for whole in ids}
    assert dataset.vocabulary == vocabulary_digest(tokenizer.get_vocab())


def test_without_edits_the_message_says_how_to_get_them() -> None:
    dataset = Wikitext(WikitextConfig(path="sample"), ModelKind.CAUSAL)

    with pytest.raises(DataError, match="wikitext has no edits yet. Sample them with `bench datasets sample MODEL"):
        list(dataset.cases(Split.TEST))


def test_the_papers_file_needs_a_tokenizer() -> None:
    with pytest.raises(DataError, match=r"name the model whose tokenizer .* --set wikitext\.tokenizer=distilgpt2"):
        Wikitext(WikitextConfig(path="sample", edits_path="sample"), ModelKind.CAUSAL)
    with pytest.raises(DataError, match=r"wikitext\.tokenizer is '\./none', and its tokenizer can not be read"):
        Wikitext(WikitextConfig(path="sample", edits_path="sample", tokenizer="./none"), ModelKind.CAUSAL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file | {"n_tokens": 0}, "completion 1: n_tokens must be a whole number above 0, not 0"),
        (lambda file: file | {"completions": []}, "there are 24 originals and 0 completions"),
        (lambda file: file | {"completions": [3]}, "the field 'completions' must be a list of texts, and holds 3"),
        (lambda file: file | {"more": 1}, "there is no field 'more', only n_tokens, original, completions"),
        (lambda file: {"n_tokens": 10, "original": file["original"]}, "the field 'completions' is missing"),
    ],
)
def test_a_wrong_file_of_the_papers_is_named(
    sample_file: SampleFile, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = sample_file("wikitext_paper.json", lambda text: json.dumps(change(json.loads(text))))

    with pytest.raises(DataError, match=rf"wikitext_paper\.json.*{message}"):
        Wikitext(WikitextConfig(path="sample", edits_path=str(path), tokenizer=MODEL), ModelKind.CAUSAL)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"id": "a"}'], "line 1: the first line must say what the edits were sampled from"),
        (['{"vocabulary": "x"}'], "gives no case"),
        (['{"vocabulary": "x"}', '{"id": "a", "group": "g", "prompt": [1], "target": []}'], "line 2: a prompt needs"),
        (
            ['{"vocabulary": "x"}', '{"id": "a", "group": "g", "prompt": "1", "target": [1]}'],
            "line 2: .* whole numbers",
        ),
    ],
)
def test_a_wrong_file_of_sampled_edits_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")

    with pytest.raises(DataError, match=rf"edits\.jsonl.*{message}"):
        Wikitext(WikitextConfig(path="sample", edits_path=str(path)), ModelKind.CAUSAL)


@pytest.mark.parametrize(("field", "value"), [("rephrases", -1), ("passage_words", -1), ("locality_words", 0)])
def test_an_impossible_number_is_a_config_error(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"wikitext\.{field} is {value}"):
        Wikitext(WikitextConfig(path="sample", **{field: value}), ModelKind.CAUSAL)  # type: ignore[arg-type]


def test_a_sampled_file_is_never_written_over(edits: Path) -> None:
    with pytest.raises(ConfigError, match=r"edits\.jsonl' is there already. Name a new file"):
        sample_edits(MODEL, edits, "wikitext", ["wikitext.path=sample"], edits=3, tokens=4, unlikely=0, seed=0)
