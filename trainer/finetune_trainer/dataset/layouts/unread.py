"""Files that may hold labels or splits and are not read as lists: what they say beside the names of
photos is compared with the folders.
"""

import bz2
import gzip
import itertools
import lzma
import posixpath
import re
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import BinaryIO, cast

from finetune_trainer.contract import TrainerError
from finetune_trainer.dataset.file_types import is_picture, unreadable_name
from finetune_trainer.dataset.layouts import archives
from finetune_trainer.dataset.layouts.agreement import compare, may_be_classes
from finetune_trainer.dataset.layouts.columns import (
    LABEL_COLUMNS,
    LOOKED_AT,
    Listing,
    has_classes,
    open_listing,
)
from finetune_trainer.dataset.layouts.inspect_list import MOST_LISTS
from finetune_trainer.dataset.layouts.names import same_name
from finetune_trainer.dataset.layouts.source import MOST_BYTES, Source, cells_of
from finetune_trainer.dataset.layouts.tables import SUFFIXES, open_table
from finetune_trainer.dataset.layouts.tree import join

TABLES = (
    *(".xlsx", ".xls", ".ods", ".parquet", ".feather", ".xml", ".pkl", ".yaml", ".yml", ".db"),
    *(".sqlite", ".sqlite3", ".h5", ".mat", ".npz", ".npy", ".rds", ".rda", ".rdata"),
    *(".p", ".pickle", ".arrow", ".docx", ".odt"),
)
"""Files that may hold labels, in forms that are not read, and of which no line is compared."""
HARMLESS = (".log", ".py", ".sh", ".ipynb", ".torrent", ".par2", ".xmp", ".aae", ".pp3", ".thm")
SKIPPED = HARMLESS + tuple(set(archives.OPENED + archives.CLOSED) - {".zip"})
"""Endings of files that are not looked into."""
MOST_TOGETHER = 100
"""The most files of a kind in a folder that are looked at as if they were one."""
FEW_WORDS = 3
"""The most words beside a path, for a number to be a class."""
CLASS_ENDINGS = (".cls", ".txt", ".json", ".label", ".lbl", ".class")
"""Endings of files that lie beside a photo and may have its class and nothing else."""
_PACKED: dict[str, Callable[[str], object]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LINE = re.compile(rb"[\r\n]+|</tr>|\}\s*,\s*(?=\{)", re.IGNORECASE)
_LABELS = re.compile(
    r"(?i:labels?|targets?|annotations?|truth|classes|(?<![^\W_])y[_-]?(train|test)?)$"
)
"""The end of the name of a file with labels."""
_IN_PATH = rb"^\s,;|\"'<>()={}\[\]"
_WORD = re.compile(r"[^\W_]+")


def files_that_say_otherwise(source: Source, used: set[str]) -> Iterator[str]:
    """Yield the files that name most photos, and put them into other classes than the folders do.

    `used` are the photos, and files that are known to be no labels.
    """
    for files in _groups(source, used):
        if files[0].lower().endswith(TABLES):
            if any(map(source.is_named_in, files)):
                yield files[0]
        elif _says_otherwise(source, b"\n".join(_content(source, file) for file in files)):
            yield files[0]


def lists_of_single_classes(source: Source, used: set[str]) -> list[str]:
    """Return the texts that each name the photos of a class, if these are not the folders'.

    `used` are the photos, and files that are known to be no labels.
    """
    files: dict[str, str] = {}
    for file in itertools.chain(*_groups(source, used)):
        if file.lower().endswith(TABLES):
            continue
        for path, _ in _beside_names(source, _content(source, file)):
            if posixpath.dirname(file) == posixpath.dirname(path):
                continue  # it describes its folder
            if files.setdefault(path, file) != file:
                return []  # a photo has one class
    if len(files) < max(4, len(source.sample) / 2) or not _may_be_classes(list(files.items())):
        return []
    same = compare(files.items()).agreement == "same"
    return [] if same else sorted(set(files.values()))


def named_like_labels(source: Source) -> list[str]:
    """Return the files that are named like labels, in forms that are not read."""
    tables = (file for file in source.tree if file.lower().endswith(TABLES))
    return [file for file in tables if _LABELS.search(posixpath.splitext(file)[0])]


def sidecar_that_says_otherwise(source: Source) -> str | None:
    """Return one of the files beside the photos that have each its class, if not the folders'.

    Files of more than a few words are not looked at: they describe their photo.
    """
    beside: dict[str, dict[str, str]] = {}
    for path in source.sampled:
        folder, name = posixpath.split(path)
        for other in (name, posixpath.splitext(name)[0]):
            for ending in CLASS_ENDINGS:
                if (file := join(folder, other + ending)) in source.tree:
                    beside.setdefault(ending, {})[path] = file
    return next((min(f.values()) for f in beside.values() if _have_classes(source, f)), None)


def _have_classes(source: Source, files: dict[str, str]) -> bool:
    """Return True if files, by their photos, have few words, and other classes than the folders."""
    lines = []
    for path, file in files.items():
        photo = path.encode(errors="surrogateescape")
        words = _content(source, file).replace(posixpath.basename(photo), b"").split()
        if len(_WORD.findall(b" ".join(words).decode(errors="replace"))) > FEW_WORDS:
            return False
        lines.append(b" ".join([photo, *words]))
    return _says_otherwise(source, b"\n".join(lines))


def _groups(source: Source, used: set[str]) -> Iterator[list[str]]:
    """Yield the files that may hold labels: each, or those of a kind together if there are many."""
    for folder, names in source.tree.files.items():
        kinds: dict[str, list[str]] = {}
        for name in names:
            path, ending = join(folder, name), posixpath.splitext(name)[1].lower()
            if path not in used and not is_picture(name) and not name.lower().endswith(SKIPPED):
                kinds.setdefault(ending, []).append(path)
        for files in kinds.values():
            if len(files) <= MOST_LISTS:
                yield from ([file] for file in files)
            elif len(files) <= MOST_TOGETHER:
                yield files


def _content(source: Source, file: str) -> bytes:
    """Return the bytes of a file, unpacked; nothing of a large or damaged one."""
    state, opened = source.tree.state(file), _PACKED.get(posixpath.splitext(file)[1].lower())
    if state is None or state.st_size > MOST_BYTES:
        return b""
    try:
        if opened is None:
            return cells_of(source.tree.root / file).replace(b"\0", b"")
        with cast(BinaryIO, opened(str(source.tree.root / file))) as stream:
            return stream.read(MOST_BYTES)
    except (OSError, EOFError, lzma.LZMAError, ValueError):
        return b""


def _says_otherwise(source: Source, content: bytes) -> bool:
    """Return True if the words beside the names of photos repeat, and no column of them says the
    same as the folders.
    """
    beside = list(_beside_names(source, content))
    if len(beside) < max(4, len(source.sample) / 2):
        return False
    longest = max(len(words) for _, words in beside)
    places = range(-min(8, longest), min(8, longest))
    columns = [[(path, _at(words, n)) for path, words in beside] for n in places]
    agreements = [compare(column).agreement for column in columns if _differ(column)]
    candidates = filter(_may_be_classes, columns)
    is_text = longest > FEW_WORDS  # sizes and dates are in it
    return "same" not in agreements and any(not is_text or _has_names(each) for each in candidates)


def _beside_names(source: Source, content: bytes) -> Iterator[tuple[str, list[str]]]:
    """Yield the photos of the sample that a text names, with the other words of the line."""
    lines = _LINE.sub(b"\n", content.replace(b"\\", b"/"))
    for path in source.sampled:
        for name in _spellings(source, path):
            if (place := _place(name, lines)) >= 0:
                start, end = lines.rfind(b"\n", 0, place) + 1, lines.find(b"\n", place)
                line = lines[start : end if end > 0 else len(lines)][:4096]
                token = rb"[%b]*%b[%b]*" % (_IN_PATH, re.escape(name), _IN_PATH)
                yield path, _WORD.findall(re.sub(token, b" ", line).decode(errors="replace"))
                break


def _spellings(source: Source, path: str) -> Iterator[bytes]:
    """Yield the path of a photo, and its name with and without its ending if no other has it."""
    yield path.encode(errors="surrogateescape")
    name = posixpath.basename(path)
    if len(source.index.with_name(name)) == 1:
        yield name.encode(errors="surrogateescape")
        stem = posixpath.splitext(name)[0].encode(errors="surrogateescape")
        if len(stem) > 3:  # any text has the number 12
            yield stem


def _place(name: bytes, lines: bytes) -> int:
    """Return where a name begins that is not the end of another word, or -1."""
    place = lines.find(name)
    while place > 0 and lines[place - 1 : place].isalnum():
        place = lines.find(name, place + 1)
    return place


def _at(words: list[str], place: int) -> str:
    return words[place] if -len(words) <= place < len(words) else ""


def _differ(column: list[tuple[str, str]]) -> bool:
    return len({value for _, value in column}) > 1


def _may_be_classes(column: list[tuple[str, str]]) -> bool:
    return may_be_classes((value for _, value in column if value), of=len(column))


def _has_names(column: list[tuple[str, str]]) -> bool:
    return not all(value.isdigit() for _, value in column if value)


def names_class_folders(source: Source, file: str) -> bool:
    """Return True for a table with a class for each folder, which may be that of a patient."""
    if not file.lower().endswith(SUFFIXES):
        return False
    try:
        return _has_folders_and_classes(source, _listing(source, file))
    except (OSError, TrainerError):
        return False


def _listing(source: Source, file: str) -> Listing:
    table = open_table(source.tree.root / file)
    return open_listing(table, source.csv, source.index.has_stem)


def _has_folders_and_classes(source: Source, listing: Listing) -> bool:
    folders = set(source.class_folders)
    columns = {n: set(listing.values(n, most=LOOKED_AT)) for n in range(listing.width)}
    place = max(columns, key=lambda n: len(folders & columns[n]))
    if len(folders & columns[place]) < max(2, len(folders) / 2) or _is_label(listing, place):
        return False
    others = [n for n in columns if n != place]
    others = [n for n in others if _is_label(listing, n)] or (others if len(others) == 1 else [])
    return any(has_classes(listing, n) for n in others)


def has_a_row_for_each(source: Source, file: str, classes: Collection[str]) -> bool:
    """Return True for a table with as many rows as photos, and a class in each that no folder has.

    `classes` has the class of each photo. The paths in the table may be written in another way.
    """
    if not file.lower().endswith(SUFFIXES):
        return False
    try:
        listing = _listing(source, file)
        if sum(1 for _ in listing.rows()) != len(classes):
            return False
        known = set(map(same_name, classes))
        columns = (n for n in range(listing.width) if _is_label(listing, n))
        values = (list(listing.values(n)) for n in columns if has_classes(listing, n))
        return any(known.isdisjoint(map(same_name, each)) for each in values)
    except (OSError, TrainerError):
        return False


def _is_label(listing: Listing, column: int) -> bool:
    """Return True for a column named like that of a class: `class,superclass` is about classes."""
    name = listing.names[column].lower() if column < len(listing.names) else ""
    return name in (*LABEL_COLUMNS, "name")


def sidecars(source: Source) -> tuple[int, list[str]]:
    """Return how many photos have a file of their name beside them, and the endings of these."""
    count, endings = 0, set[str]()
    for names in source.tree.files.values():
        others = [name for name in names if not is_picture(name)]
        if not others:
            continue
        pictures = {name for name in names if is_picture(name)}
        stems = pictures | {posixpath.splitext(name)[0] for name in pictures}
        for name in others:
            stem, ending = posixpath.splitext(name)
            if stem in stems and not (unreadable_name(name) or ending.lower() in HARMLESS):
                count, endings = count + 1, endings | {ending}
    return count, sorted(endings)


def names_some(source: Source, file: str) -> bool:
    """Return True for a text that names at least two photos of the sample."""
    return len(list(islice(_beside_names(source, _content(source, file)), 2))) == 2
