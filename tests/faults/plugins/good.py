"""Behaves, but draws from every global random state and minds how the process is set up."""

import os
import random

import numpy as np
import torch

from bench.editing.config import config
from bench.editing.edit import Dense, WeightEdit
from bench.editing.editor import Editor


@config
class FaultConfig:
    pass


class Fault(Editor[FaultConfig]):
    name = "good"
    version = 1
    source = "a test"
    kinds = ("causal",)
    Config = FaultConfig

    def edit(self, requests, *, memory, generator):
        assert os.getcwd() != "/" and "EDITBENCH_FAULT" not in os.environ
        matrix = self.lm.matrices("default")[0]
        weights = self.lm.leaves("default")
        self.lm.loss([(request.prompt, request.target) for request in requests], weights).backward()
        noise = torch.randn(weights[matrix.name].shape) * (random.random() + np.random.rand())
        return WeightEdit(changes={matrix.name: Dense(-0.3 * weights[matrix.name].grad + 0.02 * noise)})
