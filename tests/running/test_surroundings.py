"""What a cell can do to the process around it, and what is left of that behind it."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from bench.running.surroundings import seeded, surroundings

_LEFT: dict[str, Callable[[], object]] = {
    "torch's default dtype (torch.float64, not torch.float32)": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device (meta, not cpu)": lambda: torch.set_default_device("meta"),
    "torch's grad mode (False, not True)": lambda: torch.set_grad_enabled(False),
    "torch's deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "torch's precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "cuDNN's settings": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "the flushing of denormal numbers (True, not False)": lambda: torch.set_flush_denormal(True),
    "the hooks of all modules": lambda: register_module_forward_hook(lambda *_: None),
    "numpy's handling of errors": lambda: np.seterr(over="raise"),
}


@pytest.mark.parametrize("said", list(_LEFT))
def test_a_switch_that_is_left_another_way_is_named_and_put_back(said: str) -> None:
    with surroundings() as around:
        assert around.changes() == []
        _LEFT[said]()
        assert around.changes() == [said]

    assert around.changes() == []


def test_a_hook_that_was_there_before_stays() -> None:
    called = []
    handle = register_module_forward_hook(lambda *_: called.append(True))
    try:
        with surroundings():
            register_module_forward_hook(lambda *_: called.append(False))
        nn.Identity()(torch.zeros(1))
    finally:
        handle.remove()

    assert called == [True]


def test_a_warning_that_became_an_error_is_named() -> None:
    with warnings.catch_warnings(), surroundings() as around:
        warnings.simplefilter("error", ResourceWarning)

        assert len(around.changes()) == 1
        assert around.changes()[0].startswith("the warnings that are errors (")


def test_folder_and_environment_are_put_back_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITBENCH_KEPT", "before")
    monkeypatch.setenv("EDITBENCH_GONE", "before")
    before = os.getcwd()

    with pytest.raises(ValueError, match="stop"), surroundings():
        os.chdir(tmp_path)
        os.environ["EDITBENCH_KEPT"] = "after"
        os.environ["EDITBENCH_NEW"] = "after"
        del os.environ["EDITBENCH_GONE"]
        raise ValueError("stop")

    assert os.getcwd() == before
    assert (os.environ["EDITBENCH_KEPT"], os.environ["EDITBENCH_GONE"]) == ("before", "before")
    assert "EDITBENCH_NEW" not in os.environ


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_random_numbers_depend_on_the_seed_alone_and_draw_nothing_from_what_is_around() -> None:
    with seeded(1):
        first = draw()
    state = torch.get_rng_state()
    draw()  # so that another state is around
    with seeded(1):
        second = draw()
    with seeded(2):
        third = draw()
    torch.set_rng_state(state)
    expected = float(torch.rand(()))
    torch.set_rng_state(state)
    with seeded(3):
        draw()
        torch.manual_seed(4)

    assert first == second
    assert all(a != b for a, b in zip(first, third, strict=True))
    assert float(torch.rand(())) == expected


@pytest.mark.parametrize(
    ("use", "whose"),
    [
        (lambda: None, []),
        (random.random, ["python"]),
        (np.random.rand, ["numpy"]),
        (lambda: torch.rand(2), ["torch"]),
        (lambda: torch.manual_seed(7), ["torch"]),
        (lambda: torch.rand(2, generator=torch.Generator().manual_seed(0)), []),
    ],
)
def test_it_is_known_whose_random_state_was_used(use: Callable[[], object], whose: list[str]) -> None:
    with seeded(0) as used:
        use()

    assert used == whose
