"""What holds for every test: no network, one thread, and the right `bench`."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
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


_TOY = '''"""Facts about invented places, for tests."""

from collections.abc import Iterator
from dataclasses import replace

from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, Probe, ProbeKind
from bench.testing import tiny_cases


@config
class ToyConfig:
    size: int = 12  # cases of each split
    long: int = 0  # of these, the first that fit into no model


class Toy(Dataset[ToyConfig]):
    name = "toy"
    version = 1
    source = "invented"
    kinds = ("causal", "seq2seq", "classifier")
    Config = ToyConfig

    def cases(self, split: Split) -> Iterator[EditCase]:
        start = {Split.FIT: 0, Split.TUNE: 200, Split.TEST: 400}[split]
        for number, case in enumerate(tiny_cases(self.kind, self.config.size, start=start)):
            probes = list(case.probes)
            if self.kind == "causal":
                probes.append(Probe(id="text", kind=ProbeKind.TEXT, prompt="", answer=f"Rain in {split} {number}."))
            if number < self.config.long:
                probes[1] = replace(probes[1], prompt="Babado " * 200 + str(probes[1].prompt))
            yield replace(case, probes=tuple(probes))

    def texts(self, split: Split) -> Iterator[str]:
        yield f"It rained in {split}."

    def digest(self) -> str:
        return f"toy-{self.kind}-{self.config}"
'''

_EDITOR = '''"""An editor that a test made up."""

import os
import signal
import time

import torch

from bench.editing.config import config
from bench.editing.edit import Dense, LowRank, ModuleEdit, PromptEdit, State, WeightEdit
from bench.editing.editor import Editor
from bench.errors import EditError


@config
class MadeUpConfig:
    size: float = 1.0


class MadeUp(Editor[MadeUpConfig]):
    name = "{name}"
    version = 1
    source = "a test"
    kinds = ("causal", "seq2seq", "classifier")
    Config = MadeUpConfig

'''


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny saved model of a kind."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        from bench.testing import tiny_model

        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("models") / f"tiny-{kind}"
            lm = tiny_model(kind)
            lm.model.save_pretrained(folders[kind])
            lm.tokenizer.save_pretrained(folders[kind])
        return folders[kind]

    return folder


@pytest.fixture
def plain_registry() -> Iterator[None]:
    """Forget, after the test, the plug-in files that it named."""
    from bench import registry

    before = {kind: dict(files) for kind, files in registry._added.items()}
    yield
    registry._added.clear()
    registry._added.update(before)
    for name in [name for name in sys.modules if name.startswith("bench_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def toy(tmp_path: Path, plain_registry: None) -> Path:
    """Give the file of a small dataset called `toy`."""
    path = tmp_path / "toy.py"
    path.write_text(_TOY, encoding="utf-8")
    return path


@pytest.fixture
def editor_file(tmp_path: Path, plain_registry: None) -> Callable[[str, str], Path]:
    """Write an editor's file from its name and the source of its methods."""

    def write(name: str, methods: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(_EDITOR.format(name=name) + textwrap.indent(textwrap.dedent(methods), "    "), encoding="utf-8")
        return path

    return write
