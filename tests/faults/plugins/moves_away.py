"""Leaves another working folder, and another environment."""

import os

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "moves_away"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        os.chdir("/")
        os.environ["EDITBENCH_FAULT"] = "1"
        return WeightEdit(changes={})
