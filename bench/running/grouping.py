"""Puts cases into groups: what one edit installs, or one sequence; and finds the probes that a group makes void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.editing.request import EditCase, EditRequest, contradicted
from bench.records.mode import Mode

__all__ = ["Group", "group_cases", "void_probes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Requests that one edit installs, or that the edits of a sequence install one after the other.

    Args:
        id: its name within the cell; in single mode the id of its request.
        places: of its cases among those of the cell.
        requests: of these cases, in the same order; that of a sequence is that of its edits.
        is_alone: in single mode, where the edit stands for its request.
    """

    id: str
    places: tuple[int, ...]
    requests: tuple[EditRequest, ...]
    is_alone: bool

    @property
    def name(self) -> str | None:
        """What answers and scores know it by; None in single mode."""
        return None if self.is_alone else self.id

    @property
    def title(self) -> str:
        """What a message calls it."""
        return f"request {self.id!r}" if self.is_alone else f"group {self.id!r}"


def group_cases(cases: Sequence[EditCase], mode: Mode, seed: int) -> list[Group]:
    """Give each case alone, or groups of cases in an order drawn from the seed.

    Args:
        cases: of the cell; their number is a multiple of the size of a group.
        mode: of the cell.
        seed: of the cell; it decides which requests share a group and in which order, never which are edited.
    """
    if not mode.is_grouped:
        return [_group(case.request.id, [place], cases, is_alone=True) for place, case in enumerate(cases)]
    order = np.random.default_rng(seed).permutation(len(cases)).tolist()
    size, name = mode.group_size, "sequence" if mode.is_sequential else "group"
    chunks = [order[start : start + size] for start in range(0, len(cases), size)]
    return [_group(f"{name}/{number:04d}", chunk, cases, is_alone=False) for number, chunk in enumerate(chunks)]


def void_probes(cases: Sequence[EditCase], groups: Sequence[Group]) -> set[tuple[int, str]]:
    """Find the locality probes that ask what another request of their group changes.

    Returns:
        Place of the case among those of the cell, and id of the probe.
    """
    return {
        (group.places[index], probe)
        for group in groups
        for index, probe in contradicted([cases[place] for place in group.places])
    }


def _group(name: str, places: Sequence[int], cases: Sequence[EditCase], *, is_alone: bool) -> Group:
    requests = tuple(cases[place].request for place in places)
    return Group(id=name, places=tuple(places), requests=requests, is_alone=is_alone)
