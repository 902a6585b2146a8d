"""Configurations say what is wrong with a field, and which name was probably meant."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, Literal

import pytest

from bench import registry
from bench.editing.config import build_config, config, config_values, follows_mode
from bench.errors import ConfigError


@config
class Settings:
    edit_lr: float = 1e-4
    steps: int = 10
    is_shared: bool = True
    sign: Literal["descent", "ascent"] = "descent"


PRESETS: dict[str, dict[str, Any]] = {"paper": {"steps": 500, "edit_lr": 1e-6}}


def build(**values: Any) -> Settings:
    return build_config(Settings, values, owner="mend", presets=PRESETS)


def test_text_is_converted_to_the_fields_type() -> None:
    made = build(edit_lr="1e-3", steps="20", is_shared="false")

    assert (made.edit_lr, made.steps, made.is_shared) == (1e-3, 20, False)


def test_text_is_converted_for_every_installed_plug_in() -> None:
    """One whose configuration is a plain dataclass would get `--set` values as text."""
    kinds: tuple[registry.PluginKind, ...] = ("datasets", "methods")
    for kind in kinds:
        for name in registry.plugins(kind):
            cls = registry.load(kind, name).Config
            values = config_values(build_config(cls, {}, owner=name))
            as_text = {field: str(value) for field, value in values.items() if value is not None}

            assert config_values(build_config(cls, as_text, owner=name)) == values


def test_an_unknown_field_gets_all_names_and_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"mend has no field 'edit_rl'; it has edit_lr, steps.*Did you mean 'edit_lr'\?"
    ):
        build(edit_rl=1)


@pytest.mark.parametrize(("field", "value"), [("steps", "many"), ("steps", 1.5), ("edit_lr", "x"), ("sign", "up")])
def test_a_value_of_the_wrong_type_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"mend\.{field}={value!r}: "):
        build(**{field: value})


def test_a_preset_sets_fields_that_the_other_values_override() -> None:
    made = build(preset="paper", steps=7)

    assert (made.steps, made.edit_lr) == (7, 1e-6)


def test_an_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"mend has no preset 'papper'; it has paper. Did you mean 'paper'\?"):
        build(preset="papper")


def test_no_presets_are_said_to_be_none() -> None:
    with pytest.raises(ConfigError, match="it has none"):
        build_config(Settings, {"preset": "paper"}, owner="mend")


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        build().steps = 3  # type: ignore[misc]


def test_values_are_given_in_the_order_of_the_fields() -> None:
    assert config_values(build()) == {"edit_lr": 1e-4, "steps": 10, "is_shared": True, "sign": "descent"}
    assert list(config_values(build())) == ["edit_lr", "steps", "is_shared", "sign"]


@config
class Grouped:
    group_size: int = follows_mode(1)
    steps: int = 10


@pytest.mark.parametrize(
    ("values", "size"), [({}, 5), ({"group_size": "2"}, 2), ({"preset": "small"}, 3), ({"steps": 7}, 5)]
)
def test_a_field_follows_the_mode_unless_it_is_given(values: dict[str, Any], size: int) -> None:
    made = build_config(Grouped, values, owner="mend", presets={"small": {"group_size": 3}}, at_once=5)

    assert made.group_size == size
    assert build_config(Grouped, {}, owner="mend").group_size == Grouped().group_size == 1
