"""Makes tests/golden/mend_golden.json, the numbers that MEND is tested against, from the arrays of a reference run.

The arrays were written by the reference's own classes (eric-mitchell/mend at e04fdb9, torch 2.13 on a CPU, float32)
on seeded random data: editors, losses, the KE gate and the sampler. Each becomes `{"shape": [...], "values": [...]}`
with 9 significant digits, which give float32 back bit for bit; those in float64 keep 17.

    python tools/make_golden.py mend_golden.npz tests/golden/mend_golden.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(source: Path, target: Path) -> None:
    """Convert every array; the file has one line an array, so that a change of one shows as one line."""
    with np.load(source) as arrays:
        lines = [f"{json.dumps(name)}: {json.dumps(_plain(arrays[name]))}" for name in sorted(arrays.files)]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} arrays, {target.stat().st_size:,} bytes: {target}")


def _plain(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    values: list[float | int]
    if array.dtype.kind == "f":
        digits = 9 if array.dtype == np.float32 else 17
        values = [float(f"{value:.{digits}g}") for value in array.ravel()]
        assert np.array_equal(np.array(values, dtype=array.dtype), array.ravel())
    else:
        values = array.ravel().tolist()
    return {"shape": list(array.shape), "values": values}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
