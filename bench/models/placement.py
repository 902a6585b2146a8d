"""Puts a model that is larger than one GPU on several, and refuses what would not stay on them.

Unproven: it has been tested with accelerate's hooks on a CPU, never on several GPUs.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from transformers import PreTrainedModel

from bench.errors import ModelError

__all__ = ["check_placement", "placement"]

_ELSEWHERE = ("cpu", "disk", "meta")


def placement(gpus: int) -> dict[str, Any]:
    """Give the arguments of `from_pretrained` that spread a model over so many GPUs; none for one.

    Raises:
        ModelError: accelerate is not installed.
    """
    if gpus == 1:
        return {}
    if importlib.util.find_spec("accelerate") is None:
        raise ModelError("--gpus-per-cell needs accelerate, which is missing. Run `pip install 'editbench[large]'`.")
    room = {index: torch.cuda.get_device_properties(index).total_memory for index in range(gpus)}
    # Nothing is left for the CPU: what does not fit then goes to the disk, and is refused below.
    return {"device_map": "auto", "max_memory": {**{index: int(0.9 * size) for index, size in room.items()}, "cpu": 0}}


def check_placement(name: str, model: PreTrainedModel, gpus: int) -> None:
    """Check that every part of a spread model lies on a GPU.

    Raises:
        ModelError: a part was left to the CPU or the disk.
    """
    if gpus == 1:
        return
    places = {part: str(device) for part, device in getattr(model, "hf_device_map", {}).items()}
    away = {part: device for part, device in places.items() if device in _ELSEWHERE}
    if away:
        part, device = next(iter(away.items()))
        raise ModelError(
            f"model {name!r} does not fit on {gpus} GPUs: {len(away)} of its {len(places)} parts, {part!r} for one, "
            f"would be kept on the {device}. Such parts are loaded anew in every pass, so that edits written into them "
            "are lost and times mean nothing. Ask for more with --gpus-per-cell, or for bf16."
        )
