"""A source while its layout is sought: its files, and what was found out about its lists."""

import contextlib
import dataclasses
import zipfile
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from finetune_trainer.contract import Csv, Dataset
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.found import is_photo
from finetune_trainer.dataset.layouts.resolve import FileIndex
from finetune_trainer.dataset.layouts.tree import Tree, join

OPENED = 20
"""The most files of a folder that are opened to see whether it holds photos."""
SAMPLE = 50
MOST_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The files of a source, and the settings by which they are read."""

    tree: Tree
    spec: Dataset
    inspected: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The inspect_list.Inspected of each file that may be a list, so that it is read once."""

    @property
    def csv(self) -> Csv:
        """The settings of lists."""
        return self.spec.csv or Csv()

    @property
    def group_column(self) -> str | None:
        """The column of a list that has the groups."""
        by = self.spec.split.group_by
        return by.column if by else None

    @cached_property
    def class_folders(self) -> tuple[str, ...]:
        """The folders of the source with photos directly in them: by names, or by what a few files
        hold."""
        return tuple(folder for folder in self.tree.folders[""] if _has_photos(self.tree, folder))

    @cached_property
    def sampled(self) -> tuple[str, ...]:
        """The paths of some pictures from all folders."""
        pictures = list(filter(is_picture, self.tree))
        return tuple(islice(pictures, 0, None, max(1, len(pictures) // SAMPLE)))

    @cached_property
    def sample(self) -> tuple[bytes, ...]:
        """The names of some pictures, by which it is seen whether a file is about them."""
        names = (path.rpartition("/")[2] for path in self.sampled)
        return tuple(name.encode(errors="surrogateescape") for name in names)

    def is_named_in(self, file: str) -> bool:
        """Return True if a file mentions half of the sample, with or without their endings."""
        content = cells_of(self.tree.root / file).replace(b"\0", b"")  # UTF-16 has such bytes
        found = sum(name in content or _stem(name) in content for name in self.sample)
        return bool(self.sample) and 2 * found >= len(self.sample)

    @cached_property
    def index(self) -> FileIndex:
        """The files by spellings of their names."""
        return FileIndex(self.tree)


def _has_photos(tree: Tree, folder: str) -> bool:
    names = tree.files[folder]
    few = (join(folder, name) for name in names[:OPENED])
    return any(map(is_picture, names)) or any(is_photo(tree, path) for path in few)


def cells_of(path: Path) -> bytes:
    """Return the bytes of a table, those of its members if it is a sheet or another zip; nothing
    of a very large one.
    """
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return b""
    if zipfile.is_zipfile(path):
        return _texts_in(path)
    return path.read_bytes()


def _texts_in(path: Path) -> bytes:
    """Return the bytes of the members of a zip; nothing if it has pictures, or is damaged."""
    problems = (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, OSError)
    with contextlib.suppress(*problems), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not any(is_picture(each.filename) for each in members):
            few = [each for each in members[:OPENED] if each.file_size <= MOST_BYTES]
            return b"\n".join(map(archive.read, few))
    return b""


def _stem(name: bytes) -> bytes:
    stem = name.rpartition(b".")[0]
    return stem if len(stem) > 3 else name  # any table has the number 12
