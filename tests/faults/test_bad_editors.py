"""A sweep in which every second cell has a bad editor: each has its row, and every good cell is what it always is.

The bad editors are the files in `plugins`, all but `good.py`. One worker computes good, bad, good, bad, … good, so that
whatever a bad one leaves behind meets a good one next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import pandas as pd
import pytest

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status
from bench.records.store import Store
from bench.running.driver import Todo, run_sweep
from bench.running.engine import LocalEngine
from bench.running.sweep import Sweep, plan
from bench.running.task import Progress

pytestmark = pytest.mark.slow

_PLUGINS = Path(__file__).parent / "plugins"
_TIMEOUT_SECONDS = 30.0  # a good cell takes less than one, and loading a model on a busy machine some
_RUN = "faults"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What becomes of a bad editor.

    Args:
        status: of its cell.
        phase: in which that was found; of an editor that only leaves something behind: where that may show.
        said: by the failure or, of a cell that is done, by a note.
        trace: what the traceback holds; empty: nobody can know.
    """

    status: Status
    phase: str
    said: str
    trace: str = "in edit"


def failed(phase: str, said: str, trace: str = "in edit") -> Fault:
    return Fault(status=Status.FAILED, phase=phase, said=said, trace=trace)


def left(what: str, phase: str = "check") -> Fault:
    return failed(phase, what, trace="Traceback")


def done(said: str) -> Fault:
    return Fault(status=Status.DONE, phase="", said=said, trace="")


_FAULTS = {
    "raises": failed("edit", "ZeroDivisionError: nothing to divide by"),
    "raises_in_prepare": failed("fit", "KeyError: 'no such statistic'", "in prepare"),
    "asks_to_exit": failed("edit", "SystemExit: 3"),
    "gives_nan": Fault(status=Status.NAN, phase="edit", said="holds NaN or infinity", trace="NotFinite"),
    "gives_infinity": Fault(status=Status.NAN, phase="edit", said="holds NaN or infinity", trace="NotFinite"),
    "gives_nan_answers": Fault(
        status=Status.NAN, phase="evaluate", said="the log-probability is NaN", trace="NotFinite"
    ),
    "needs_memory": Fault(status=Status.OOM, phase="edit", said="can't allocate memory"),
    "hangs": Fault(status=Status.TIMEOUT, phase="edit", said="not done after 30 s"),
    "hangs_in_scoring": Fault(
        status=Status.TIMEOUT,
        phase="evaluate",
        said="not done after 30 s",
        trace="patch",
    ),
    "ends_its_process": failed("worker", "the worker process ended with exit code 7 in phase 'edit'.", ""),
    "closes_its_files": failed("worker", "the worker process closed its connection and went on in phase 'edit'.", ""),
    "is_killed": failed("worker", "was killed by SIGKILL in phase 'edit'. The system may have run out of memory.", ""),
    "reads_from_nowhere": failed("worker", "was killed by SIGSEGV in phase 'edit'.", "reads_from_nowhere.py"),
    "dies_once": done("the second attempt; at the first one the worker process was killed by SIGKILL"),
    "writes_weights": left("'writes_weights' changed the model's own weights. An editor must return its change"),
    "swaps_weights": left("'swaps_weights' changed the model's own weights. An editor must return its change"),
    "writes_then_raises": failed("edit", "it can not be installed."),
    "gives_wrong_shape": failed("evaluate", "has shape (3, 5); the parameter has", "EditError"),
    "gives_wrong_factors": failed("edit", "factors of shape (32, 2) and (3, 32) make no matrix"),
    "gives_no_edit": failed("edit", "the editor gave a dict where an Edit is expected.", "EditError"),
    "gives_bare_tensors": failed("edit", "by a Tensor; it can be LowRank, Dense or Replacement."),
    "gives_unknown_names": failed("evaluate", "changes 'transformer.no.such.weight', which", "EditError"),
    "gives_too_few": failed("edit", "the editor gave 3 edits for 4 groups of requests.", "EditError"),
    "leaves_a_hook": left("changed the hooks of 'transformer.h.1'"),
    "leaves_a_hook_on_all": left("changed the hooks of all modules"),
    "leaves_a_method": left("changed the forward method of 'transformer.h.1'"),
    "leaves_training": left("changed the training flag of "),
    "leaves_gradients": left("changed requires_grad of 'transformer.wte.weight'"),
    "leaves_a_setting": left("changed the model's configuration"),
    "leaves_a_token": left("changed the tokenizer"),
    "leaves_double": left("changed torch's default dtype (torch.float64, not torch.float32)"),
    "leaves_no_gradients": left("changed torch's grad mode (False, not True)"),
    "leaves_threads": left("changed the number of torch's threads (4, not 1)"),
    "leaves_determinism": left("changed torch's deterministic algorithms"),
    "leaves_flushing": left("changed the flushing of denormal numbers (True, not False)"),
    "leaves_numpy_raising": left("changed numpy's handling of errors"),
    "leaves_warnings_raising": left("changed the warnings that are errors"),
    "reseeds": done("the global random state of python, numpy, torch was used"),
    "moves_away": done(""),
}


class _Listener:
    def __init__(self) -> None:
        self.cards: list[Card] = []

    def progress(self, progress: Progress) -> None:
        pass

    def finished(self, card: Card) -> None:
        self.cards.append(card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What came of the two sweeps.

    Args:
        faulty: with the bad editors.
        clean: without.
        bad: the card of each bad editor's cell.
        good: the good cells, as they stand around the bad ones.
    """

    faulty: Store
    clean: Store
    bad: dict[str, Card]
    good: list[Cell]


@pytest.fixture(scope="module")
def kept() -> Iterator[list[Swept]]:
    """Keep what the first test of this file has made."""
    kept: list[Swept] = []
    yield kept
    kept.clear()


@pytest.fixture
def swept(
    kept: list[Swept],
    model_folder: Callable[[str], Path],
    toy: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Swept:
    """Run both sweeps, once for all tests."""
    if not kept:
        folder = tmp_path_factory.mktemp("faults")
        monkeypatch.setenv("EDITBENCH_MARKER", str(folder / "marker"))

        def planned(methods: tuple[str, ...], seeds: int = 1) -> list[Cell]:
            return [p.cell for p in plan(sweep(methods, seeds))]

        def sweep(methods: tuple[str, ...], seeds: int = 1) -> Sweep:
            return Sweep(
                methods=methods,
                models=(str(model_folder("causal")),),
                datasets=("toy",),
                edits=4,
                seeds=seeds,
                plugins=(toy, *(_PLUGINS / f"{name}.py" for name in ("good", *_FAULTS))),
            )

        bad, good = planned(tuple(_FAULTS)), planned(("good",), len(_FAULTS) + 1)
        mixed = [cell for cell in chain.from_iterable(zip_longest(good, bad)) if cell is not None]
        stores = []
        for name, cells in (("faulty", mixed), ("clean", good)):
            stores.append(Store(folder / name, report=lambda sentence: None))
            stores[-1].start(_RUN, sweep(("good",)).to_toml())
            todo = Todo(cached=(), skipped=(), to_run=tuple(cells))
            engine = LocalEngine(1, timeout_seconds=_TIMEOUT_SECONDS)
            run_sweep(sweep(("good",)), todo, stores[-1], _RUN, engine, _Listener())
        cards = stores[0].load(_RUN).cards.values()
        kept.append(
            Swept(
                faulty=stores[0],
                clean=stores[1],
                bad={card.cell.method: card for card in cards if card.cell.method != "good"},
                good=good,
            )
        )
    return kept[0]


def answers(store: Store, cell: Cell) -> pd.DataFrame:
    return pd.read_parquet(store.cell_folder(_RUN, cell) / "answers.parquet")


def test_every_bad_editor_has_a_row() -> None:
    assert set(_FAULTS) == {path.stem for path in _PLUGINS.glob("*.py")} - {"good"}


@pytest.mark.parametrize("name", list(_FAULTS))
def test_a_bad_editor_gets_its_status_with_the_reason(name: str, swept: Swept) -> None:
    card, expected = swept.bad[name], _FAULTS[name]

    failure = card.failure
    told = "; ".join([failure.message if failure else "", *card.notes])
    assert (card.status, failure.phase if failure else "") == (expected.status, expected.phase), told
    assert expected.said in told
    assert (failure is None) == (expected.status is Status.DONE)
    if failure is not None:
        assert expected.trace in failure.traceback
        assert bool(failure.traceback) == bool(expected.trace)


@pytest.mark.parametrize("name", list(_FAULTS))
def test_the_cell_after_a_bad_one_is_what_it_is_without_it(name: str, swept: Swept) -> None:
    after = swept.good[list(_FAULTS).index(name) + 1]

    found, expected = answers(swept.faulty, after), answers(swept.clean, after)

    assert len(expected.query("phase == 'edited'")) > 0
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_good_cells_of_other_seeds_differ_so_that_a_shared_random_state_would_show(swept: Swept) -> None:
    first, second = (answers(swept.clean, cell) for cell in swept.good[:2])

    assert not first["log_prob"].equals(second["log_prob"])


def test_an_editor_that_writes_and_then_fails_is_found_out_all_the_same(swept: Swept) -> None:
    assert "it has also changed the model's own weights" in swept.bad["writes_then_raises"].notes
