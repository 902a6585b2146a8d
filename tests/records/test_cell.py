"""Keys and folder names of cells."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from bench.errors import ConfigError, StoreError
from bench.records.canonical import canonical_json, key_of
from bench.records.cell import Cell


def test_canonical_json_is_sorted_without_spaces_and_ascii() -> None:
    text = canonical_json({"b": [1, 2.5, None], "a": {"ü": True}})

    assert text == '{"a":{"\\u00fc":true},"b":[1,2.5,null]}'


def test_a_key_is_the_start_of_the_sha256_of_canonical_json() -> None:
    # printf '{"a":1}' | sha256sum
    assert key_of({"a": 1}) == "015abd7f5cc57a2d"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_name(make_cell: Any, value: float) -> None:
    cell = make_cell(config={"max_change": value})

    with pytest.raises(ConfigError, match="max_change"):
        _ = cell.key


def test_a_value_that_is_no_json_is_refused(make_cell: Any) -> None:
    with pytest.raises(ConfigError, match="set"):
        _ = make_cell(config={"layers": {1, 2}}).key


def test_the_key_of_a_known_cell_never_changes(make_cell: Any) -> None:
    assert make_cell().key == "69fedfa545e7bd20"
    assert make_cell(seed=1, mode="batch:8", device="cuda").key == "806203f35cbd1c48"


def test_the_key_is_the_digest_of_all_fields_but_those_for_display(make_cell: Any) -> None:
    fields = make_cell(overrides=("edit_lr",), preset="paper").to_json()
    del fields["overrides"], fields["preset"]

    assert make_cell().key == key_of(fields)


@pytest.mark.parametrize("name", [name for name in Cell.__dataclass_fields__ if name not in ("overrides", "preset")])
def test_every_field_changes_the_key(make_cell: Any, name: str) -> None:
    old = getattr(make_cell(), name)
    new = {"x": 1} if isinstance(old, dict) else f"{old}x" if isinstance(old, str) else old + 1

    assert make_cell(**{name: new}).key != make_cell().key


LATER = {
    "model_revision": "0" * 40,
    "weights": "random",
    "chat": True,
    "known_only": True,
    "gpus": 2,
    "remote_code": True,
    "pickle": True,
}


def test_fields_that_came_later_are_neither_in_the_key_nor_on_the_card_at_their_default(make_cell: Any) -> None:
    cell = make_cell()

    assert set(cell.later) == set(LATER)
    assert not set(cell.to_json()) & set(LATER)
    assert make_cell(**cell.later).key == cell.key


def test_a_cell_with_all_fields_that_came_later_is_read_back_whole(make_cell: Any) -> None:
    cell = make_cell(**LATER)

    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    assert cell.later == LATER


def test_overrides_change_the_label_only(make_cell: Any) -> None:
    cell = make_cell(overrides=("edit_lr",))

    assert cell.key == make_cell().key
    assert cell.label == "mend[edit_lr=0.0001]"
    assert make_cell().label == "mend"


def test_a_preset_changes_the_label_only(make_cell: Any) -> None:
    cell = make_cell(overrides=("edit_lr",), preset="paper")

    assert cell.key == make_cell().key
    assert cell.label == "mend[preset=paper,edit_lr=0.0001]"
    assert make_cell(preset="paper").config_label == "preset=paper"


def test_a_label_spells_values_as_the_command_line_does(make_cell: Any) -> None:
    cell = make_cell(config={"shared": True, "off": False, "rank": 64}, overrides=("shared", "off", "rank"))

    assert cell.label == "mend[shared=true,off=false,rank=64]"


def test_a_card_from_before_presets_can_be_read(make_cell: Any) -> None:
    data = make_cell().to_json()
    del data["preset"]

    assert Cell.from_json(data) == make_cell()


def test_an_override_that_is_no_field_is_refused(make_cell: Any) -> None:
    with pytest.raises(ConfigError, match="'lr'"):
        make_cell(overrides=("lr",))


def test_the_group_leaves_out_the_seed_only(make_cell: Any) -> None:
    assert make_cell(seed=1).group == make_cell(seed=2).group
    assert make_cell(threads=1).group != make_cell(threads=2).group


def test_a_folder_names_the_cell_and_ends_in_its_key(make_cell: Any) -> None:
    cell = make_cell(model="EleutherAI/gpt-j-6b", mode="batch:8", seed=3)

    assert cell.folder == f"mend-EleutherAI--gpt-j-6b-facts-batch-8-s3-{cell.key}"


@pytest.mark.parametrize(
    "name", ["../../etc", "/etc/passwd", "..", "a\\..\\b", "C:\\x", "x" * 500, "", ".hidden", "ü/…"]
)
def test_no_name_leaves_the_folder(make_cell: Any, name: str) -> None:
    folder = make_cell(method=name, model=name, dataset=name, mode=name).folder

    assert len(folder) <= 120
    assert ".." not in folder
    assert not folder.startswith((".", "-"))
    assert set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert folder.endswith(make_cell(method=name, model=name, dataset=name, mode=name).key)


def test_a_cell_survives_json_and_pickle(make_cell: Any) -> None:
    cell = make_cell(
        overrides=("layers",), preset="paper", config={"layers": "all", "lr": 1e-4, "steps": 25, "on": False}
    )

    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))).key == cell.key
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert len({cell, pickle.loads(pickle.dumps(cell))}) == 1


@pytest.mark.parametrize(("name", "value"), [("edits", "many"), ("seed", None), ("config", [1]), ("method", 3)])
def test_a_field_of_another_type_is_refused_by_name(make_cell: Any, name: str, value: object) -> None:
    data = make_cell().to_json() | {name: value}

    with pytest.raises(StoreError, match=name):
        Cell.from_json(data)


def test_a_missing_field_is_refused_by_name(make_cell: Any) -> None:
    data = make_cell().to_json()
    del data["dtype"]

    with pytest.raises(StoreError, match="dtype"):
        Cell.from_json(data)
