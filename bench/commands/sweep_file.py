"""Sweep files: what `bench run` is asked for, as TOML. Keys are the names of the options.

methods = ["mend[rank=64]", "ft"]
mode = ["single", "batch:5"]
edits = 100
set.mend.lr = 1e-3
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from bench.commands.run import RunOptions
from bench.errors import ConfigError, nearest
from bench.running.specs import split_specs
from bench.running.sweep import FILE_NAMES

__all__ = ["read_sweep_file"]

_NAMES = FILE_NAMES | {"name": "run"}
# What a machine is asked to do now, and where, is no part of a sweep.
_ELSEWHERE = {"results", "is_in_process", "retries_failed", "is_dry", "is_json"}
# What could run code of a stranger is trusted on the command line only.
_TRUST = {"trust_remote_code": "code that comes with a model", "allow_pickle": "whatever is hidden in a pickle"}
_Shape = Literal["texts", "paths", "text", "count", "number", "switch"]
_WORDS: Mapping[_Shape, str] = {
    "texts": "a text or a list of texts",
    "paths": "a path or a list of paths",
    "text": "a text",
    "count": "a whole number",
    "number": "a number",
    "switch": "true or false",
}


def read_sweep_file(path: Path, *, trusted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a sweep file; give the fields of RunOptions that it states.

    Paths of plug-ins are relative to the file. The file that a run has written goes on with that run.

    Args:
        path: of the file.
        trusted: which of `trust_remote_code` and `allow_pickle` were given on the command line.

    Raises:
        ConfigError: there is no such file, it is no TOML, or it has an unknown key, a wrong value or asks for trust.
    """
    path = path.expanduser()
    stated = _parsed(path)
    shapes = _shapes()
    known = {_NAMES.get(field, field): field for field in shapes}
    options: dict[str, Any] = _run_of(path)
    for key, value in stated.items():
        if key not in known:
            raise ConfigError(
                f"{str(path)!r}: a sweep has no key {key!r}.{nearest(key, known)} The keys are {', '.join(known)}."
            )
        field = known[key]
        options[field] = _value(path, key, value, shapes[field])
    for field, what in _TRUST.items():
        if options.get(field) and field not in trusted:
            raise ConfigError(
                f"{str(path)!r} asks for {field!r}, which would run {what}. Give --{field.replace('_', '-')} on the "
                "command line, too, if you trust it."
            )
    return options


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        beside = [item.name for item in path.parent.glob("*.toml")]
        raise ConfigError(
            f"there is no sweep file {str(path)!r}.{nearest(path.name, beside)} Methods are asked for with --methods."
        ) from error
    except OSError as error:
        raise ConfigError(f"{str(path)!r} can not be read: {error.strerror or error}.") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError are
        raise ConfigError(f"{str(path)!r} is no TOML: {error}.") from error


def _run_of(path: Path) -> dict[str, Any]:
    """Give the run that a file was written by; nothing for other files."""
    folder = path.resolve().parent
    is_written = path.name == "sweep.toml" and (folder / "cells").is_dir()
    return {"name": folder.name, "results": Path(os.path.relpath(folder.parent))} if is_written else {}


def _shapes() -> dict[str, _Shape]:
    """Give what the value of each field looks like in a file."""
    shapes: dict[Any, _Shape] = {
        tuple[str, ...]: "texts",
        tuple[Path, ...]: "paths",
        str: "text",
        int: "count",
        float: "number",
        float | None: "number",
        int | None: "count",
        bool: "switch",
    }
    hints = get_type_hints(RunOptions)
    return {field.name: shapes[hints[field.name]] for field in fields(RunOptions) if field.name not in _ELSEWHERE}


def _value(path: Path, key: str, value: object, shape: _Shape) -> object:
    match shape, value:
        case ("texts", dict()) if key == "set":
            return tuple(_settings(path, value))
        case ("texts" | "paths", str() | list()):
            texts = list(split_specs(value)) if isinstance(value, str) else value
            if all(isinstance(text, str) for text in texts):
                return tuple(texts) if shape == "texts" else tuple(path.parent / Path(text) for text in texts)
        case ("switch", bool()) | ("text", str()):
            return value
        case ("count", int()) | ("number", int() | float()) if not isinstance(value, bool):
            return value
    raise ConfigError(f"{str(path)!r}: {key} is {value!r}; it must be {_WORDS[shape]}.")


def _settings(path: Path, tables: Mapping[str, object]) -> Iterator[str]:
    """Spell the fields of a table `set.NAME` as `--set` does."""
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{str(path)!r}: set.{name} is {table!r}; write set.NAME.FIELD = VALUE.")
        for field, value in table.items():
            if isinstance(value, dict | list):
                raise ConfigError(f"{str(path)!r}: set.{name}.{field} is {value!r}; it must be a single value.")
            yield f"{name}.{field}={str(value).lower() if isinstance(value, bool) else value}"
