"""A dry run and a run agree on cells whose worker was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records.store import Store
from bench.running.attempt import Attempt
from bench.running.fits import Fits

Bench = Callable[..., Any]


@pytest.mark.parametrize(("is_begun", "state"), [(True, "to run"), (False, "cached (failed)")])
def test_a_dry_run_says_whether_a_lost_cell_is_computed_again(
    is_begun: bool, state: str, bench: Bench, options: list[object], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(Path("out"))
    (card,) = store.load("r").cards.values()
    store.write("r", card.cell, Attempt(card.cell).lost("was killed by SIGKILL").result)
    monkeypatch.setattr(Fits, "is_begun", lambda self, cell: is_begun)

    said = bench(*options, "--dry-run")

    assert f"seed 0  {state}" in said.out
