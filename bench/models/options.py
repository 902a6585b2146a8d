"""How a model is loaded, beyond its name: what is trusted, which revision, how its prompts are written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLAIN", "LoadOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What was asked for by flag.

    Args:
        revision: the commit of a hub id, where it is known already; otherwise it follows from the name.
        is_chat: prompts are put into the model's chat template.
        gpus: how many GPUs hold the model together.
        runs_remote_code: code that comes with the model may be run.
        reads_pickle: weights may be read from a pickle where there are no safetensors.
    """

    revision: str = ""
    is_chat: bool = False
    gpus: int = 1
    runs_remote_code: bool = False
    reads_pickle: bool = False


PLAIN = LoadOptions()
