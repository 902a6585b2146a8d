"""Returns two factors that make no matrix."""

import torch

from bench.editing.config import config
from bench.editing.edit import LowRank, WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "gives_wrong_factors"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        return WeightEdit(
            changes={self.lm.matrices("default")[0].name: LowRank(torch.zeros(32, 2), torch.zeros(3, 32))}
        )
