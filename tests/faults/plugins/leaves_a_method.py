"""Leaves another forward method on a module."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_a_method"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        block = self.lm.model.get_submodule("transformer.h.1")
        block.forward = block.forward
        return WeightEdit(changes={})
