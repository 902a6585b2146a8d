"""What is importable where: in a checkout, in an editable install, from the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("methods", "datasets")
_CACHES = ("__pycache__", ".pyc")

# Loads every plug-in through the registry and says which file each of their modules came from.
_LOAD_PLUGINS = """
import json, sys
from pathlib import Path
import bench.registry
for kind in ("methods", "datasets"):
    for name, plugin in bench.registry.plugins(kind).items():
        if plugin.origin == "built in":
            bench.registry.load(kind, name)
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
own = ("bench.methods.", "bench.datasets.", "methods.", "bench.bench")
stems = {path.name for kind in ("methods", "datasets") for path in (Path(sys.argv[1]) / kind).glob("*.py")}
print(json.dumps({n: f for n, f in files.items() if n.startswith(own) or f.startswith(sys.argv[1] + "/methods")
    or f.startswith(sys.argv[1] + "/datasets") or ("/bench/" in f and Path(f).name in stems)}))
"""


def python(code: str, *args: object, cwd: Path, path: str | None = None) -> str:
    """Run code in a child process and give what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    if path is not None:
        environment["PYTHONPATH"] = path
    command = [sys.executable, "-c", code, *map(str, args)]
    child = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


def plugin_files() -> list[str]:
    """Paths below the repository root of all that belongs to the plug-ins."""
    found = [path for kind in KINDS for path in (ROOT / kind).rglob("*") if path.is_file()]
    return [str(path.relative_to(ROOT)) for path in found if not any(part in str(path) for part in _CACHES)]


def embedded_files() -> list[str]:
    embedded = ROOT / "bench" / "models" / "embedded"
    return [str(path.relative_to(ROOT)) for path in embedded.rglob("*") if path.is_file()]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel: those of `tox -e package`, or built here."""
    if "EDITBENCH_DIST" in os.environ:
        return Path(os.environ["EDITBENCH_DIST"])
    pytest.importorskip("build", reason="needs the packages build and hatchling")
    pytest.importorskip("hatchling", reason="needs the packages build and hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh virtual environment that has the wheel.

    What the wheel depends on comes from the environment that runs the tests, by a .pth file, so that torch is not
    unpacked again. `--system-site-packages` would not do: it gives the packages of the interpreter below a virtual
    environment, not those of that environment. The fresh one's own folder comes first on the path, so its `bench`
    is the one imported; test_wheel_is_what_is_imported checks that.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(ours), encoding="utf-8")
    return interpreter.parent


def run(command: list[str], cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    child = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_plugin_folders_are_no_packages(kind: str) -> None:
    assert not (ROOT / kind / "__init__.py").exists()


@pytest.mark.slow
def test_datasets_at_the_root_is_the_hugging_face_library() -> None:
    out = python("import datasets; print(datasets.__file__, callable(datasets.load_dataset))", cwd=ROOT)

    file, is_callable = out.split()
    assert is_callable == "True"
    assert not Path(file).is_relative_to(ROOT / "datasets")


@pytest.mark.slow
def test_checkout_loads_each_plugin_once() -> None:
    # The root comes first on sys.path, as it does for `python -m bench.cli` and for scripts there.
    loaded = json.loads(python(_LOAD_PLUGINS, ROOT, cwd=ROOT))

    assert_loaded_once_from_the_checkout(loaded)


@pytest.mark.slow
def test_editable_install_loads_each_plugin_once_from_the_checkout(tmp_path: Path) -> None:
    site = editable_install(tmp_path)
    assert (site / "bench" / "methods").is_dir(), "there are no copies any more: this test can be simpler"

    first = "import site, sys; before = list(sys.path); site.addsitedir(sys.argv[2]); "
    order = "sys.path[:] = [p for p in sys.path if p not in before] + before\n"
    loaded = json.loads(python(first + order + _LOAD_PLUGINS, ROOT, site, cwd=tmp_path))

    assert_loaded_once_from_the_checkout(loaded)


def editable_install(folder: Path) -> Path:
    """Unpack what an editable install puts into site-packages."""
    pytest.importorskip("hatchling")
    code = "import sys, hatchling.build; print(hatchling.build.build_editable(sys.argv[1]))"
    name = python(code, folder, cwd=ROOT).split()[-1]
    with zipfile.ZipFile(folder / name) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def assert_loaded_once_from_the_checkout(loaded: Mapping[str, str]) -> None:
    expected = {
        f"bench.{kind}.{path.stem}": str(path)
        for kind in KINDS
        for path in (ROOT / kind).glob("*.py")
        if not path.stem.startswith("_")
    }
    assert expected
    assert {name: loaded.get(name) for name in expected} == expected
    files = [file for file in loaded.values() if file]
    assert len(files) == len(set(files))
    assert [file for file in files if "site-packages" in file or "/site/" in file] == []


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "bench" in tops
    assert [name for name in names if any(part in name for part in _CACHES)] == []
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_wheel_holds_plugins_and_embedded_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {f"bench/{file}" for file in plugin_files()} - names == set()
    assert set(embedded_files()) - names == set()
    assert any(name.startswith("bench/models/embedded/") and name.endswith(".safetensors") for name in names)
    assert {"bench/py.typed", "bench/methods/none.py"} <= names
    assert "bench/methods/__init__.py" not in names


@pytest.mark.slow
def test_wheel_is_no_larger_than_promised(wheel: Path) -> None:
    assert wheel.stat().st_size <= 55e6


@pytest.mark.slow
def test_sdist_is_complete(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    tops = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "tox.ini", "results/README.md"}
    own = {f"tests/packaging/{Path(__file__).name}", "tests/conftest.py", ".ci/run"}
    tools = {f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py")}
    assert (tops | own | tools | set(plugin_files()) | set(embedded_files())) - names == set()
    assert [name for name in names if any(part in name for part in _CACHES)] == []


@pytest.mark.slow
def test_wheel_is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    code = "import bench, bench.methods; print(bench.__file__, *bench.methods.__path__, sep='\\n')"

    file, *folders = run([str(installed / "python"), "-c", code], tmp_path).split()

    package = Path(file).parent
    assert package.is_relative_to(installed.parent)
    assert folders == [str(package / "methods")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_command_of_the_wheel_lists_the_plugins_in_another_folder(kind: str, installed: Path, tmp_path: Path) -> None:
    out = run([str(installed / "bench"), "list", kind, "--json"], tmp_path)

    names = {path.stem for path in (ROOT / kind).glob("*.py") if not path.stem.startswith("_")}
    assert {row["name"] for row in json.loads(out)} >= names


@pytest.mark.parametrize("arguments", ["--help", "list methods", "list models", "list datasets"])
def test_looking_around_imports_neither_torch_nor_transformers(arguments: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from bench.cli import main\n"
        "sys.argv = ['bench', *sys.argv[1:]]\n"
        "try:\n    code = main()\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print('\\nheavy:', code or 0, *({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    path = str(Path(sys.modules["bench"].__file__ or "").resolve().parent.parent) if "bench" in sys.modules else None

    out = python(code, *arguments.split(), cwd=tmp_path, path=path)

    assert out.splitlines()[-1] == "heavy: 0"
