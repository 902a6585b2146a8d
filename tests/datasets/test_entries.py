"""Entries of data files: each knows its line, and what can not be read is told with file and line."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.datasets._entries import Entry, read_entries, text_lines, whole
from bench.errors import DataError

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and give its path."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def _lines(path: Path) -> list[tuple[str, object]]:
    return [(entry.where.rpartition(", ")[2], dict(entry.values)) for entry in read_entries(path)]


LINES = '{"a": 1}\n\n{"a": "zwei\\u00e9"}\n'
ARRAY = '[\n {"a": 1},\n\n {"a":\n  "zwei\\u00e9"}\n]\n'


@pytest.mark.parametrize(
    ("name", "content", "second"),
    [
        ("x.jsonl", LINES, "line 3"),
        ("x.json", ARRAY, "line 4"),
        ("bom.jsonl", b"\xef\xbb\xbf" + LINES.encode(), "line 3"),
        ("bom.json", b"\xef\xbb\xbf" + ARRAY.encode(), "line 4"),
        ("x.jsonl.gz", gzip.compress(LINES.encode()), "line 3"),
        ("x.json.gz", gzip.compress(ARRAY.encode()), "line 4"),
        ("one.json", '[{"a": 1}, {"a": "zweié"}]', "line 1"),
    ],
)
def test_lines_and_arrays_give_the_same_entries(write: Write, name: str, content: str | bytes, second: str) -> None:
    (_, first), (where, last) = _lines(write(name, content))

    assert (first, where, last) == ({"a": 1}, second, {"a": "zweié"})


def test_an_array_longer_than_a_piece_is_read_whole_with_its_line_numbers(write: Write) -> None:
    rows = [{"text": "ä" * (number % 700), "number": number} for number in range(5000)]
    path = write("long.json", "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")

    found = list(read_entries(path))

    assert path.stat().st_size > 3 << 20
    assert [dict(entry.values) for entry in found] == rows
    assert found[4321].where.endswith(", line 4323")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": "ohne', "line 2: this is no JSON: Unterminated string. The file is cut off here"),
        ('{"a": 1}\n{"a": 1', "line 2: .* The file is cut off here"),
        ('{"a": 1}\n{"a" 1}', "line 2: this is no JSON: Expecting ':' delimiter.$"),
        ('{"a": 1}\n\n[1, 2]', r"line 3: an object is expected, not \[1, 2\]"),
        ("", "holds no entry: it is empty"),
        ("\n \n", "holds no entry: it is empty"),
        ("[]", "holds no entry: it is empty"),
        ('[{"a": 1},\n {"a": 2', "line 2: this is no JSON: .* The file is cut off"),
        ('[{"a": 1},\n {"a": "zw', "line 2: this is no JSON: Unterminated string. The file is cut off"),
        ('[{"a": 1},\n {"a": 2}\n', "line 3: the list is never closed. The file is cut off"),
        ('[{"a": 1},\n {"a": 2},\n\n', "line 4: the list is never closed. The file is cut off"),
        ('[{"a": 1},\n {"a": 2}\n {"a": 3}]', "line 3: ',' is expected here, not '{\"a\": 3}]'"),
        ('[{"a": 1},\n {"a": 2,\n  b}]', "line 3: this is no JSON: Expecting property name .*[^f].$"),
        ('[{"a": 1},\n 7]', "line 2: an object is expected, not 7"),
        ('[{"a": 1}]\n\n[{"a": 2}]', r"line 3: the list has ended, and '\[\{\"a\": 2\}\]' stands behind it"),
        ('{"a": 1}\n{"a": ' + "9" * 5000 + "}", r"line 2: this can not be read: Exceeds the limit \(4300 digits\)"),
        ('{"a": 1}\n{"a": ' + "[" * 100_000, "line 2: this can not be read: maximum recursion depth exceeded"),
        ("[\n" + '{"a":' * 100_000, "line 2: this can not be read: maximum recursion depth exceeded"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(write: Write, content: str, message: str) -> None:
    path = write("wrong.json", content)

    with pytest.raises(DataError, match=message) as raised:
        list(read_entries(path))

    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", [b'{"a": 1}\n{"a": 2}\n{"a": "\xff"}', b'[{"a": 1},\n{"a": 2},\n{"a": "\xff"}]'])
def test_what_is_no_utf8_is_told_with_its_line(write: Write, content: bytes) -> None:
    with pytest.raises(DataError, match=r"latin\.json, line 3: this is no UTF-8"):
        list(read_entries(write("latin.json", content)))


def test_a_gzip_file_that_is_cut_off_is_named(write: Write) -> None:
    whole_file = gzip.compress(("\n".join(f'{{"a": {number}}}' for number in range(3000))).encode())

    with pytest.raises(DataError, match=r"cut\.jsonl\.gz: .*The file is cut off; get it again"):
        list(read_entries(write("cut.jsonl.gz", whole_file[:-40])))


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20], ids=["no", "damaged"]
)
def test_what_is_no_gzip_file_is_named(write: Write, content: bytes) -> None:
    with pytest.raises(DataError, match=r"no\.jsonl\.gz: .*The file is no gzip file, or a damaged one; get it again"):
        list(read_entries(write("no.jsonl.gz", content)))


@pytest.mark.parametrize("value", ['"x\\ud800"', '["y", "x\\ud800"]'])
def test_half_a_character_is_refused(write: Write, value: str) -> None:
    (entry,) = read_entries(write("half.jsonl", f'{{"a": {value}}}'))

    with pytest.raises(DataError, match=r"half\.jsonl, line 1: the field 'a' holds half a character, '\\ud800'"):
        entry.texts("a") if value.startswith("[") else entry.text("a")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_tables_stream_through_the_datasets_library(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table [1].{suffix}"  # brackets, which the library takes for a pattern
    if suffix == "parquet":
        pq.write_table(pa.table({"question": ["who", "where"], "answer": [["a"], ["b", "c"]]}), path)
    else:
        path.write_text("question,answer\nwho,a\nwhere,b\n", encoding="utf-8")

    found = list(read_entries(path))

    assert [entry.where for entry in found] == [f"{path}, row 1", f"{path}, row 2"]
    assert found[1].values == {"question": "where", "answer": ["b", "c"] if suffix == "parquet" else "b"}


def test_a_table_that_is_none_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"no\.parquet: the datasets library can not read it as parquet"):
        list(read_entries(write("no.parquet", "nothing of the kind")))


def test_an_entry_says_what_is_missing_and_what_is_there() -> None:
    entry = Entry("f, line 3", {"a": 1, "b": "x", "c": ["y", 2], "d": {"e": None}, "f": True})

    for call, message in [
        (lambda: entry.text("z"), "f, line 3: the field 'z' is missing; there are a, b, c, d, f."),
        (lambda: entry.text("a"), "f, line 3: the field 'a' must be a text, not 1."),
        (lambda: entry.texts("b"), "f, line 3: the field 'b' must be a list of texts, not \"x\"."),
        (lambda: entry.texts("c"), "f, line 3: the field 'c' must be a list of texts, and holds 2."),
        (lambda: entry.numbers("c"), "f, line 3: the field 'c' must be a list of whole numbers, and holds \"y\"."),
        (lambda: entry.name("f"), "f, line 3: the field 'f' must be a name or a whole number, not true."),
        (lambda: entry.parts("c"), "f, line 3: the field 'c' must be a list of objects, and holds \"y\"."),
        (lambda: entry.part("d").text("e"), "f, line 3: the field 'e' must be a text, not null."),
        (lambda: entry.only(("a", "b", "c", "d")), "f, line 3: there is no field 'f', only a, b, c, d."),
        (
            lambda: Entry("g", {"taget": 1}).only(("prompt", "target")),
            "g: there is no field 'taget', only prompt, target. Did you mean 'target'?",
        ),
    ]:
        with pytest.raises(DataError) as raised:
            call()

        assert str(raised.value) == message


def test_the_lines_of_a_text_keep_their_own_white_space(write: Write) -> None:
    found = list(text_lines(write("x.txt", " = a = \r\n\n b\u2028c\n")))

    assert found == [(1, " = a = "), (2, ""), (3, " b\u2028c")]


def test_one_object_over_several_lines_is_read_whole(write: Write) -> None:
    assert whole(write("x.json", '{"a":\n [1]}')).values == {"a": [1]}
    with pytest.raises(DataError, match=r"y\.json, line 2: this is no JSON: .* cut off here"):
        whole(write("y.json", '{"a":\n [1,'))


@pytest.mark.parametrize("separator", ["\n", ","])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "large.json"
    row = json.dumps({"text": "x" * 200})
    with path.open("w") as file:
        file.write("[" + row if separator == "," else row)
        for _ in range(60_000):
            file.write(separator + row)
        file.write("]" if separator == "," else "")

    tracemalloc.start()
    for _ in islice(read_entries(path), 50_000):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert path.stat().st_size > 12 << 20
    assert peak < 8 << 20
