"""Returns an edit that holds NaN."""

import torch

from bench.editing.config import config
from bench.editing.edit import Dense, WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_nan"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        name = self.lm.matrices("default")[0].name
        delta = torch.full_like(self.lm.model.get_parameter(name), float("nan"))
        return WeightEdit(changes={name: Dense(delta)})
