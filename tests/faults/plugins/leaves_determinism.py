"""Leaves torch with other algorithms."""

import torch

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_determinism"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        torch.use_deterministic_algorithms(True, warn_only=True)
        return WeightEdit(changes={})
