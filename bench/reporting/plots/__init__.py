"""Figures of a run, each as PNG and SVG with its numbers as CSV beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bench.errors import UnknownPlugin, nearest
from bench.reporting.plots import batch, breakeven, cost, heat, memory, pairs, scaling, sequence, tradeoff
from bench.reporting.plots.figure import Files, save, styled
from bench.reporting.plots.kind import Kind, Material, Tables
from bench.reporting.plots.published import read as read_published

__all__ = ["KINDS", "Files", "Kind", "Material", "Tables", "file_name", "find", "plot", "read_published"]

_LONGEST_NAME = 100  # characters of a file's name

_MODULES = (tradeoff, scaling, batch, cost, breakeven, heat, memory, pairs, sequence)

KINDS: Mapping[str, Kind] = MappingProxyType({module.KIND.name: module.KIND for module in _MODULES})


def find(name: str) -> Kind:
    """Give the kind of this name; raises UnknownPlugin if there is none, with the nearest."""
    if name not in KINDS:
        raise UnknownPlugin(f"no plot called {name!r}.{nearest(name, KINDS)} There are {', '.join(KINDS)}.")
    return KINDS[name]


def plot(kind: Kind, material: Material, folder: Path) -> Files:
    """Draw a figure and write it; a run that lacks what it needs gives one that says so.

    Raises:
        StoreError: the folder can not be written, or a table of the run can not be read.
    """
    with styled():
        return save(kind.draw(material), folder, file_name(kind, material))


def file_name(kind: Kind, material: Material) -> str:
    """Name the files by what differs from the kind's default figure."""
    names = [metric.name for metric in material.metrics]
    others = [] if tuple(names) == kind.metrics else names
    beside = ["published"] if len(material.published) else []
    return "-".join([kind.name, *others, *beside])[:_LONGEST_NAME]
