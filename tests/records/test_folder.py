"""What a kill between the steps of writing a folder leaves, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records.folder import leftovers, remove_folder, remove_leftovers


def folder(parent: Path, name: str, card: str | None = '{"a": 1}\n') -> Path:
    path = parent / name
    path.mkdir()
    (path / "table").write_text(name)
    if card is not None:
        (path / "card.json").write_text(card)
    return path


def names(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_a_whole_folder_that_lacked_only_its_name_gets_it(tmp_path: Path) -> None:
    folder(tmp_path, ".tmp-cell-01234567")

    assert leftovers(tmp_path) == []
    assert remove_leftovers(tmp_path) == 0
    assert (tmp_path / "cell" / "table").read_text() == ".tmp-cell-01234567"


def test_between_the_new_and_the_old_one_the_new_one_is_taken(tmp_path: Path) -> None:
    folder(tmp_path, ".tmp-cell-01234567-old")
    folder(tmp_path, ".tmp-cell-01234567")

    assert remove_leftovers(tmp_path) == 1
    assert (tmp_path / "cell" / "table").read_text() == ".tmp-cell-01234567"
    assert names(tmp_path) == ["cell"]


def test_the_old_one_comes_back_if_the_new_one_is_not_whole(tmp_path: Path) -> None:
    folder(tmp_path, ".tmp-cell-01234567-old")
    folder(tmp_path, ".tmp-cell-01234567", card='{"a": ')

    remove_leftovers(tmp_path)

    assert (tmp_path / "cell" / "table").read_text() == ".tmp-cell-01234567-old"
    assert names(tmp_path) == ["cell"]


@pytest.mark.parametrize(
    ("name", "card"),
    [(".tmp-cell-01234567", None), (".tmp-cell-01234567-gone", "{}"), (".tmp-cell", "{}")],
    ids=["without a card", "being deleted", "of another form"],
)
def test_all_else_is_deleted(tmp_path: Path, name: str, card: str | None) -> None:
    folder(tmp_path, name, card)

    assert [path.name for path in leftovers(tmp_path)] == [name]
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == []


def test_nothing_is_put_where_something_is(tmp_path: Path) -> None:
    folder(tmp_path, "cell")
    folder(tmp_path, ".tmp-cell-01234567-old")

    remove_leftovers(tmp_path)

    assert (tmp_path / "cell" / "table").read_text() == "cell"
    assert names(tmp_path) == ["cell"]


def test_a_link_is_deleted_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    outside, inside = folder(tmp_path, "outside"), tmp_path / "inside"
    inside.mkdir()
    (inside / ".tmp-cell-01234567").symlink_to(outside, target_is_directory=True)
    (inside / "cell").symlink_to(outside, target_is_directory=True)

    remove_leftovers(inside)
    remove_folder(inside / "cell")

    assert names(inside) == []
    assert names(outside) == ["card.json", "table"]
