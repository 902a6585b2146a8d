"""Returns a change of a parameter that does not exist."""

import torch

from bench.editing.config import config
from bench.editing.edit import Dense, WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_unknown_names"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={"transformer.no.such.weight": Dense(torch.zeros(2))})
