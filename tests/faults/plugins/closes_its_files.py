"""Closes what it has not opened, its connection to the driver as well."""

import os
import time

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "closes_its_files"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        os.closerange(3, 1024)
        time.sleep(60)
        return WeightEdit(changes={})
