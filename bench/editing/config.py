"""Configurations of plug-ins: frozen dataclasses whose fields are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.errors import ConfigError, nearest

__all__ = ["build_config", "config", "config_values", "follows_mode"]

T = TypeVar("T")
_FOLLOWS = "follows the mode"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only dataclass that checks the types of its fields."""
    return cast(type[T], dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(cls))


def follows_mode(default: int) -> Any:
    """Declare a field that is the number of requests of one edit in batch mode, unless a value is given for it.

    `group_size: int = follows_mode(1)` is 1 in single mode and 5 in mode `batch:5`.
    """
    return field(default=default, metadata={_FOLLOWS: True})


def build_config(
    cls: type[T],
    values: Mapping[str, Any],
    *,
    owner: str,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    at_once: int = 1,
) -> T:
    """Build a configuration from text or typed values.

    Args:
        cls: a class made by `config`.
        values: fields by name; `preset` names one of `presets`, which the other values override.
        owner: the plug-in's name, for messages.
        presets: named sets of values.
        at_once: how many requests one edit installs, for fields that follow it.

    Raises:
        ConfigError: no such field or preset, or a value of the wrong type.
    """
    given = dict(values)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # pydantic dataclasses are dataclasses
    follow = [f.name for f in fields(cls) if f.metadata.get(_FOLLOWS)]  # type: ignore[arg-type]
    chosen: dict[str, Any] = dict.fromkeys(follow, at_once) if at_once > 1 else {}
    if "preset" in given and "preset" not in known:
        name, known_presets = str(given.pop("preset")), presets or {}
        if name not in known_presets:
            listed = ", ".join(known_presets) or "none"
            raise ConfigError(f"{owner} has no preset {name!r}; it has {listed}.{nearest(name, known_presets)}")
        chosen.update(known_presets[name])
    for name in given:
        if name not in known:
            raise ConfigError(f"{owner} has no field {name!r}; it has {', '.join(known)}.{nearest(name, known)}")
    chosen.update(given)
    try:
        return TypeAdapter(cls).validate_python(chosen)  # a plain dataclass is checked and converted, too
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{owner}.{where}={first['input']!r}: {first['msg'].lower()}.") from error


def config_values(configuration: Any) -> dict[str, Any]:
    """Give a configuration's fields as JSON scalars, in their order."""
    return {field.name: getattr(configuration, field.name) for field in fields(configuration)}
