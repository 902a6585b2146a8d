"""`bench models import`: stores a model once, where `--models NAME` finds it."""

from __future__ import annotations

from bench.models.importing import import_model
from bench.reporting.formats import plain

__all__ = ["import_"]


def import_(source: str, name: str, *, reads_pickle: bool) -> str:
    """Store a model; give the sentences that say where it is and how to use it.

    Raises:
        ModelError: it can not be found, read or stored.
    """
    found = import_model(source, name=name, reads_pickle=reads_pickle)
    state = "" if found.is_new else "  (it was there already)"
    line = f"{found.name}  {found.kind}  {found.parameters:,} parameters  {found.folder}{state}"
    if found.kind == "encoder":
        use = "it has no head to answer with: it can be the base of a classifier, and is not edited itself."
    else:
        use = f"use it with --models {found.name}"
    return f"{plain(line)}\n{use}\n"
