"""Tells whether memory ran out, however it is said."""

from __future__ import annotations

import errno

import torch

__all__ = ["is_out_of_memory"]

# torch's CPU allocator, and CUDA's libraries, have no exception of their own
_SAID = ("can't allocate memory", "cuda out of memory", "cuda error: out of memory", "_status_alloc_failed")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether the device or the system had no memory left, or something went wrong because of that."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SAID):
            return True
        error = error.__cause__
    return False
