"""Reads what `--methods` asks for: names, each perhaps with fields in brackets, as in `mend[rank=64,steps=300],ft`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import ConfigError

__all__ = ["MethodSpec", "parse_spec", "split_specs"]

_SPEC = re.compile(r"([^\[\]]*)(?:\[(.*)\])?", re.DOTALL)
_FORM = "Write NAME or NAME[FIELD=VALUE,…], as in 'mend[rank=64,steps=300]'."


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """One method as it was asked for.

    Args:
        text: as it was written.
        name: of the method.
        values: of its fields, as text, by name; `preset` may be among them.
    """

    text: str
    name: str
    values: Mapping[str, str]


def split_specs(text: str) -> tuple[str, ...]:
    """Split a list at its commas, but for those inside of brackets; empty places are left out.

    Raises:
        ConfigError: brackets do not match.
    """
    return tuple(part for part in _parts(text, text) if part)


def parse_spec(text: str) -> MethodSpec:
    """Read one method with its fields.

    Raises:
        ConfigError: it is not of the form NAME or NAME[FIELD=VALUE,…].
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        _parts(text, text)  # brackets that do not match have a sentence of their own
        raise ConfigError(f"--methods {text!r} has something behind its bracket. {_FORM}")
    name, inner = match[1].strip(), match[2]
    if not name:
        raise ConfigError(f"--methods {text!r} names no method before the bracket. {_FORM}")
    if inner is not None and not inner.strip():
        raise ConfigError(f"--methods {text!r} has empty brackets. Leave them out, or {_FORM[0].lower()}{_FORM[1:]}")
    values: dict[str, str] = {}
    for part in [] if inner is None else _parts(inner, text):
        field, _, value = (word.strip() for word in part.partition("="))
        if not field or not value:
            found = f"holds {part!r}, which is not FIELD=VALUE" if part else "has an empty field"
            raise ConfigError(f"--methods {text!r} {found}. {_FORM}")
        if field in values:
            raise ConfigError(f"--methods {text!r} gives the field {field!r} twice.")
        values[field] = value
    return MethodSpec(text=text.strip(), name=name, values=values)


def _parts(text: str, whole: str) -> list[str]:
    """Split at the commas outside of brackets; `whole` is what a message quotes."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            raise ConfigError(f"--methods {whole!r} closes a bracket that was never opened. {_FORM}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise ConfigError(f"--methods {whole!r} opens a bracket and never closes it. {_FORM}")
    return [part.strip() for part in parts]
