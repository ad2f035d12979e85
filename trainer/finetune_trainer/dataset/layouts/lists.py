"""The layouts Csv and Lst: reads lists of photos and their classes.

Paths are relative to the list's folder, or else to the source; none may lead out of the source.
"""

import csv
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from finetune_trainer.contract import Csv, Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.layouts.classes import name_of, read_classes
from finetune_trainer.dataset.layouts.found import (
    Found,
    LeftOut,
    Photo,
    Scan,
    is_picture,
    printable,
)
from finetune_trainer.dataset.layouts.splits import splits_of
from finetune_trainer.dataset.lock import LayoutName, SplitName

PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    *("image_name", "img", "img_path", "photo"),
)
LABEL_COLUMNS = ("label", "class", "class_name", "classname", "category", "target", "species")
DELIMITERS = ",;\t|"

_END = "end of the list"
Row = tuple[str, str]
"""A path as it is in the list, and a class."""


def scan_csv(root: Path, spec: Dataset) -> Found:
    """Read the list that `dataset.csv` names, or the ones there are."""
    settings = spec.csv or Csv()
    lists = splits_of(root, ".csv", layout="Csv", named=settings.file)
    splits = {split: _scan(root, path, _csv_rows(path, settings)) for split, path in lists.items()}
    return _found("Csv", lists, splits)


def scan_lst(root: Path, _: Dataset) -> Found:
    """Read im2rec's lists: number, label and path, separated by tabs."""
    lists = splits_of(root, ".lst", layout="Lst")
    rows = {split: list(_lst_rows(path)) for split, path in lists.items()}
    names = read_classes(root) or _folder_names(row for found in rows.values() for row in found)
    splits = {}
    for split, path in lists.items():
        named = [
            (photo, name_of(label, names, where=f"{path.name}: {photo}"))
            for photo, label in rows[split]
        ]
        splits[split] = _scan(root, path, named, numbered=names)
    return _found("Lst", lists, splits)


def has_lst(root: Path) -> bool:
    """Return True if there is a .lst file."""
    return any(root.glob("[!.]*.lst"))


def has_labels(root: Path) -> bool:
    """Return True if there is a CSV whose header names photos and labels, and its photos exist.

    A CSV beside class folders is often a table about their photos, not a list of them.
    """
    for path in sorted(root.glob("[!.]*.csv")):
        try:
            first = next(_csv_rows(path, Csv()), None)
        except TrainerError:
            continue
        if first and _resolve(root, path.parent, first[0]):
            return True
    return False


def _found(
    layout: LayoutName, lists: dict[SplitName, Path], splits: dict[SplitName, Scan]
) -> Found:
    return Found(layout, splits, "the list " + " and ".join(path.name for path in lists.values()))


def _csv_rows(path: Path, spec: Csv) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainerError(
            ExitCode.InvalidData, f"{path.name} is not UTF-8", "Save it as UTF-8."
        ) from error
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(DELIMITERS, key=header.count)
    rows = _fields(lines, delimiter, file=path.name)
    names = [name.strip() for name in next(rows, [])]
    if len(names) == 2 and is_picture(names[0]) and not (spec.path_column or spec.label_column):
        yield names[0], names[1]  # no header: the first line names a photo already
        columns = 0, 1
    else:
        columns = (
            _column(names, spec.path_column, PATH_COLUMNS, field="pathColumn", file=path.name),
            _column(names, spec.label_column, LABEL_COLUMNS, field="labelColumn", file=path.name),
        )
    for number, row in enumerate(rows, 2):
        if not any(row):
            continue
        if len(row) <= max(columns) or not row[columns[0]].strip() or not row[columns[1]].strip():
            raise TrainerError(
                ExitCode.InvalidData,
                f"{path.name}, row {number} lacks a path or a label: {delimiter.join(row)!r:.80}",
                "Complete the row, or remove it.",
            )
        yield row[columns[0]].strip(), row[columns[1]].strip()


def _fields(lines: list[str], delimiter: str, *, file: str) -> Iterator[list[str]]:
    """Yield the fields of each row; raise InvalidData if a quotation mark is not closed."""
    rows, first = csv.reader([*lines, _END], delimiter=delimiter), 1
    try:
        for row in rows:
            if row == [_END]:
                return
            yield row
            last, first = first, rows.line_num + 1
    except csv.Error as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{file}, row {first} is not CSV: {error}",
            "Correct the row; a list needs a path and a label in each.",
        ) from error
    raise TrainerError(
        ExitCode.InvalidData,
        f"{file}, row {last} has a quotation mark that is not closed: all rows below are in it",
        "Close the quotation mark, or remove it.",
    )


def _column(
    names: list[str], wanted: str | None, known: tuple[str, ...], *, field: str, file: str
) -> int:
    if wanted is not None and wanted in names:
        return names.index(wanted)
    lower = [name.lower().replace(" ", "_") for name in names]
    found = [name for name in known if name in lower] if wanted is None else []
    if not found:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{file} has no column {wanted or ' or '.join(known[:4])}; its header is"
            f" {', '.join(names)[:200]!r}",
            f"Name the column in dataset.csv.{field}.",
        )
    return lower.index(found[0])


def _lst_rows(path: Path) -> Iterator[tuple[str, int]]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = [field.strip() for field in line.strip().split("\t")]
            try:
                _, label, name = fields
                value = float(label)
                if value < 0 or value != int(value):
                    raise ValueError
            except (ValueError, OverflowError) as error:
                raise TrainerError(
                    ExitCode.InvalidData,
                    f"{path.name}, line {number} is not NUMBER, LABEL, PATH with tabs between and a"
                    f" whole label from 0: {line.strip()!r:.80}",
                    "Correct the line. A classifier needs one label for each photo.",
                ) from error
            yield name, int(value)


def _folder_names(rows: Iterable[tuple[str, int]]) -> tuple[str, ...] | None:
    """Return the folder of each label if each has one of its own, as in lists of im2rec."""
    folders: dict[int, str] = {}
    for path, label in rows:
        folder = PurePosixPath(path).parent.name
        if folders.setdefault(label, folder) != folder or not folder.isprintable() or not folder:
            return None
    names = tuple(folders.get(label, "") for label in range(len(folders)))
    return names if all(names) and len(set(names)) == len(names) else None


def _scan(
    root: Path, path: Path, rows: Iterable[Row], *, numbered: tuple[str, ...] | None = None
) -> Scan:
    photos: dict[tuple[str, str], Photo] = {}
    left_out = []
    for name, class_name in rows:
        if not class_name.isprintable():
            raise TrainerError(
                ExitCode.InvalidData,
                f"{path.name}: the label {class_name!r} cannot be printed",
                "Change it: it becomes the class's name.",
            )
        found = _resolve(root, path.parent, name)
        if isinstance(found, tuple):
            relative, state = found
            photos[relative, class_name] = Photo(
                relative, class_name, state.st_size, state.st_mtime_ns
            )
        else:
            reason = "no such file" if _is_inside(name) else "leads out of the data set"
            left_out.append(LeftOut(printable(name), "rejected", reason, listed=True))
    names = numbered or read_classes(root) or _in_order({name for _, name in photos})
    ordered = tuple(photos[key] for key in sorted(photos))
    return Scan(root, ordered, names, tuple(sorted(left_out, key=lambda left: left.path)))


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Sort names by code point, and numbers by value: label 10 comes after 9."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _resolve(root: Path, folder: Path, name: str) -> tuple[str, os.stat_result] | None:
    if not _is_inside(name):
        return None
    for base in dict.fromkeys((folder, root)):
        path = base / name
        try:
            state = path.stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(state.st_mode):
            return path.relative_to(root).as_posix(), state
    return None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name
