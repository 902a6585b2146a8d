"""Returns an edit under which scoring never ends."""

import time

from bench.editing.config import config
from bench.editing.edit import ModuleEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "hangs_in_scoring"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        def patch(output, _, rows):
            while True:
                time.sleep(0.05)

        path = self.lm.matrices("default")[-1].name.rpartition(".")[0]
        return ModuleEdit(patches={path: patch})
