"""The original objective of KnowledgeEditor: the edit's loss, subject to a divergence below a margin.

Source: De Cao et al. 2021 (arXiv:2104.08164), section 3.2; reference code nicola-decao/KnowledgeEditor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from bench.editing.objective import FitBatch
from bench.editing.request import Probe, ProbeKind, Text
from bench.models.generation import generate
from bench.models.language_model import LanguageModel

__all__ = ["Constraint", "OwnAnswers", "warm_up_and_decay"]

_ANNEALING = 0.8  # of the margin, after each look at the tune split with more success than
_ENOUGH_SUCCESS = 0.9  # both from `on_validation_epoch_end`


class Margins(Protocol):
    """What of a configuration the constraint needs."""

    @property
    def margin(self) -> float: ...
    @property
    def least_margin(self) -> float: ...


class Constraint:
    """A Lagrange multiplier that learns how much the divergence counts, and the margin that it may reach.

    Args:
        margins: the margin at the start, and the least one.
        device: of the multiplier.
    """

    def __init__(self, margins: Margins, device: torch.device) -> None:
        self.multiplier = torch.ones((), device=device, requires_grad=True)
        self.margin = torch.tensor(margins.margin, device=device)
        self._least_margin = margins.least_margin

    def total(self, edit: Tensor, divergence: Tensor) -> Tensor:
        """Give edit + a · (divergence - margin); descending on it ascends on a."""
        excess = divergence - self.margin
        ascent = self.multiplier * excess.detach()
        return edit + self.multiplier.detach() * excess - (ascent - ascent.detach())

    def project(self) -> None:
        """Put a multiplier that fell below 0 back to it."""
        with torch.no_grad():
            self.multiplier.clamp_(min=0)

    def anneal(self, success: float) -> None:
        """Tighten the margin if edits succeed."""
        if success > _ENOUGH_SUCCESS:
            self.margin = (_ANNEALING * self.margin).clamp(min=self._least_margin)

    def tensors(self) -> dict[str, Tensor]:
        """Give what was learned, and the margin, by name."""
        return {"multiplier": self.multiplier.detach().clone(), "margin": self.margin.clone()}

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        with torch.no_grad():
            self.multiplier.copy_(tensors["multiplier"])
            self.margin.copy_(tensors["margin"])


class OwnAnswers:
    """Rewrites the probes of a step to what the original objective asks.

    Edits are followed on the request itself and at most one rephrase; locality probes are answered as the unedited
    model itself answers them, not as they should be.

    Args:
        lm: the unedited model.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._known: dict[Text, str] = {}

    def rewritten(self, batch: FitBatch) -> FitBatch:
        """Give the step with other probes."""
        outer: list[tuple[int, Probe]] = []
        for index, group in enumerate(batch.groups):
            rephrases = [p for g, p in batch.outer if g == index and p.kind is not ProbeKind.REQUEST]
            asked = [
                Probe(id=request.id, kind=ProbeKind.REQUEST, prompt=request.prompt, answer=request.target)
                for request in group
            ]
            outer.extend((index, probe) for probe in (*asked, *rephrases[:1]))
        said = self._answered([probe.prompt for _, probe in batch.locality])
        # A model that says nothing is asked about the right answer: there must be a position to compare at.
        locality = tuple(
            (g, replace(probe, answer=text or probe.answer))
            for (g, probe), text in zip(batch.locality, said, strict=True)
        )
        return replace(batch, outer=tuple(outer), locality=locality)

    def said(self) -> list[tuple[Text, str]]:
        """Give all prompts that were answered so far with the answers, as JSON can hold them."""
        return list(self._known.items())

    def resume(self, said: Sequence[tuple[str | Sequence[int], str]]) -> None:
        """Take back what `said` gave; ids have become lists."""
        self._known = {prompt if isinstance(prompt, str) else tuple(prompt): text for prompt, text in said}

    def _answered(self, prompts: Sequence[Text]) -> list[str]:
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._known))
        with torch.autocast(self._lm.device.type, enabled=False):  # the answers of looks and of steps are the same
            self._known.update(zip(new, generate(self._lm, new), strict=True))
        return [self._known[prompt] for prompt in prompts]


def warm_up_and_decay(step: int, steps: int, warm_up: float) -> float:
    """Give the factor of the learning rate: a line up over a share of all steps, and a line down to 0."""
    rising = round(warm_up * steps)
    if step < rising:
        return step / rising
    return max(0.0, (steps - step) / max(1, steps - rising))
