"""Is killed from outside, as by a system that runs out of memory."""

import os
import signal

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "is_killed"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        os.kill(os.getpid(), signal.SIGKILL)
        return WeightEdit(changes={})
