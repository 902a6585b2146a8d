"""Edits the base model in place."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "writes_weights"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        self.lm.model.get_parameter(self.lm.matrices("default")[0].name).data[0, 0] += 1e-3
        return WeightEdit(changes={})
