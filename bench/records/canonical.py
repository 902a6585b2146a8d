"""One spelling for a JSON value, so that equal values have equal digests on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from bench.errors import ConfigError, StoreError

__all__ = ["JsonScalar", "canonical_json", "key_of", "parse_record"]

JsonScalar = str | int | float | bool | None

RecordT = TypeVar("RecordT")


def canonical_json(value: object) -> str:
    """Write a JSON value with sorted keys, no spaces, ASCII only, floats by `repr`.

    Args:
        value: scalars, lists, tuples and mappings with text keys, nested at will.

    Raises:
        ConfigError: a number is NaN or infinite, or something is not JSON.
    """
    return json.dumps(_plain(value, "value"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(value: object) -> str:
    """Give the first 16 hex digits of the SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:16]


def parse_record(kind: type[RecordT], data: object) -> RecordT:
    """Build a record (a dataclass) from parsed JSON, checking the type of every field.

    Raises:
        StoreError: a field is missing, has a wrong type, or a number is not finite.
    """
    from pydantic import ValidationError

    adapter = _adapter(cast(Hashable, kind))  # mypy takes no generic class for hashable
    try:
        record: RecordT = adapter.validate_json(json.dumps(data, allow_nan=False), strict=True)
        return record
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or kind.__name__
        raise StoreError(f"{kind.__name__} field {place!r} can not be read: {first['msg']}.") from error
    except (TypeError, ValueError, ConfigError) as error:
        raise StoreError(f"a {kind.__name__} can not be read: {error}") from error


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _plain(value: object, place: str) -> object:
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ConfigError(f"{place}: the name {name!r} is not text; JSON names must be.")
        return {name: _plain(item, f"{place}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{place} is {value!r}; a key holds finite numbers only. Use null for 'no limit'.")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ConfigError(f"{place} is a {type(value).__name__}; only JSON scalars, lists and mappings can be.")
