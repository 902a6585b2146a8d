"""Returns an edit of bare tensors."""

import torch

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_bare_tensors"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={self.lm.matrices("default")[0].name: torch.zeros(2)})
