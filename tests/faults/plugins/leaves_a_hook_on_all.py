"""Leaves a hook that every module calls."""

from torch.nn.modules.module import register_module_forward_hook

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_a_hook_on_all"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        register_module_forward_hook(lambda module, arguments, output: None)
        return WeightEdit(changes={})
