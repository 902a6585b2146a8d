"""Raises while it prepares."""

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "raises_in_prepare"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    @classmethod
    def prepare(cls, lm, config, data):
        raise KeyError("no such statistic")

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={})
