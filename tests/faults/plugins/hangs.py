"""Never comes back, and ends for no polite signal."""

import signal
import time

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "hangs"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.05)
        return WeightEdit(changes={})
