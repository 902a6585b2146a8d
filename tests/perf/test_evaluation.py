"""How long a whole evaluation takes on the embedded 3M model, and how much of it is the harness's own."""

from __future__ import annotations

import copy
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest
import torch
from plain import plain_for
from pytest_benchmark.fixture import BenchmarkFixture
from subjects import single_thread
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bench import registry
from bench.editing.config import build_config, config_values
from bench.editing.dataset import Split
from bench.editing.editor import Editor
from bench.editing.request import EditCase, ProbeKind
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import identify_model, load_model
from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.questions import ask
from bench.running.scoring import measure_edited
from bench.running.task import Task
from bench.running.unedited import Unedited
from bench.running.worker import Worker

T = TypeVar("T")
MODEL = "facts-gpt2-3m"
EDITS, AT_ONCE = 100, 32  # as the runner takes them
TWENTY = {"rephrases": 2, "locality_relation": 9, "locality_subject": 4, "locality_distant": 4, "texts": 0}  # + request


def plain_evaluation(editor: Editor[Any], cases: Sequence[EditCase]) -> list[tuple[int, float]]:
    """Edit a copy of the model for each case, and ask it one prompt at a time: right tokens, divergence."""
    lm, edit = editor.lm, plain_for(editor).edit
    found = []
    for case in cases:
        model = copy.deepcopy(lm.model)
        weights: Mapping[str, Tensor] = edit(case.request)
        for name, weight in weights.items():
            model.get_parameter(name).data.copy_(weight)
        for question in ask([case]):
            batch = lm.batch([(question.probe.prompt, question.answer)])
            with torch.no_grad():
                after = model(input_ids=batch.input_ids).logits[0]
                kl = 0.0
                if question.probe.kind is ProbeKind.LOCALITY:
                    p, q = lm.model(input_ids=batch.input_ids).logits[0].log_softmax(1), after.log_softmax(1)
                    kl = float((p.exp() * (p - q)).sum(1)[batch.positions].mean())
            found.append((int((after[batch.positions].argmax(1) == batch.labels).sum()), kl))
    return found


def evaluation(editor: Editor[Any], cases: Sequence[EditCase], unedited: Unedited) -> list[tuple[int, float]]:
    """Edit and score as the runner does."""
    found = []
    for first in range(0, len(cases), AT_ONCE):
        part = cases[first : first + AT_ONCE]
        edits = editor.edit_each([[case.request] for case in part], generators=[torch.Generator() for _ in part])
        asked = ask(part)
        owner = [question.case for question in asked]
        measures = measure_edited(editor.lm, asked, edits, owner, application="factored", unedited=unedited)
        found += [(measure.tokens_correct, measure.kl or 0.0) for measure in measures]
    return found


def mend(lm: LanguageModel) -> Editor[Any]:
    cls: type[Any] = registry.load("methods", "mend")
    config = build_config(cls.Config, {}, owner="mend")
    made: Editor[Any] = cls(lm, config, cls.initial_state(lm, config, torch.Generator().manual_seed(0)))
    return made


def facts(count: int) -> list[EditCase]:
    cls = registry.load("datasets", "facts")
    dataset = cls(build_config(cls.Config, TWENTY, owner="facts"), ModelKind.CAUSAL)
    return [case for case, _ in zip(dataset.cases(Split.TUNE), range(count), strict=False)]


@pytest.mark.perf
def test_an_evaluation_takes_less_than_a_fifth_of_that_of_plain_code(benchmark: BenchmarkFixture) -> None:
    """That is for methods which come upon a model that was asked already; the first one asks it on the way."""
    with single_thread():
        editor, cases = mend(load_model(MODEL)), facts(EDITS)
        few = cases[:AT_ONCE]
        plain_evaluation(editor, few[:4])
        expected, plain_seconds = _timed(lambda: plain_evaluation(editor, few))
        evaluation(editor, few, Unedited(editor.lm))
        unedited = Unedited(editor.lm)

        found, first_seconds = _timed(lambda: evaluation(editor, cases, unedited))
        benchmark.pedantic(evaluation, args=(editor, cases, unedited), rounds=3)
        again, seconds = _timed(lambda: evaluation(editor, cases, unedited))
    assert again == found
    same = [mine[0] == theirs[0] for mine, theirs in zip(found, expected, strict=False)]
    assert sum(same) / len(expected) > 0.999  # sums in another order may turn a tie
    assert [kl for _, kl in found[: len(expected)]] == pytest.approx([kl for _, kl in expected], rel=1e-2, abs=1e-4)
    scale = EDITS / AT_ONCE
    benchmark.extra_info |= {"ratio": scale * plain_seconds / seconds, "first": scale * plain_seconds / first_seconds}
    assert scale * plain_seconds / first_seconds > 3.5
    assert scale * plain_seconds / seconds > 5


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    """Give what an action gives, and the CPU seconds that it took."""
    start = time.process_time()
    return action(), time.process_time() - start


@pytest.mark.perf
def test_the_harness_itself_takes_a_twentieth_of_a_run_at_most() -> None:
    """The share of CPU time outside torch, transformers and the editors' methods, by sampling."""
    with single_thread():
        worker = Worker()
        worker.run(Task(cell=_cell(edits=20, steps=2)))  # start-up: the model, the dataset, lazy imports
        with _Operators():
            outcome, samples = _sampled(lambda: worker.run(Task(cell=_cell())))
    assert outcome.result.status is Status.DONE
    own = Counter({where: count for where, count in samples.items() if _is_ours(where[0])})
    share = own.total() / samples.total()
    print(f"harness: {share:.1%} of {samples.total()} samples")
    for (file, name), count in own.most_common(15):
        print(f"{count / samples.total():7.2%}  {Path(file).name} {name}")
    assert share <= 0.05


def _sampled(action: Callable[[], T]) -> tuple[T, Counter[tuple[str, str]]]:
    """Run something and count in which function it was found, by CPU time."""
    samples: Counter[tuple[str, str]] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        if frame is not None:
            samples[frame.f_code.co_filename, frame.f_code.co_name] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, 0.002, 0.002)
    try:
        return action(), samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class _Operators(TorchFunctionMode):
    """Runs torch's operators in a frame of its own, or `x @ y` would count for the function it stands in."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _is_ours(file: str) -> bool:
    path = Path(file).as_posix()
    return path != Path(__file__).as_posix() and not any(
        part in path for part in ("/torch/", "/transformers/", "/methods/")
    )


def _cell(*, edits: int = 200, steps: int = 300) -> Cell:
    method, dataset, entry = registry.load("methods", "mend"), registry.load("datasets", "facts"), identify_model(MODEL)
    values = config_values(build_config(method.Config, {"steps": steps}, owner="mend"))
    of_dataset = config_values(build_config(dataset.Config, {}, owner="facts"))
    made = dataset(build_config(dataset.Config, {}, owner="facts"), ModelKind.CAUSAL)
    return Cell(
        method="mend",
        method_version=method.version,
        config=values,
        plugin_digest="0",
        model=MODEL,
        model_digest=entry.identity,
        model_kind="causal",
        dataset="facts",
        dataset_digest=made.digest(),
        dataset_config=of_dataset,
        split="tune",
        edits=edits,
        mode="single",
        dtype="fp32",
        application="factored",
        device="cpu",
        threads=1,
        seed=0,
    )
