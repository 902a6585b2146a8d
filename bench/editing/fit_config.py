"""What every fit can be told, and the values of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.editing.config import config, follows_mode

__all__ = ["PAPER_FIT", "FitConfig", "Precision"]

Precision = Literal["fp32", "bf16"]
_AtLeastOne = Annotated[int, Field(ge=1)]
_NotNegative = Annotated[int, Field(ge=0)]


@config
class FitConfig:
    """What every fit can be told; learned editors add their own fields and defaults."""

    steps: _NotNegative = 300  # most optimiser steps; tuned, as all here, for the embedded models and for minutes
    edits_per_step: _AtLeastOne = 16  # independent groups a step; the paper accumulates 10
    micro_batch: _NotNegative = 0  # groups that are computed at once, for memory's sake; 0: all of a step; paper: 1
    group_size: _AtLeastOne = follows_mode(1)  # requests installed together in a group; in mode batch:n, n
    outer_probes: _AtLeastOne = 2  # of each case and step, that must follow the edit
    locality_probes: _AtLeastOne = 2  # of each case and step, that must not
    clip: float = 1.0  # global norm of the gradient; few edits have a divergence that dwarfs all others
    decay_to: float = 0.1  # the cosine schedule ends at this fraction of the learning rate; 1: no decay
    validate_every: _AtLeastOne = 60  # steps between two looks at the tune split
    validation_edits: _NotNegative = 96  # tune edits a look, one group at least; 0: no looks, the last state is kept
    patience: _AtLeastOne = 4  # looks without a better loss after which the fit stops; MEND: 20,000 / 5,000
    c_edit: float = 0.3  # weight of the edit loss; 0.1 with the divergence over all positions, as in the paper
    precision: Precision = "fp32"  # bf16: the losses of the steps are computed under autocast; looks never are


# Mitchell et al. 2022, appendix C, and config/config.yaml of eric-mitchell/mend: learned editors merge it into `paper`.
PAPER_FIT: Mapping[str, Any] = {
    "steps": 50_000,  # 500,000 micro-batches of one edit, ten a step
    "edits_per_step": 10,
    "micro_batch": 1,
    "outer_probes": 1,
    "locality_probes": 1,
    "clip": 100.0,
    "decay_to": 1.0,
    "validate_every": 500,  # 5,000 micro-batches
    "validation_edits": 500,
    "patience": 4,  # 20,000 micro-batches
    "c_edit": 0.1,
}
