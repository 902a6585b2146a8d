"""What a cache remembers: keys with the targets that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from bench.editing.edit import State
from bench.editing.request import Text

__all__ = ["Entries"]

_NOTHING = -1  # no entry, or no token


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Some requests by the keys of their prompts, oldest first.

    Args:
        keys: (n, D), float32.
        labels: (n, L) tokens of the targets, -1 behind their ends.
        targets: what is said.
        prompts: of the requests; an entry of the same prompt takes the place of an older one.
    """

    keys: Tensor
    labels: Tensor
    targets: tuple[str, ...]
    prompts: tuple[str, ...]

    @classmethod
    def of(
        cls, keys: Tensor, labels: Sequence[Sequence[int]], targets: Sequence[str], asked: Sequence[tuple[Text, Text]]
    ) -> Self:
        """Make entries, one a request."""
        longest = max(map(len, labels))
        padded = [[*row, *[_NOTHING] * (longest - len(row))] for row in labels]
        prompts = tuple(p if isinstance(p, str) else " ".join(map(str, p)) for p, _ in asked)
        made = cls(keys=keys, labels=torch.tensor(padded, device=keys.device), targets=tuple(targets), prompts=prompts)
        return made._latest()

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Take back what `state` gave."""
        values = state.values
        return cls(
            keys=state.tensors["keys"],
            labels=state.tensors["labels"],
            targets=tuple(values["targets"]),
            prompts=tuple(values["prompts"]),
        )

    def state(self) -> State:
        """Give the entries as an edit remembers them."""
        return State(
            tensors={"keys": self.keys, "labels": self.labels},
            values={"targets": list(self.targets), "prompts": list(self.prompts)},
        )

    def to(self, device: torch.device) -> Self:
        """Give the entries on a device."""
        return replace(self, keys=self.keys.to(device), labels=self.labels.to(device))

    def followed_by(self, new: Self) -> Self:
        """Give these entries and newer ones."""
        longest = max(self.labels.shape[1], new.labels.shape[1])
        device = new.keys.device
        labels = [
            torch.nn.functional.pad(part.labels.to(device), (0, longest - part.labels.shape[1]), value=_NOTHING)
            for part in (self, new)
        ]
        joined = type(self)(
            keys=torch.cat([self.keys.to(device), new.keys]),
            labels=torch.cat(labels),
            targets=self.targets + new.targets,
            prompts=self.prompts + new.prompts,
        )
        return joined._latest()

    def nearest(self, keys: Tensor, threshold: float) -> Tensor:
        """Give for each key (B, D) the index of the nearest entry, -1 if it is not nearer than the threshold."""
        # not by matrix products, with which equal keys are some way apart
        distances = torch.cdist(keys, self.keys, compute_mode="donot_use_mm_for_euclid_dist")
        least, index = distances.min(dim=1)
        return torch.where(least < threshold, index, _NOTHING)

    def token(self, entry: Tensor, place: Tensor, end: int) -> Tensor:
        """Give the target's token at each place, (N,); `end` behind its last one, -1 where there is no entry."""
        length = self.labels.shape[1]
        token = self.labels[entry.clamp(min=0), place.clamp(max=length - 1)]
        token = torch.where((place >= length) | (token < 0), end, token)
        return torch.where(entry < 0, _NOTHING, token)

    def _latest(self) -> Self:
        """Leave out entries whose prompt is asked again later."""
        last = {prompt: index for index, prompt in enumerate(self.prompts)}
        keep = sorted(last.values())
        return type(self)(
            keys=self.keys[keep],
            labels=self.labels[keep],
            targets=tuple(self.targets[i] for i in keep),
            prompts=tuple(self.prompts[i] for i in keep),
        )
