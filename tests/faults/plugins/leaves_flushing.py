"""Leaves the processor making zeros of the smallest numbers."""

import torch

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_flushing"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        torch.set_flush_denormal(True)
        return WeightEdit(changes={})
