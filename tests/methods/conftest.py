from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="package")
def golden() -> dict[str, Tensor]:
    """The numbers of the reference's own classes, by name; see tools/make_golden.py."""
    path = Path(__file__).parent.parent / "golden" / "mend_golden.json"
    arrays = json.loads(path.read_text(encoding="utf-8"))
    return {name: torch.tensor(array["values"]).reshape(array["shape"]) for name, array in arrays.items()}
