"""The engine that `bench run` is asked for, and what it can not be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import ConfigError, nearest
from bench.running.devices import deal_gpus
from bench.running.engine import Engine, InProcessEngine, LocalEngine

if TYPE_CHECKING:
    from bench.commands.run import RunOptions

__all__ = ["choose_engine"]

_ENGINES = ("local", "ray")


def choose_engine(options: RunOptions, device: str) -> Engine:
    """Make the engine for a run.

    Args:
        options: of the run.
        device: where cells are computed, resolved: `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: options contradict each other, or ask for GPUs that are not there.
    """
    if options.workers < 0:
        raise ConfigError(
            f"--workers is {options.workers}; it must be at least 1, or 0 for one a GPU and one on the CPU."
        )
    if options.timeout is not None and not options.timeout > 0:  # NaN is not
        raise ConfigError(f"--timeout is {options.timeout:g}; it must be above 0 seconds. Leave it out for no limit.")
    if device != "cuda" and options.devices:
        raise ConfigError(f"--devices names GPUs, and cells are computed on {device}. Leave it out.")
    if options.engine not in _ENGINES:
        raise ConfigError(
            f"--engine is {options.engine!r}; it can be {', '.join(_ENGINES)}.{nearest(options.engine, _ENGINES)}"
        )
    if options.address and options.engine != "ray":
        raise ConfigError(f"--address is of a Ray cluster, and --engine is {options.engine!r}. Give --engine ray.")
    _check_gpus_per_cell(options, device)
    if options.engine == "ray":
        return _ray(options)
    if options.is_in_process:
        return _in_process(options)
    shares = _shares(options) if device == "cuda" else None
    return LocalEngine(
        options.workers or len(shares or [device]),
        timeout_seconds=options.timeout,
        devices=shares,
    )


def _check_gpus_per_cell(options: RunOptions, device: str) -> None:
    gpus = options.gpus_per_cell
    if not (0 < gpus < 1 or (gpus >= 1 and float(gpus).is_integer())):  # NaN is neither
        raise ConfigError(
            f"--gpus-per-cell is {gpus:g}; it must be a whole number of at least 1, or with --engine ray a fraction."
        )
    if device != "cuda" and gpus != 1:
        raise ConfigError(
            f"--gpus-per-cell is {gpus:g}; torch finds no GPU here, or --device is not cuda: cells are "
            f"computed on {device}. Leave it out."
        )
    if gpus < 1 and options.engine != "ray":
        raise ConfigError(
            f"--gpus-per-cell is {gpus:g}, and only --engine ray shares GPUs out by parts. With --engine local, ask "
            "for more --workers than there are GPUs."
        )


def _ray(options: RunOptions) -> Engine:
    if options.is_in_process:
        raise ConfigError("--in-process needs no engine, and --engine is 'ray'. Leave one out.")
    if options.devices:
        raise ConfigError("--devices is what local workers see; Ray deals out its own GPUs. Leave it out.")
    try:
        from bench.running.ray_engine import RayEngine
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise ConfigError("--engine ray needs Ray, which is missing. Run `pip install 'editbench[ray]'`.") from error
    return RayEngine(
        options.workers,
        address=options.address,
        gpus_per_cell=options.gpus_per_cell,
        timeout_seconds=options.timeout,
    )


def _in_process(options: RunOptions) -> Engine:
    if options.timeout is not None:
        raise ConfigError("--timeout ends a worker process, and with --in-process there is none. Leave one out.")
    if options.devices:
        raise ConfigError("--devices is what worker processes see. With --in-process, set CUDA_VISIBLE_DEVICES.")
    return InProcessEngine()


def _shares(options: RunOptions) -> list[str]:
    import torch

    return deal_gpus(options.devices, torch.cuda.device_count(), at_once=int(options.gpus_per_cell))
