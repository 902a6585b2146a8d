"""Seeds every global random state anew."""

import random

import numpy as np
import torch

from bench.editing.config import config
from bench.editing.edit import WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "reseeds"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        return WeightEdit(changes={})
