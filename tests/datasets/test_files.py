"""What holds for every dataset that reads files, tried on its sample, and where files are looked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from bench import registry
from bench.datasets import facts
from bench.datasets._source import file_digest, find_file
from bench.editing.config import config_values
from bench.editing.dataset import Dataset, Split
from bench.editing.request import ProbeKind
from bench.errors import DataError
from bench.models.kind import ModelKind

Make = Callable[..., Dataset[Any]]
SAMPLES = Path(facts.__file__).parent / "samples"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
READERS = [
    (name, kind)
    for name, plugin in registry.plugins("datasets").items()
    if not plugin.problem and plugin.origin == "built in"
    for kind in plugin.kinds
    if any(field.name == "path" for field in fields(registry.load("datasets", name).Config))
]
NAMES = sorted({name for name, _ in READERS})


@pytest.mark.parametrize(("name", "kind"), READERS)
def test_every_split_of_a_sample_has_cases_that_are_whole(name: str, kind: str, on_samples: Make) -> None:
    made = on_samples(name, ModelKind(kind))

    for split in Split:
        cases = list(made.cases(split))
        assert len(cases) >= 2
        assert len({case.request.id for case in cases}) == len(cases)
        for case in cases:
            asked = [probe for probe in case.probes if probe.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE)]
            assert [p.prompt for p in asked if p.kind is ProbeKind.REQUEST] == [case.request.prompt]
            assert {probe.answer for probe in asked} == {case.request.target}
            assert len({probe.id for probe in case.probes}) == len(case.probes)
            assert len({probe.prompt for probe in asked if probe.kind is ProbeKind.REPHRASE}) == len(asked) - 1
            assert case.request.subject is None or case.request.subject in case.request.prompt
        assert any(probe.kind is ProbeKind.LOCALITY for case in cases for probe in case.probes)


@pytest.mark.parametrize(("name", "kind"), READERS)
def test_two_of_them_are_the_same_case_by_case(name: str, kind: str, on_samples: Make) -> None:
    first, second = on_samples(name, ModelKind(kind)), on_samples(name, ModelKind(kind))

    assert first.digest() == second.digest()
    assert [list(first.cases(split)) for split in Split] == [list(second.cases(split)) for split in Split]


@pytest.mark.parametrize("name", NAMES)
def test_the_digest_is_of_the_files_and_not_of_where_they_lie(name: str, on_samples: Make, tmp_path: Path) -> None:
    kind = ModelKind(registry.find("datasets", name).kinds[0])
    made = on_samples(name, kind)
    moved, changed = {}, {}
    for field, value in config_values(made.config).items():
        if value == "sample":
            source = _sample_of(name, field)
            moved[field] = str(shutil.copy(source, tmp_path / f"moved_{source.name}"))
            changed[field] = str(tmp_path / f"changed_{source.name}")
            Path(changed[field]).write_bytes(source.read_bytes() + b"\n")

    assert on_samples(name, kind, **moved).digest() == made.digest()
    for field, path in changed.items():
        assert on_samples(name, kind, **{**moved, field: path}).digest() != made.digest()


def _sample_of(name: str, field: str) -> Path:
    of = {
        "zsre.path": "zsre_easyedit.json",
        "zsre.nq_path": "nq.jsonl",
        "counterfact.path": "counterfact_rome.json",
        "counterfact_rebuilt.path": "counterfact_flat.json",
        "fever.path": "fever_ke.jsonl",
        "wikitext.path": "wikitext.txt",
        "wikitext.edits_path": "wikitext_paper.json",
        "jsonl.path": "requests.jsonl",
    }
    return SAMPLES / of[f"{name}.{field}"]


@pytest.mark.parametrize("name", NAMES)
def test_the_digest_changes_with_every_number_of_the_config(name: str, on_samples: Make) -> None:
    kind = ModelKind(registry.find("datasets", name).kinds[0])
    made = on_samples(name, kind)
    numbers = {field: value for field, value in config_values(made.config).items() if type(value) is int}

    digests = {on_samples(name, kind, **{field: value + 900}).digest() for field, value in numbers.items()}

    assert len(digests - {made.digest()}) == len(numbers) >= 1


@pytest.mark.parametrize("name", [*NAMES, "facts", "continuations"])
def test_a_built_in_dataset_has_a_whole_card(name: str) -> None:
    card = registry.find("datasets", name).card

    assert set(card) == {"task", "size", "licence", "citation"}
    assert all(card.values())


@pytest.mark.parametrize("name", NAMES)
def test_without_a_file_the_message_says_what_to_do(name: str) -> None:
    cls = registry.load("datasets", name)

    with pytest.raises(DataError, match=rf"{name}\.path names no file. Give one with --set {name}\.path=FILE.*=sample"):
        cls(cls.Config(), ModelKind(cls.kinds[0]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'[{"some": "thing"}]', b'{"some": "thing"}\n', b'[{"a": '])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "wikitext"])
def test_a_file_of_another_kind_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    cls = registry.load("datasets", name)
    path = tmp_path / "wrong.json"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"wrong\.json(, line 1)?(:| holds no entry)"):
        cls(cls.Config(path=str(path)), ModelKind(cls.kinds[0]))


def _find(asked: str) -> Path:
    return find_file(asked, field="zsre.path", sample="nq.jsonl")


def test_a_relative_path_is_looked_for_here_and_below_bench_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, data = tmp_path / "here", tmp_path / "data"
    for folder, text in ((here, "here"), (data, "data")):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "both").write_text(text)
    (data / "one").write_text("data")
    monkeypatch.chdir(here)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with pytest.raises(DataError, match=r"zsre\.path is 'one', and there is no such file in .*here\. Give the path"):
        _find("one")
    monkeypatch.setenv("BENCH_DATA", str(data))

    assert [_find(name).read_text() for name in ("sub/both", "one")] == ["here", "data"]
    with pytest.raises(DataError, match=r"'two', and there is no such file in .*here or .*data\."):
        _find("two")
    with pytest.raises(DataError, match=r"zsre\.path is 'sub', a folder. Name the file in it"):
        _find("sub")


def test_a_file_of_the_hub_is_asked_for_at_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def download(id: str, file: str, *, revision: str, repo_type: str) -> str:
        asked.append((id, file, revision, repo_type))
        return str(tmp_path / "x")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    assert _find(f"some/set@{COMMIT}:data/x.parquet") == tmp_path / "x"
    assert asked == [("some/set", "data/x.parquet", COMMIT, "dataset")]
    with pytest.raises(DataError, match="'main' is no commit of 'some/set' on the hub. Pin the 40 hex digits"):
        _find("some/set@main:data/x.parquet")


def test_a_file_of_the_hub_that_is_not_there_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    with pytest.raises(
        DataError, match="can not be reached. Download it once where there is a network, or name a local"
    ):
        _find(f"some/set@{COMMIT}:x.json")


def test_the_checksum_of_a_file_that_was_changed_is_another(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("a")
    first = file_digest(path)
    path.write_text("bb")

    assert first == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # sha256sum of "a"
    assert file_digest(path) != first
