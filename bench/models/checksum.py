"""A checksum of all weights of a model, exact and cheap, computed where they lie.

Each tensor is read as 32-bit words b_0, b_1, …, and Σ (2i + 1) b_i is kept in 64 bits. A flipped bit changes it: its
weight is odd. So do two words, or two numbers of any size, that change places: the difference of their weights times
that of their values is less than 2^64, or is an odd number times one of fewer bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["checksum"]

# Words at once: on a CPU they stay in its cache, elsewhere they bound what is copied.
_WORDS = {"cpu": 2**17}
_WORDS_ELSEWHERE = 2**22


@torch.no_grad()
def checksum(model: nn.Module) -> str:
    """Give a checksum of all parameters and buffers as they are now: names, types, shapes and bits."""
    digest = hashlib.blake2b(digest_size=16)
    sums: dict[torch.device, list[Tensor]] = {}
    for name, tensor in _tensors(model):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel() and tensor.device.type != "meta":
            sums.setdefault(tensor.device, []).extend(_sums(tensor))
    for found in sums.values():
        digest.update(torch.stack(found).cpu().numpy().tobytes())  # one transfer a device
    return digest.hexdigest()


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _sums(tensor: Tensor) -> list[Tensor]:
    """Give the weighted sums of a tensor's words, int64 scalars on its device: one for each word of a number."""
    flat = tensor.detach().contiguous().view(-1)
    size = flat.element_size()
    words = 4 // size if size < 4 else 1  # numbers in a word
    if flat.storage_offset() % words:  # a part of a longer tensor that begins inside of a word
        flat = flat.clone()
    whole = flat.numel() // words * words
    sums = [_weighted(lane) for lane in flat[:whole].view(torch.int32).view(-1, max(1, size // 4)).unbind(1)]
    if whole < flat.numel():  # what fills no word
        rest = flat[whole:].view(torch.uint8 if size == 1 else torch.int16).long()
        sums.append((rest * torch.arange(1, 2 * len(rest), 2, device=rest.device)).sum())
    return sums


def _weighted(words: Tensor) -> Tensor:
    """Give Σ (2i + 1) b_i of (N,) int32 words, which wraps at 64 bits."""
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    size = _WORDS.get(words.device.type, _WORDS_ELSEWHERE)
    weights = 2 * torch.arange(min(size, len(words)), device=words.device) + 1
    for start in range(0, len(words), size):
        part = words[start : start + size]
        total += (part * weights[: len(part)]).sum()
        if start:
            total += part.sum(dtype=torch.int64) * (2 * start)
    return total
