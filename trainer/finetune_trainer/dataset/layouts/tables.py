"""Reads lists in the forms in which people have them: CSV, TSV, JSON and JSON Lines."""

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture

DELIMITERS = ",;\t|"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
"""Endings of files that may be lists."""
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""The byte order marks, by which programs of Windows name the encoding."""

TITLE = 10
"""The most lines of a title above the header of a list."""
_END = "end of the list"
Row = tuple[int, list[str]]
"""The number of a row in its file, from 1, and its fields."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A file of rows; they are read anew each time, for there may be millions."""

    path: Path
    rows: Callable[[], Iterator[Row]]
    """Yields all rows, those of CSV with the header; raises InvalidData for a damaged row."""
    keys: tuple[str, ...] = ()
    """The names of the columns, where the rows have no header: in JSON."""
    problem: TrainerError | None = None
    """The reason why the file must not be used as a list, though it can be looked at."""

    @property
    def name(self) -> str:
        """The name of the file, for messages."""
        return self.path.name


def open_table(path: Path) -> Table:
    """Open a list, in any encoding that its first bytes or its content tell.

    A file in no such encoding is opened as Latin-1, with `problem` set: so it is still seen whether
    it names the photos. Raises InvalidData for a file that is no list at all.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    problem = None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = _not_unicode(path, f"byte {data[error.start]:#x} in line {line}")
        text = data.decode("latin-1")
    if "\0" in text[:1000]:
        raise _not_unicode(path, "it has zero bytes")
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _of_objects(path, _parsed_lines(path, text), problem)
    if path.suffix.lower() == ".json":
        return _of_objects(path, _objects(path, text), problem)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _of_lines(path, lines, problem)


def _of_lines(path: Path, lines: list[str], problem: TrainerError | None) -> Table:
    first, delimiter = 0, "\t" if path.suffix.lower() == ".tsv" else ""
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == 5:
        first, delimiter = 1, lines[0][4]  # a line that Excel takes as the separator
    header = lines[first] if len(lines) > first else ""
    if path.suffix.lower() != ".txt":  # a title may stand above
        header = next((line for line in lines[first : first + TITLE] if _delimited(line)), header)
    delimiter = delimiter or max(DELIMITERS, key=header.count)
    if delimiter not in header and (path.suffix.lower() == ".txt" or " " in header):
        return Table(path, lambda: _by_last_space(lines), problem=problem)

    def rows() -> Iterator[Row]:
        for number, row in _fields(lines[first:], delimiter, file=path.name):
            if any(row):
                yield number + first, row

    return Table(path, rows, problem=problem)


def _delimited(line: str) -> bool:
    return any(each in line for each in DELIMITERS)


def _by_last_space(lines: list[str]) -> Iterator[Row]:
    """Yield the rows of a list as Caffe has them: PATH LABEL."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            path, label = _path_and_label(line.strip())
            yield number, [path, label] if path else [label]


def _path_and_label(line: str) -> tuple[str, str]:
    """Divide a line at its last space, or behind the picture if words follow: golden retriever."""
    words = line.split(" ")
    for count in range(1, len(words) - 1):
        if is_picture(" ".join(words[:count])) and not any(map(_is_number, words[count:])):
            return " ".join(words[:count]), " ".join(words[count:])
    path, _, label = line.rpartition(" ")
    return path, label


def _is_number(word: str) -> bool:
    return word.lstrip("+-").replace(".", "").isdigit()


def _fields(lines: list[str], delimiter: str, *, file: str) -> Iterator[Row]:
    """Yield each row with the line in which it begins.

    Raises InvalidData if a quotation mark is not closed.
    """
    ended = (f"{line}\n" for line in chain(lines, [_END]))  # so that line breaks in fields are kept
    rows, line, first = csv.reader(ended, delimiter=delimiter), 1, 1
    try:
        for row in rows:
            if row == [_END]:
                return
            yield line, row
            first, line = line, rows.line_num + 1
    except csv.Error as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{file}, row {line} is not CSV: {error}",
            "Correct the row; a list needs a path and a label in each.",
        ) from error
    raise TrainerError(
        ExitCode.InvalidData,
        f"{file}, row {first} has a quotation mark that is not closed: all rows below are in it",
        "Close the quotation mark, or remove it.",
    )


def _objects(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the objects of a JSON file: of an array of them, or of {PATH: LABEL, ...}."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_json(path, str(error)) from error
    if isinstance(content, dict) and all(isinstance(v, (str, int)) for v in content.values()):
        content = [{"path": name, "label": value} for name, value in content.items()]
    if not isinstance(content, list):
        raise _not_json(path, "it is neither an array of objects nor an object of labels")
    yield from enumerate(content, 1)


def _parsed_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(path, f"line {number}: {error}") from error


def _of_objects(
    path: Path, objects: Iterator[tuple[int, Any]], problem: TrainerError | None
) -> Table:
    kept = list(objects)
    if not kept or not all(isinstance(each, dict) for _, each in kept):
        raise _not_json(path, "it is no list of objects with a path and a label each")
    keys = tuple(dict.fromkeys(key for _, each in kept for key in each))

    def rows() -> Iterator[Row]:
        for number, each in kept:
            yield number, [_text(each.get(key)) for key in keys]

    return Table(path, rows, keys, problem)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _not_json(path: Path, reason: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{path.name} is no list that can be read: {reason}",
        "Write one object with a path and a label for each photo, or save the list as CSV.",
    )


def _not_unicode(path: Path, reason: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{path.name} is not UTF-8: {reason}",
        "Save it as UTF-8 (in Excel: CSV UTF-8).",
    )
