"""Deals the GPUs of this machine out to worker processes, as CUDA_VISIBLE_DEVICES names them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.errors import ConfigError

__all__ = ["deal_gpus"]


def deal_gpus(wanted: Sequence[str], count: int, *, at_once: int = 1) -> list[str]:
    """Give the GPUs of each share: what one worker is to see.

    Args:
        wanted: numbers of the GPUs to be used, as this process counts them; none: all of them.
        count: how many this process sees.
        at_once: how many hold one model together.

    Returns:
        A value of CUDA_VISIBLE_DEVICES a share. A GPU that fills no share is left out.

    Raises:
        ConfigError: a number is wrong or there twice, or there are too few for one share.
    """
    numbers = [_number(text, count) for text in wanted] or list(range(count))
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ConfigError(f"--devices names {twice} twice.")
    if len(numbers) < at_once:
        raise ConfigError(
            f"--gpus-per-cell is {at_once}; torch finds {count} GPUs here, of which {len(numbers)} may be used. "
            "Ask for fewer a cell."
        )
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    # A process whose own view is restricted counts from 0 again.
    names = [name.strip() for name in shown.split(",")] if shown else [str(number) for number in range(count)]
    whole = len(numbers) // at_once * at_once
    return [",".join(names[number] for number in numbers[i : i + at_once]) for i in range(0, whole, at_once)]


def _number(text: str, count: int) -> int:
    if not text.isdecimal() or int(text) >= count:
        known = f"the numbers 0 to {count - 1}" if count > 1 else "0 only" if count else "none here"
        raise ConfigError(f"--devices names {text!r}; torch finds {known}.")
    return int(text)
