"""Draws the edits of each step of a fit, with their probes, and can go on from where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import torch

from bench.editing.edit import State
from bench.editing.fit_config import FitConfig
from bench.editing.objective import FitBatch
from bench.editing.request import EditCase, Probe, ProbeKind, contradicted
from bench.errors import DataError

__all__ = ["Sampler", "drawn_batch", "in_groups", "micro_batches"]


class Sampler:
    """Draws batches for ever: a permutation of the cases, and a new one when it is used up.

    Source of the order: MEND's sampler; see editors' sampling in the reference code.

    Args:
        cases: of the fit split.
        settings: how many groups a step, of what size, with how many probes.
        seed: fixes what is drawn.

    Raises:
        DataError: there are too few cases for one step.
    """

    def __init__(self, cases: Sequence[EditCase], settings: FitConfig, *, seed: int) -> None:
        needed = settings.group_size * settings.edits_per_step
        if len(cases) < needed:
            raise DataError(f"a fit needs {needed} cases, the fit split has {len(cases)}.")
        self._cases = cases
        self._settings = settings
        self._random = np.random.default_rng(seed)
        self._order: list[int] = []

    def draw(self) -> FitBatch:
        """Give the batch of the next step."""
        size, groups = self._settings.group_size, []
        for _ in range(self._settings.edits_per_step):
            if len(self._order) < size:  # a group never spans two permutations: it could hold a case twice
                self._order = self._random.permutation(len(self._cases)).tolist()
            groups.append([self._cases[self._order.pop()] for _ in range(size)])
        return drawn_batch(groups, self._settings, self._random)

    def state(self) -> State:
        """Give what the next batches depend on: what is left of the permutation, and the generator."""
        random = json.dumps(self._random.bit_generator.state)  # as text: its integers have 128 bits
        return State(tensors={"order": torch.tensor(self._order, dtype=torch.int64)}, values={"random": random})

    def resume(self, state: State) -> None:
        """Go on from where `state` was taken."""
        self._order = state.tensors["order"].tolist()
        self._random.bit_generator.state = json.loads(state.values["random"])


def drawn_batch(groups: Sequence[Sequence[EditCase]], settings: FitConfig, random: np.random.Generator) -> FitBatch:
    """Take of each case some probes that follow the edit and some that must not.

    A locality probe that asks what another request of its group changes is not taken, as in scoring.

    Raises:
        DataError: a case has none of either kind.
    """
    outer: list[tuple[int, Probe]] = []
    locality: list[tuple[int, Probe]] = []
    for index, group in enumerate(groups):
        void = contradicted(group) if len(group) > 1 else set()
        for place, case in enumerate(group):
            follow = [p for p in case.probes if p.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE)]
            stay = [p for p in case.probes if p.kind is ProbeKind.LOCALITY]
            if not follow or not stay:
                raise DataError(
                    "a fit needs cases with request or rephrase probes, and with locality probes; "
                    f"case {case.request.id!r} has {len(follow)} and {len(stay)}."
                )
            outer.extend((index, probe) for probe in _drawn(follow, settings.outer_probes, random))
            stay = [p for p in stay if (place, p.id) not in void]
            locality.extend((index, probe) for probe in _drawn(stay, settings.locality_probes, random))
    requests = tuple(tuple(case.request for case in group) for group in groups)
    return FitBatch(groups=requests, outer=tuple(outer), locality=tuple(locality))


def micro_batches(batch: FitBatch, size: int) -> list[FitBatch]:
    """Cut a batch into parts of so many groups, in their order; 0: one part."""
    count = len(batch.groups)
    if size == 0 or size >= count:
        return [batch]
    return [_part(batch, first, min(first + size, count)) for first in range(0, count, size)]


def in_groups(cases: Sequence[EditCase], size: int) -> list[list[EditCase]]:
    """Cut cases into groups of one size; what is left over is left out."""
    return [list(cases[first : first + size]) for first in range(0, len(cases) - size + 1, size)]


def _part(batch: FitBatch, first: int, end: int) -> FitBatch:
    return FitBatch(
        groups=batch.groups[first:end],
        outer=tuple((group - first, probe) for group, probe in batch.outer if first <= group < end),
        locality=tuple((group - first, probe) for group, probe in batch.locality if first <= group < end),
    )


def _drawn(probes: Sequence[Probe], count: int, random: np.random.Generator) -> list[Probe]:
    return [probes[i] for i in random.permutation(len(probes))[:count]]
