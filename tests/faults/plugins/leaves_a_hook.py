"""Leaves a hook on a module."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_a_hook"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        self.lm.model.get_submodule("transformer.h.1").register_forward_hook(lambda *_: None)
        return WeightEdit(changes={})
