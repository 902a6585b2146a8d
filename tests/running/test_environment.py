"""What a card says about where its cell ran."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.running import environment as subject
from bench.running.environment import environment

_SAID = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\nGCC version: 13.2.0\n"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torch describe a GPU that is not there."""
    properties = SimpleNamespace(name="A GPU", total_memory=80 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    subject._driver.cache_clear()
    yield
    subject._driver.cache_clear()


def test_a_cpu_is_named_with_its_threads_and_its_load() -> None:
    facts = environment(torch.device("cpu"))

    assert facts["threads"] == torch.get_num_threads()
    assert isinstance(facts["load_1min"], float)
    assert facts["device_name"]
    assert {"bench", "commit", "python", "torch", "transformers", "system", "cpus"} <= set(facts)
    assert "driver" not in facts


def test_a_gpus_driver_is_read_from_the_system(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(torch.device("cpu"))  # what is remembered is read before
    monkeypatch.setattr(Path, "read_text", lambda path, **_: _SAID)

    facts = environment(torch.device("cuda"))

    assert (facts["device_name"], facts["device_memory_bytes"]) == ("A GPU", 80 * 2**30)
    assert facts["driver"] == "550.54.15"


@pytest.mark.parametrize(("answer", "driver"), [("535.129.03\n535.129.03\n", "535.129.03"), (None, None)])
def test_where_the_system_is_silent_the_drivers_own_tool_is_asked(
    gpu: None, answer: str | None, driver: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(torch.device("cpu"))

    def silent(path: Path, **_: Any) -> str:
        raise FileNotFoundError(str(path))

    def ask(command: list[str], **_: Any) -> SimpleNamespace:
        if answer is None:
            raise subprocess.CalledProcessError(9, command)
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(Path, "read_text", silent)
    monkeypatch.setattr(subprocess, "run", ask)

    assert environment(torch.device("cuda"))["driver"] == driver
