"""No edit at all: the control that every editor must beat.

It shows how often the unedited model already gives the target, and that the harness itself changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.editing.config import config
from bench.editing.edit import Edit, State, WeightEdit
from bench.editing.editor import ALL_KINDS, Editor
from bench.editing.request import EditRequest


@config
class NoEditConfig:
    """Nothing can be chosen."""


class NoEdit(Editor[NoEditConfig]):
    """Gives the empty change."""

    name = "none"
    version = 1
    source = "control"
    kinds = ALL_KINDS
    is_control = True
    Config = NoEditConfig

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return WeightEdit(changes={})
