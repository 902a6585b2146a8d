"""Plug-ins are found in the tree, in installed packages and in named files, and broken ones stop nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.editing.editor import Editor
from bench.errors import PluginError, UnknownPlugin

GOOD = '''"""Does nothing, from outside."""

from bench.editing.edit import WeightEdit
from bench.editing.editor import ALL_KINDS, Editor


class Outside(Editor):
    name = {name!r}
    version = 3
    source = "a test"
    kinds = {kinds}
    Config = object

    def edit(self, requests, *, memory, generator):
        return WeightEdit(changes={{}})
'''

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _forgets_named_files() -> Iterator[None]:
    kept = {kind: dict(files) for kind, files in registry._added.items()}
    yield
    for kind, files in registry._added.items():
        files.clear()
        files.update(kept[kind])
    for name in [name for name in sys.modules if name.startswith("bench_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(stem: str, text: str | None = None, *, kinds: str = "ALL_KINDS") -> Path:
        path = tmp_path / f"{stem}.py"
        path.write_text(GOOD.format(name=stem, kinds=kinds) if text is None else text, encoding="utf-8")
        return path

    return make


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Give a function that makes an entry point of the group of methods."""
    monkeypatch.syspath_prepend(str(tmp_path))
    entries: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry for entry in entries if entry.group == group])

    def add(name: str, module: str) -> None:
        entries.append(EntryPoint(name=name, value=module, group="bench.methods"))

    return add


def test_every_built_in_plugin_can_be_loaded() -> None:
    for kind in ("methods", "datasets"):
        for name, plugin in registry.plugins(kind).items():
            assert plugin.problem is None
            assert registry.load(kind, name).name == name
            assert plugin.summary.endswith(".")


def test_what_was_read_as_literals_is_what_the_class_says() -> None:
    for name, plugin in registry.plugins("methods").items():
        cls = registry.load("methods", name)
        assert (plugin.version, plugin.source, plugin.kinds) == (cls.version, cls.source, tuple(map(str, cls.kinds)))


def test_a_named_file_is_found_listed_and_loaded(write: Write) -> None:
    path = write("outside", kinds='("causal",)')

    registry.add_file(path)

    plugin = registry.find("methods", "outside")
    assert (plugin.version, plugin.kinds, plugin.origin) == (3, ("causal",), str(path))
    assert plugin.summary == "Does nothing, from outside."
    assert issubclass(registry.load("methods", "outside"), Editor)
    assert "outside" not in registry.plugins("datasets")


def test_the_literals_may_stand_in_one_line(write: Write) -> None:
    text = GOOD.format(name="outside", kinds="ALL_KINDS")
    start, end = text.index("    name ="), text.index("    Config =")
    line = '    name, version, source, kinds = "outside", 3, "a test", ALL_KINDS\n'

    registry.add_file(write("outside", text[:start] + line + text[end:]))

    assert registry.find("methods", "outside").version == 3


def test_the_same_file_can_be_named_twice(write: Write) -> None:
    path = write("outside")

    registry.add_file(path)
    registry.add_file(path)

    assert registry.find("methods", "outside").problem is None


def test_a_named_file_may_not_take_the_name_of_another_plugin(write: Write) -> None:
    taken = next(iter(registry.plugins("methods")))

    with pytest.raises(PluginError, match=f"the name '{taken}' is taken by built in"):
        registry.add_file(write(taken))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no Editor"),
        ("def (:\n", "can not be parsed"),
        (GOOD.format(name="another", kinds="ALL_KINDS"), "defines no Editor with the literals name = 'outside'"),
        (GOOD.format(name="outside", kinds="ALL_KINDS").replace("version = 3", "version = 1 + 2"), "defines no Editor"),
        (GOOD.format(name="outside", kinds="ALL_KINDS").replace("version = 3", "version = '1.0'"), "version"),
        (GOOD.format(name="outside", kinds="7"), "kinds"),
        (GOOD.format(name="outside", kinds="'causal'"), "kinds"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        registry.add_file(write("outside", text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no such file"):
        registry.add_file(tmp_path / "nowhere.py")


def test_a_plugin_that_fails_to_import_stops_only_those_who_ask_for_it(write: Write) -> None:
    registry.add_file(write("outside", "import no_such_module\n" + GOOD.format(name="outside", kinds="ALL_KINDS")))

    assert registry.plugins("methods")["outside"].problem is None
    with pytest.raises(PluginError, match="'outside' fails to import: ModuleNotFoundError: No module named 'no_such"):
        registry.load("methods", "outside")
    assert "bench_plugin_outside" not in sys.modules
    assert registry.load("methods", "none").name == "none"


def test_an_abstract_plugin_is_told_what_it_lacks(write: Write) -> None:
    text = GOOD.format(name="outside", kinds="ALL_KINDS").replace("def edit(", "def edits(")
    registry.add_file(write("outside", text))

    with pytest.raises(PluginError, match="0 concrete Editor classes, not one; it lacks edit"):
        registry.load("methods", "outside")


def test_two_editors_in_one_file_are_refused(write: Write) -> None:
    text = GOOD.format(name="outside", kinds="ALL_KINDS") + "\n\nclass Second(Outside):\n    pass\n"
    registry.add_file(write("outside", text))

    with pytest.raises(PluginError, match="2 concrete Editor classes"):
        registry.load("methods", "outside")


def test_an_unknown_name_gets_the_nearest_and_the_command_that_lists(write: Write) -> None:
    registry.add_file(write("outside"))

    with pytest.raises(
        UnknownPlugin, match=r"no method called 'outsied'; .*Did you mean 'outside'\? `bench list methods`"
    ):
        registry.find("methods", "outsied")


def test_an_installed_plugin_is_found_by_its_entry_point(write: Write, install: Callable[[str, str], None]) -> None:
    write("installed_editor")
    install("installed_editor", "installed_editor")

    assert registry.find("methods", "installed_editor").version == 3
    assert registry.load("methods", "installed_editor").__module__ == "installed_editor"


@pytest.mark.parametrize("module", ["no_such_module_at_all", "no_such_package.inside"])
def test_an_entry_point_to_nothing_is_listed_with_the_reason(install: Callable[[str, str], None], module: str) -> None:
    install("lost", module)

    assert "is not there" in str(registry.plugins("methods")["lost"].problem)
    with pytest.raises(PluginError, match="'lost' can not be used"):
        registry.find("methods", "lost")


def test_an_installed_package_that_fails_to_import_is_listed_with_the_reason(
    tmp_path: Path, install: Callable[[str, str], None]
) -> None:
    (tmp_path / "failing_package").mkdir()
    (tmp_path / "failing_package" / "__init__.py").write_text("raise RuntimeError('on purpose')\n")
    install("inside", "failing_package.inside")

    assert "on purpose" in str(registry.plugins("methods")["inside"].problem)


def test_a_name_taken_twice_keeps_its_first_owner(write: Write, install: Callable[[str, str], None]) -> None:
    taken = next(iter(registry.plugins("methods")))
    (write("elsewhere").parent / "other").mkdir()
    path = write("elsewhere").parent / "other" / f"{taken}.py"
    path.write_text(GOOD.format(name=taken, kinds="ALL_KINDS"))
    (path.parent / "__init__.py").write_text("")
    install(taken, f"other.{taken}")

    found = registry.plugins("methods")

    assert found[taken].origin == "built in"
    assert f"the name '{taken}' is taken by built in" in [plugin.problem for plugin in found.values()]


def test_listing_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import json, sys\n"
        "from bench.registry import plugins\n"
        "names = [*plugins('methods'), *plugins('datasets')]\n"
        "print(json.dumps([names, [m for m in ('torch', 'transformers', 'pandas', 'datasets') if m in sys.modules]]))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    names, imported = json.loads(done.stdout)
    assert {*registry.plugins("methods"), *registry.plugins("datasets")} <= set(names)
    assert imported == []


def test_the_digest_of_a_plugin_follows_its_source(write: Write) -> None:
    path = write("outside")
    registry.add_file(path)
    before = registry.find("methods", "outside").digest

    path.write_text(path.read_text() + "\n# changed\n")

    assert registry.find("methods", "outside").digest != before


def test_the_digest_of_a_plugin_follows_the_private_modules_that_it_imports(write: Write) -> None:
    path = write("outside")
    path.write_text(
        path.read_text().replace(
            "from bench.editing.edit ", "from bench.methods._near import x\nfrom bench.editing.edit "
        )
    )
    near, far, other = (path.parent / name for name in ("_near.py", "_far.py", "_other.py"))
    near.write_text("from bench.methods._far import y\n")
    far.write_text("y = 1\n")
    registry.add_file(path)
    before = registry.find("methods", "outside").digest

    other.write_text("z = 1\n")
    assert registry.find("methods", "outside").digest == before

    far.write_text("y = 2\n")
    assert registry.find("methods", "outside").digest != before
