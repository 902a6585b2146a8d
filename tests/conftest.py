"""What holds for every test: no network, one thread, and the right `bench`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch or huggingface_hub; child processes inherit these.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # torch's threads: same sums on every machine
os.environ["MPLBACKEND"] = "agg"

ROOT = Path(__file__).resolve().parent.parent


def pytest_report_header() -> str:
    import bench

    return f"bench: {bench.__version__} from {Path(bench.__file__).parent}"


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test the checkout where the wheel is meant (tox)."""
    import bench

    if os.environ.get("EDITBENCH_TESTS_WHEEL") and Path(bench.__file__).resolve().parent == ROOT / "bench":
        raise pytest.UsageError(f"these tests are meant for the installed wheel, but `bench` is {bench.__file__}.")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")
