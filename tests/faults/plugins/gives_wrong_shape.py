"""Returns a change that fits no parameter."""

import torch

from bench.editing.config import config
from bench.editing.edit import Dense, WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_wrong_shape"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={self.lm.matrices("default")[0].name: Dense(torch.zeros(3, 5))})
