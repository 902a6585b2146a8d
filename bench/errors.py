"""Everything this project raises on purpose.

    BenchError
    ├── UnknownPlugin      a method, model, dataset or metric of that name does not exist
    ├── PluginError        a plug-in exists but can not be used
    ├── ConfigError        an option or a `--set` field is wrong
    ├── ModelError         a model can not be found, read or used
    ├── DataError          a dataset, case or prompt can not be used
    ├── EditError          an editor can not make, apply or save this edit
    │   └── NotFinite      an edit or a fit holds NaN or infinity
    └── StoreError         a results folder can not be read or written

Every message says what was asked, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BenchError",
    "ConfigError",
    "DataError",
    "EditError",
    "ModelError",
    "NotFinite",
    "PluginError",
    "StoreError",
    "UnknownPlugin",
    "nearest",
]


class BenchError(Exception):
    """The base of all errors that this project raises on purpose."""


class UnknownPlugin(BenchError):
    """No method, model, dataset or metric has the name that was asked for."""


class PluginError(BenchError):
    """A plug-in was found but can not be imported, or breaks the contract."""


class ConfigError(BenchError):
    """An option, a sweep file or a field of a configuration is wrong."""


class ModelError(BenchError):
    """A model can not be found, read, or used for what was asked."""


class DataError(BenchError):
    """A dataset, a case or a prompt can not be used."""


class EditError(BenchError):
    """An editor can not make, apply or save an edit."""


class NotFinite(EditError):
    """An edit, or the loss of a fit, holds NaN or infinity."""


class StoreError(BenchError):
    """A results folder can not be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the sentence " Did you mean 'x'?" for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
