"""Records and reports are read where there is no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = {
    "bench.records": "aggregate artifacts canonical card cell folder index merging metrics mode parts pulse "
    "result run_data schema spent statistics status store summary toml",
    "bench.reporting": "formats labels load numbers plots style tables",
}


@pytest.mark.parametrize("package", list(MODULES))
def test_importing_everything_imports_no_torch(package: str) -> None:
    imports = "; ".join(f"import {package}.{name}" for name in MODULES[package].split())
    banned = ["torch", "transformers", "matplotlib", "bench.editing", "bench.models"]
    code = f"import sys; {imports}; print([name for name in {banned} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_the_identity_of_a_cell_needs_no_pandas() -> None:
    code = (
        "import sys; import bench.records.cell, bench.records.status, bench.records.toml, bench.records.metrics; "
        "print([name for name in ('pandas', 'pyarrow', 'scipy', 'pydantic') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_the_list_of_modules_is_complete() -> None:
    from pathlib import Path

    import bench.records

    records = Path(str(bench.records.__file__)).parent
    for package, names in MODULES.items():
        folder = records.parent / package.split(".")[1]
        found = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
        found -= {"__init__"}
        assert found == set(names.split())
