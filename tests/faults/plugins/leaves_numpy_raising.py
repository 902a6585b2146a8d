"""Leaves numpy raising where it warned."""

import numpy as np

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "leaves_numpy_raising"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        np.seterr(all="raise")
        return WeightEdit(changes={})
