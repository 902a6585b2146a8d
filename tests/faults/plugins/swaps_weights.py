"""Swaps two numbers of the base model."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "swaps_weights"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        row = self.lm.model.get_parameter(self.lm.matrices("default")[0].name).data[0]
        row[[0, 1]] = row[[1, 0]]
        return WeightEdit(changes={})
