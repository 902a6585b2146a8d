"""Editors of language models under one protocol: what an edit changed, broke and cost."""

from __future__ import annotations

from pathlib import Path

__all__ = ["__version__"]

__version__ = "0.1.0"

# In a checkout the plug-ins lie beside this package; in the wheel they lie inside it.
_checkout = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "methods").is_dir() and (_checkout / "methods").is_dir():
    __path__.append(str(_checkout))
