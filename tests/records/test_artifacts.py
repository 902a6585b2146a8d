"""Fitted editors are kept whole, found by identity, checked when read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import ConfigError, StoreError
from bench.records.artifacts import ArtifactStore
from bench.records.canonical import key_of

IDENTITY = {"method": "mend", "config": {"lr": 1e-4}, "model_digest": "bb22"}


def fill(folder: Path) -> None:
    (folder / "state.safetensors").write_bytes(b"\x00\x01" * 50)
    (folder / "fit.parquet").write_bytes(b"PAR1")


def test_an_artefact_is_found_by_its_identity(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "editors")
    written = store.write(IDENTITY, fill, {"fit_seconds": 60.0, "losses": [2.0, 1.0]})

    found = store.find(dict(reversed(IDENTITY.items())))

    assert found == written
    assert found is not None
    assert found.folder == tmp_path / "editors" / key_of(IDENTITY)
    assert found.details == {"fit_seconds": 60.0, "losses": [2.0, 1.0]}
    assert (found.folder / "state.safetensors").read_bytes() == b"\x00\x01" * 50


def test_another_identity_is_not_found(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(IDENTITY, fill, {})

    assert store.find({**IDENTITY, "model_digest": "cc"}) is None


def test_a_changed_byte_is_found_moved_aside_and_reported(tmp_path: Path) -> None:
    reports: list[str] = []
    store = ArtifactStore(tmp_path, reports.append)
    artifact = store.write(IDENTITY, fill, {})
    (artifact.folder / "state.safetensors").write_bytes(b"\x00\x02" * 50)

    assert store.find(IDENTITY) is None
    assert os.listdir(tmp_path) == [f"{artifact.key}.broken-1"]
    assert len(reports) == 1
    assert "checksum" in reports[0]


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    def fail(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        store.write(IDENTITY, fail, {})

    assert os.listdir(tmp_path) == []


def test_a_folder_inside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="flat"):
        ArtifactStore(tmp_path).write(IDENTITY, lambda folder: (folder / "inside").mkdir(), {})


def test_details_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loss"):
        ArtifactStore(tmp_path).write(IDENTITY, fill, {"loss": float("nan")})


def test_writing_again_replaces_it(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(IDENTITY, fill, {"fit_seconds": 1.0})
    store.write(IDENTITY, fill, {"fit_seconds": 2.0})
    found = store.find(IDENTITY)

    assert found is not None
    assert found.details == {"fit_seconds": 2.0}
    assert store.tidy() == 0


def test_a_removed_artefact_is_gone_and_removing_it_again_is_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(IDENTITY, fill, {})

    store.remove(IDENTITY)
    store.remove(IDENTITY)

    assert store.find(IDENTITY) is None
    assert os.listdir(tmp_path) == []


def test_two_kinds_share_a_folder_by_their_suffix(tmp_path: Path) -> None:
    whole, begun = ArtifactStore(tmp_path), ArtifactStore(tmp_path, suffix=".checkpoint")
    whole.write(IDENTITY, fill, {"kind": "whole"})
    begun.write(IDENTITY, fill, {"kind": "begun"})

    begun.remove(IDENTITY)

    assert begun.find(IDENTITY) is None
    found = whole.find(IDENTITY)
    assert found is not None
    assert found.details == {"kind": "whole"}


def test_a_list_has_the_whole_artefacts_and_reports_the_others(tmp_path: Path) -> None:
    reports: list[str] = []
    store = ArtifactStore(tmp_path, reports.append)
    first, second = (store.write({**IDENTITY, "seed": seed}, fill, {}) for seed in (0, 1))
    (second.folder / "fit.parquet").write_bytes(b"PA")
    (tmp_path / ".tmp-left").mkdir()
    (tmp_path / f"{first.key}.broken-1").mkdir()

    assert store.all() == [first]
    assert len(reports) == 1
    assert str(second.folder) in reports[0]


def test_a_list_of_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert ArtifactStore(tmp_path / "none").all() == []


def test_peeking_tells_of_what_an_artefact_is_and_moves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.write(IDENTITY, fill, {})
    other = store.folder({**IDENTITY, "seed": 1})
    artifact.folder.rename(other)

    found = store.peek(other)

    assert found is not None
    assert found.key == artifact.key
    assert store.peek(tmp_path / "none") is None
    assert other.exists()


def test_new_leftovers_may_be_of_a_writer_at_work_and_stay(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    old, new = tmp_path / ".tmp-old", tmp_path / ".tmp-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))

    assert store.tidy(older_than_seconds=3600) == 1
    assert os.listdir(tmp_path) == [".tmp-new"]
