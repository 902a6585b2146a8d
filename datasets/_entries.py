"""The entries of a data file, one at a time, each knowing the file and line that it stands in.

JSON is read here, in pieces of a megabyte: the JSON reader of the `datasets` library takes an array whole and names no
line where one is wrong. Parquet, Arrow and CSV files stream through that library.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from bench.errors import DataError, nearest

__all__ = ["Entry", "read_entries", "text_lines", "whole"]

_PIECE = 1 << 20  # bytes read at once
_LONGEST = 1 << 26  # characters of one entry; what is longer is not one entry but a file that never closes a bracket
_TABLES = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv"}
_SPACE = " \t\r\n"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a file, or one inside of it.

    Args:
        where: file and line, for messages.
        values: its fields.
    """

    where: str
    values: Mapping[str, object]

    def __contains__(self, field: str) -> bool:
        return field in self.values

    def text(self, field: str) -> str:
        """Give a field that must be a text; it may be empty."""
        return self._sound(field, self._typed(field, str, "a text"))

    def name(self, field: str) -> str:
        """Give a field that must be a text or a whole number, as a text that is not empty."""
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise self.wrong(f"the field {field!r} must be a name or a whole number, not {_shown(value)}")
        return self._sound(field, str(value))

    def texts(self, field: str) -> tuple[str, ...]:
        """Give a field that must be a list of texts."""
        values = self._typed(field, list, "a list of texts")
        for value in values:
            if not isinstance(value, str):
                raise self.wrong(f"the field {field!r} must be a list of texts, and holds {_shown(value)}")
            self._sound(field, value)
        return tuple(values)

    def numbers(self, field: str) -> tuple[int, ...]:
        """Give a field that must be a list of whole numbers."""
        values = self._typed(field, list, "a list of whole numbers")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int):
                raise self.wrong(f"the field {field!r} must be a list of whole numbers, and holds {_shown(value)}")
        return tuple(values)

    def part(self, field: str) -> Entry:
        """Give a field that must be an object."""
        return Entry(self.where, self._typed(field, dict, "an object"))

    def parts(self, field: str) -> list[Entry]:
        """Give a field that must be a list of objects."""
        values = self._typed(field, list, "a list of objects")
        for value in values:
            if not isinstance(value, dict):
                raise self.wrong(f"the field {field!r} must be a list of objects, and holds {_shown(value)}")
        return [Entry(self.where, value) for value in values]

    def only(self, fields: Sequence[str]) -> None:
        """Refuse fields of any other name."""
        for field in self.values:
            if field not in fields:
                raise self.wrong(f"there is no field {field!r}, only {', '.join(fields)}.{nearest(field, fields)}")

    def wrong(self, reason: str) -> DataError:
        """Give the error to raise about this entry."""
        return DataError(f"{self.where}: {reason.rstrip('.?')}{'?' if reason.endswith('?') else '.'}")

    def _sound(self, field: str, text: str) -> str:
        """Refuse a text with half a character, which JSON can write and no file or tokenizer can hold."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(f"the field {field!r} holds half a character, {text[error.start]!a}") from error
        return text

    def _value(self, field: str) -> object:
        if field not in self.values:
            raise self.wrong(f"the field {field!r} is missing; there are {', '.join(self.values) or 'none'}")
        return self.values[field]

    def _typed(self, field: str, kind: type[T], words: str) -> T:
        value = self._value(field)
        if not isinstance(value, kind):
            raise self.wrong(f"the field {field!r} must be {words}, not {_shown(value)}")
        return value


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a JSON array, JSON Lines (both perhaps gzipped), Parquet, Arrow or CSV file.

    Raises:
        DataError: a part of it can not be read; the message names file and line. It holds no entry.
    """
    found = 0
    for entry in _table(path) if path.suffix in _TABLES else _json(path):
        found += 1
        yield entry
    if not found:
        raise DataError(f"{path} holds no entry: it is empty.")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a text file, perhaps gzipped, without its line break."""
    with _opened(path) as file, _unpacking(path):
        for number, line in enumerate(file, start=1):
            yield number, _decoded(line, path, number).rstrip("\r\n")


def whole(path: Path) -> Entry:
    """Read a file that is one JSON object."""
    lines = [line for _, line in text_lines(path)]
    try:
        value = json.loads("\n".join(lines))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: {_no_json(error)}.{_cut_off(error, lines)}") from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, 1, error) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}, line 1: an object is expected, not {_shown(value)}.")
    return Entry(str(path), value)


def _json(path: Path) -> Iterator[Entry]:
    with _opened(path) as file, _unpacking(path):
        first = file.peek(_PIECE).removeprefix(codecs.BOM_UTF8).lstrip()[:1]  # type: ignore[attr-defined]
    return _array(path) if first == b"[" else _json_lines(path)


def _json_lines(path: Path) -> Iterator[Entry]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: {_no_json(error)}.{_cut_off(error, [line])}") from error
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, number, error) from error
        yield _entry(path, number, value)


def _array(path: Path) -> Iterator[Entry]:
    """Yield the elements of an array, holding one piece of the file and one element at a time."""
    decode = json.JSONDecoder().raw_decode
    text = _Text(path)
    text.skip("[")
    while not text.is_at("]"):
        start = text.line
        while True:
            try:
                value, end = decode(text.held, text.at)
                break
            except json.JSONDecodeError as error:
                if text.is_whole or len(text.held) - text.at > _LONGEST:
                    raise text.wrong(error) from error
                text.more()
            except (ValueError, RecursionError) as error:
                raise _unreadable(path, start, error) from error
        yield _entry(path, start, value)
        text.pass_over(end)
        if not text.is_at("]"):
            text.skip(",")
    text.skip("]")
    text.end()


class _Text:
    """The text of a file, of which a part is held.

    Attributes:
        held: the part.
        at: the place in it that has been come to.
        line: the number of the line there.
        is_whole: nothing is left in the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces = self._read()
        self.held, self.at, self.line, self.is_whole = "", 0, 1, False

    def more(self) -> None:
        """Hold the next piece too, and let go of what has been passed."""
        piece = next(self._pieces, None)
        self.is_whole = piece is None
        self.held, self.at = self.held[self.at :] + (piece or ""), 0

    def pass_over(self, end: int) -> None:
        """Go on to another place of the part."""
        self.line += self.held.count("\n", self.at, end)
        self.at = end

    def is_at(self, mark: str) -> bool:
        """Say whether a mark comes next, after going on over white space."""
        while True:
            end = self.at
            while end < len(self.held) and self.held[end] in _SPACE:
                end += 1
            self.pass_over(end)
            if end < len(self.held):
                return self.held[end] == mark
            if self.is_whole:
                raise DataError(f"{self._path}, line {self.line}: the list is never closed. The file is cut off.")
            self.more()

    def skip(self, mark: str) -> None:
        """Go on over a mark that must come next."""
        if not self.is_at(mark):
            found = self.held[self.at : self.at + 20]
            raise DataError(f"{self._path}, line {self.line}: {mark!r} is expected here, not {found!r}.")
        self.pass_over(self.at + 1)

    def end(self) -> None:
        """Check that nothing but white space is left."""
        while True:
            if rest := self.held[self.at :].strip(_SPACE):
                line = self.line + self.held.count("\n", self.at, self.held.index(rest[0], self.at))
                raise DataError(f"{self._path}, line {line}: the list has ended, and {rest[:20]!r} stands behind it.")
            if self.is_whole:
                return
            self.pass_over(len(self.held))
            self.more()

    def wrong(self, error: json.JSONDecodeError) -> DataError:
        line = self.line + self.held.count("\n", self.at, error.pos)
        hint = "" if self.held[error.pos :].strip(_SPACE) and not _is_open(error) else " The file is cut off."
        return DataError(f"{self._path}, line {line}: {_no_json(error)}.{hint}")

    def _read(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        passed = 1
        with _opened(self._path) as file:
            while True:
                with _unpacking(self._path):
                    piece = file.read(_PIECE)
                try:
                    text = decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    line = passed + error.object[: error.start].count(b"\n")
                    raise _not_utf8(self._path, line) from error
                passed += text.count("\n")
                if not piece:
                    return
                yield text


def _entry(path: Path, line: int, value: object) -> Entry:
    where = f"{path}, line {line}"
    if not isinstance(value, dict):
        raise DataError(f"{where}: an object is expected, not {_shown(value)}.")
    return Entry(where, value)


def _table(path: Path) -> Iterator[Entry]:
    import datasets  # the Hugging Face library: the folder of that name has no __init__.py

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it would say of each error what the error says, too
    try:
        files = glob.escape(str(path.absolute()))
        rows = datasets.load_dataset(_TABLES[path.suffix], data_files=files, split="train", streaming=True)
        for number, row in enumerate(rows, start=1):
            yield Entry(f"{path}, row {number}", cast(Mapping[str, object], row))
    except Exception as error:  # the library raises whatever its many readers do
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path}: the datasets library can not read it as {_TABLES[path.suffix]}: {reason}") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise DataError(f"{path} can not be read: {error.strerror or error}.") from error


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = "is cut off" if isinstance(error, EOFError) else "is no gzip file, or a damaged one"
        raise DataError(f"{path}: {error}. The file {what}; get it again.") from error


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, number) from error


def _not_utf8(path: Path, line: int) -> DataError:
    return DataError(f"{path}, line {line}: this is no UTF-8. Convert the file, as with `iconv -t utf-8`.")


def _no_json(error: json.JSONDecodeError) -> str:
    return f"this is no JSON: {error.msg.removesuffix(' starting at')}"


def _unreadable(path: Path, line: int, error: Exception) -> DataError:
    """Say that something is JSON and yet can not be read: a number of thousands of digits, or brackets in brackets."""
    return DataError(f"{path}, line {line}: this can not be read: {str(error).partition(';')[0]}.")


def _is_open(error: json.JSONDecodeError) -> bool:
    return error.msg.startswith("Unterminated string")


def _cut_off(error: json.JSONDecodeError, lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    return " The file is cut off here." if _is_open(error) or not text[error.pos :].strip() else ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:37]} …"
