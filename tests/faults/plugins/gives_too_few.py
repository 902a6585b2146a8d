"""Returns fewer edits than it was given groups of requests."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_too_few"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={})

    def edit_each(self, groups, *, generators):
        return [WeightEdit(changes={}) for _ in groups[1:]]
