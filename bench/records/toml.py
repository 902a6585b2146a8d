"""Write a small TOML file; reading is tomllib's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from bench.errors import ConfigError

__all__ = ["dumps"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(values: Mapping[str, object]) -> str:
    """Write scalars, lists of scalars and nested tables as TOML; None is left out.

    Raises:
        ConfigError: a value is none of these.
    """
    return "".join(line + "\n" for line in _table(values, ())).lstrip("\n")


def _table(values: Mapping[str, object], path: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        if value is not None and not isinstance(value, Mapping):
            lines.append(f"{_name(name)} = {_value(value, name)}")
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = (*path, name)
            lines += ["", f"[{'.'.join(_name(part) for part in inner)}]", *_table(value, inner)]
    return lines


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    # JSON's escapes are TOML's, but for DEL and lone surrogates, which TOML wants otherwise.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode("utf-8")


def _value(value: object, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))  # 'inf' and 'nan' are TOML too
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(item, name) for item in value) + "]"
    raise ConfigError(f"{name!r} is a {type(value).__name__}; a sweep file holds scalars, lists and tables.")
