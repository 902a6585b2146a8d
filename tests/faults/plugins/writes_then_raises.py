"""Edits the base model in place and fails."""

from bench.editing.config import config
from bench.editing.editor import Editor
from bench.errors import EditError


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "writes_then_raises"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        self.lm.model.get_parameter(self.lm.matrices("default")[0].name).data.add_(1)
        raise EditError("it can not be installed.")
