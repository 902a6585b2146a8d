"""Rows of files: how they are split, what is left out, what is wrong, and how much memory that takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from bench.datasets import _rows, facts
from bench.datasets._entries import Entry, read_entries
from bench.datasets._rows import Row, Rows
from bench.editing.dataset import Split
from bench.errors import DataError

Write = Callable[[str, Sequence[Mapping[str, object]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write JSON Lines and give the path."""

    def make(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return make


def _read(entry: Entry) -> Row:
    return Row(
        id=entry.name("id"),
        where=entry.where,
        group=entry.text("group"),
        prompt=entry.text("prompt") if "prompt" in entry else f"prompt {entry.name('id')}",
        target="x",
        is_named="anonymous" not in entry,
    )


def _ids(rows: Rows, split: Split) -> list[str]:
    return [row.id for row in rows.of(split)]


def _made(count: int, subjects: int) -> list[dict[str, object]]:
    return [{"id": number, "group": f"subject {number % subjects}"} for number in range(count)]


def test_a_file_is_split_into_32_8_and_60_in_a_hundred_subjects(write: Write) -> None:
    rows = Rows(write("a.jsonl", _made(4000, 2000)), None, _read, seed=0)

    shares = {split: len(_ids(rows, split)) / 4000 for split in Split}

    # Three standard deviations of 2,000 subjects.
    assert shares[Split.TEST] == pytest.approx(0.32, abs=0.032)
    assert shares[Split.TUNE] == pytest.approx(0.08, abs=0.018)
    assert shares[Split.FIT] == pytest.approx(0.60, abs=0.033)
    assert sum(shares.values()) == 1


def test_no_subject_is_in_two_splits(write: Write) -> None:
    rows = Rows(write("a.jsonl", _made(400, 60)), None, _read, seed=0)

    groups = {split: {row.group for row in rows.of(split)} for split in Split}

    assert all(groups.values())
    assert all(a.isdisjoint(b) for a, b in combinations(groups.values(), 2))


def test_of_two_files_the_first_is_the_test_split_and_shared_subjects_are_left_out_of_the_other(write: Write) -> None:
    test = [{"id": f"t{number}", "group": f"subject {number}"} for number in range(50)]
    fit = [{"id": f"f{number}", "group": f"Subject {number}"} for number in range(40, 240)]  # another capital

    rows = Rows(write("a.jsonl", test), write("b.jsonl", fit), _read, seed=0)

    assert sorted(_ids(rows, Split.TEST)) == sorted(f"t{number}" for number in range(50))
    others = {*_ids(rows, Split.FIT), *_ids(rows, Split.TUNE)}
    assert others == {f"f{number}" for number in range(50, 240)}
    assert 5 <= len(_ids(rows, Split.TUNE)) <= 30
    assert rows.left_out() == {"the subject or prompt is in test too": 10}


def test_one_file_is_not_both_tested_and_fitted_on(write: Write) -> None:
    path = write("a.jsonl", _made(9, 9))

    with pytest.raises(DataError, match=r"a\.jsonl is the file to test on and the file to fit on"):
        Rows(path, path.parent / "." / "a.jsonl", _read, seed=0)


def test_a_prompt_of_two_subjects_is_in_one_split(write: Write) -> None:
    lines = [{"id": number, "group": f"subject {number}", "prompt": f"prompt {number % 20}"} for number in range(200)]
    rows = Rows(write("a.jsonl", lines), None, _read, seed=0)

    prompts = {split: {row.prompt for row in rows.of(split)} for split in Split}

    assert all(a.isdisjoint(b) for a, b in combinations(prompts.values(), 2))
    assert sum(rows.left_out().values()) == 200 - sum(len(_ids(rows, split)) for split in Split) > 0


def test_the_seed_changes_the_order_and_not_the_splits(write: Write) -> None:
    path = write("a.jsonl", _made(300, 300))
    first, second, other = (Rows(path, None, _read, seed=seed) for seed in (0, 0, 1))

    assert _ids(first, Split.TEST) == _ids(second, Split.TEST)
    assert _ids(first, Split.TEST) != _ids(other, Split.TEST) != sorted(_ids(first, Split.TEST), key=int)
    assert sorted(_ids(first, Split.TEST)) == sorted(_ids(other, Split.TEST))


def test_a_window_is_shuffled_at_a_time(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rows, "WINDOW", 10)
    rows = Rows(write("a.jsonl", _made(100, 100)), write("b.jsonl", [{"id": "f", "group": "f"}]), _read, seed=0)

    found = [int(id) for id in _ids(rows, Split.TEST)]

    assert [sorted(found[start : start + 10]) for start in range(0, 100, 10)] == [
        list(range(start, start + 10)) for start in range(0, 100, 10)
    ]
    assert found != sorted(found)


def test_an_id_that_stands_twice_is_named_with_both_places(write: Write) -> None:
    lines = [*_made(30, 30), {"id": 7, "group": "another"}]

    with pytest.raises(DataError, match=r"a\.jsonl, line 31: the id '7' is that of .*a\.jsonl, line 8 already"):
        Rows(write("a.jsonl", lines), None, _read, seed=0)


def test_an_id_of_both_files_is_named_with_both_places(write: Write) -> None:
    with pytest.raises(DataError, match=r"b\.jsonl, line 3: the id '2' is that of .*a\.jsonl, line 3 already"):
        Rows(
            write("a.jsonl", _made(3, 3)),
            write("b.jsonl", [{"id": 8, "group": "8"}, {"id": 9, "group": "9"}, {"id": 2, "group": "new"}]),
            _read,
            seed=0,
        )


def test_a_request_that_stands_twice_without_an_id_of_its_own_counts_once(write: Write) -> None:
    lines = [{"id": number % 20, "group": f"subject {number % 20}", "anonymous": True} for number in range(30)]
    rows = Rows(write("a.jsonl", lines), None, _read, seed=0)

    assert sum(len(_ids(rows, split)) for split in Split) == 20
    assert rows.left_out() == {"the file has the same request already": 10}


def test_what_is_left_out_is_counted_on_the_way_through_a_split(write: Write) -> None:
    opened: list[Path] = []

    def entries(path: Path) -> Iterator[Entry]:
        opened.append(path)
        return read_entries(path)

    lines = [{"id": number, "group": f"subject {number}", "prompt": f"prompt {number % 20}"} for number in range(200)]
    path = write("a.jsonl", lines)
    asked_first, gone_through = (Rows(path, None, _read, seed=0, entries=entries) for _ in range(2))
    next(gone_through.of(Split.TEST))  # and no further
    list(gone_through.of(Split.TUNE))
    opened.clear()

    counted = gone_through.left_out()

    assert opened == []
    assert counted == asked_first.left_out()
    assert opened == [path]


SCRIPT = """
import resource, sys
from pathlib import Path
from bench.datasets.jsonl import Jsonl, JsonlConfig
from bench.editing.dataset import Split, check_splits
from bench.models.kind import ModelKind
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = Jsonl(JsonlConfig(path=sys.argv[1]), ModelKind.CAUSAL)
check_splits(made)
count = sum(1 for split in Split for _ in made.cases(split))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_hundred_thousand_cases_take_a_few_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(100_000):
            probe = {
                "kind": "locality",
                "prompt": f"The neighbour of place {number} is",
                "answer": f"place {number + 1}",
            }
            line = {"id": number, "prompt": f"The mayor of place {number} is", "target": f"name {number % 977}"}
            file.write(json.dumps({**line, "subject": f"place {number}", "probes": [probe] * 3}) + "\n")

    root = Path(facts.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={"PYTHONPATH": str(root if (root / "bench").is_dir() else "")},
        capture_output=True,
        text=True,
        check=True,
    )

    count, grown_mib = map(int, done.stdout.split())
    assert count == 100_000
    assert path.stat().st_size > 35 << 20
    assert grown_mib < 80  # the cases of all splits as objects are more than 300
