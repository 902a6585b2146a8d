"""Where a cell ran: versions, device, load. Kept beside the numbers, never part of a key."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

import bench

__all__ = ["environment"]


def environment(device: torch.device) -> dict[str, object]:
    """Describe this process and its machine as JSON values."""
    facts: dict[str, object] = {
        **_fixed(),
        "threads": torch.get_num_threads(),
        "load_1min": round(os.getloadavg()[0], 2),
        "cpus": os.cpu_count(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "device_name": properties.name,
            "device_memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    else:
        facts["device_name"] = _processor()
    return facts


@cache
def _fixed() -> dict[str, object]:
    return {
        "bench": bench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "system": f"{platform.system()} {platform.release()}",
    }


@cache
def _commit() -> str | None:
    """Give the git commit of a checkout, with `+` if files differ from it; None outside one."""
    root = Path(bench.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


@cache
def _driver() -> str | None:
    """Give the version of NVIDIA's driver; None where it does not say."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
        return next((word for word in words if word[0].isdigit() and "." in word), None)
    except OSError:  # in a container the file may be missing
        return _asked_driver()


def _asked_driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
