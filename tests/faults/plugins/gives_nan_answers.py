"""Patches a module so that it gives NaN."""

from bench.editing.config import config
from bench.editing.edit import ModuleEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_nan_answers"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        path = self.lm.matrices("default")[-1].name.rpartition(".")[0]
        return ModuleEdit(patches={path: lambda output, _, rows: output * float("nan")})
