"""The process around a cell: its random states are the cell's own, and switches that change numbers are watched.

Three kinds of state outlive a cell. The global random states are seeded for each cell and put back behind it: what
draws from them can not reach the next cell. The folder and the environment are put back: they change no number of
this cell. A switch of torch or numpy may have changed this very cell's numbers, so that a cell which leaves one
another way fails; it is put back, too, for the sake of `--in-process`.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.modules import module as hooks_of_all_modules

__all__ = ["Surroundings", "seeded", "surroundings"]

_CPU = torch.device("cpu")


class _Switch(NamedTuple):
    """A global setting: how it is read, and how it is put back; None: only the end of the process does."""

    name: str
    read: Callable[[], object]
    write: Callable[[Any], object] | None = None


class Surroundings:
    """How the switches of this process stood when this was made."""

    def __init__(self) -> None:
        self._before = {switch.name: switch.read() for switch in _SWITCHES}

    def changes(self) -> list[str]:
        """Name the switches that stand another way now, with both values where these are single ones."""
        return [switch.name + _from_to(self._before[switch.name], now) for switch, now in self._moved()]

    def restore(self) -> None:
        """Put back what can be put back."""
        for switch, _ in self._moved():
            if switch.write is not None:
                switch.write(self._before[switch.name])

    def _moved(self) -> list[tuple[_Switch, object]]:
        now = [(switch, switch.read()) for switch in _SWITCHES]
        return [(switch, value) for switch, value in now if value != self._before[switch.name]]


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Note how everything stands; behind the block, put back what the block left another way."""
    around, folder, variables = Surroundings(), _folder(), dict(os.environ)
    try:
        yield around
    finally:
        around.restore()
        if folder and _folder() != folder:
            with suppress(OSError):  # it was deleted
                os.chdir(folder)
        if dict(os.environ) != variables:
            for name in set(os.environ) - set(variables):
                del os.environ[name]
            os.environ.update(variables)


@contextmanager
def seeded(seed: int) -> Iterator[list[str]]:
    """Seed the global random states for the length of a block, and put them back as they were.

    Yields:
        Whose random states were drawn from or seeded anew; filled in when the block ends without an error.
    """
    before = _random_states()
    used: list[str] = []
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        start = _random_states()
        yield used
        end = _random_states()
        used += [name for name in start if not _is_same(start[name], end.get(name))]
    finally:
        random.setstate(before["python"])
        np.random.set_state(before["numpy"])
        torch.set_rng_state(before["torch"])
        if "torch on the GPU" in before:
            torch.cuda.set_rng_state_all(before["torch on the GPU"])


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states["torch on the GPU"] = torch.cuda.get_rng_state_all()
    return states


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_is_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.array_equal(one, other))


def _from_to(before: object, now: object) -> str:
    return "" if isinstance(before, tuple | dict) else f" ({now}, not {before})"


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _hooks() -> dict[str, list[object]]:
    """Give the hooks that every module calls, by their kind."""
    return {kind: list(hooks) for kind, hooks in _hook_tables().items() if hooks}


def _unhook(before: dict[str, list[object]]) -> None:
    for kind, hooks in _hook_tables().items():
        for key in [key for key in hooks if key not in before.get(kind, [])]:
            del hooks[key]


def _hook_tables() -> dict[str, dict[object, object]]:
    tables = vars(hooks_of_all_modules).items()
    return {name: table for name, table in tables if name.startswith("_global_") and name.endswith("_hooks")}


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _precision() -> tuple[object, ...]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def _set_precision(before: tuple[Any, ...]) -> None:
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def _cudnn() -> tuple[bool, ...]:
    return tuple(bool(getattr(torch.backends.cudnn, name)) for name in _CUDNN)


def _set_cudnn(before: tuple[bool, ...]) -> None:
    for name, value in zip(_CUDNN, before, strict=True):
        setattr(torch.backends.cudnn, name, value)


def _flushes_denormals() -> bool:
    """Say whether numbers too small for a normal float become 0; torch can not be asked."""
    return bool(torch.full((), 1e-40, dtype=torch.float32, device=_CPU) * 1 == 0)


def _errors() -> int:
    """Count the kinds of warning that are made errors of."""
    return sum(action == "error" for action, *_ in warnings.filters)


_CUDNN = ("enabled", "benchmark", "deterministic")

_SWITCHES = (
    _Switch("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Switch(
        "torch's default device",
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device == _CPU else device),
    ),
    _Switch("torch's grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Switch("torch's inference mode", torch.is_inference_mode_enabled),
    _Switch("torch's autocast", lambda: (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"))),
    _Switch("torch's anomaly mode", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Switch("the number of torch's threads", torch.get_num_threads, torch.set_num_threads),
    _Switch(
        "torch's deterministic algorithms",
        _deterministic,
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    ),
    _Switch("torch's precision of products", _precision, _set_precision),
    _Switch("cuDNN's settings", _cudnn, _set_cudnn),
    _Switch("the flushing of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    _Switch("the hooks of all modules", _hooks, _unhook),
    _Switch("numpy's handling of errors", np.geterr, lambda before: np.seterr(**before)),
    _Switch("the warnings that are errors", _errors),
)
