"""The files of a source by folder: one walk that opens no file."""

import dataclasses
import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from finetune_trainer.run.hidden_files import is_skipped

LEADS_NOWHERE = (errno.ENOENT, errno.ELOOP)
"""The errors for a link to a file that does not exist, and for one that leads to itself."""


@dataclasses.dataclass(frozen=True)
class Tree:
    """The folders and files of a source that are not hidden, in the order of their names.

    Paths are relative to the root, with slashes between; "" is the root. Links to folders are
    followed, but for those that lead back up.
    """

    root: Path
    files: dict[str, tuple[str, ...]]
    """The names of the files of each folder, by the folder's path."""
    folders: dict[str, tuple[str, ...]]
    """The names of the folders of each folder, by the folder's path."""
    hidden: int
    """Number of hidden and system files and folders, which are not looked into."""
    hidden_folders: tuple[str, ...] = ()
    """The folders whose name begins with a dot, where a class or a split may lie."""

    @classmethod
    def of(cls, root: Path) -> "Tree":
        """Walk a folder; raise OSError for a folder that cannot be read."""
        files: dict[str, tuple[str, ...]] = {}
        folders: dict[str, tuple[str, ...]] = {}
        hidden, hidden_folders, left = 0, list[str](), [""]
        while left:
            folder = left.pop()
            with os.scandir(root / folder) as found:
                entries = list(found)
            visible = sorted(
                (entry for entry in entries if not is_skipped(entry.name)),
                key=lambda entry: entry.name,
            )
            hidden += len(entries) - len(visible)
            if "/" not in folder:
                unseen = (e.name for e in entries if e.name.startswith(".") and _is_folder(e))
                hidden_folders += (join(folder, name) for name in sorted(unseen))
            below = [e.name for e in visible if _is_folder(e) and not _leads_back(e)]
            folders[folder] = tuple(below)
            files[folder] = tuple(e.name for e in visible if not _is_folder(e))
            left += [join(folder, name) for name in reversed(below)]
        return cls(root, files, folders, hidden, tuple(hidden_folders))

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        names = self.files.get(folder, ())
        place = bisect_left(names, name)
        return place < len(names) and names[place] == name

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))

    def __iter__(self) -> Iterator[str]:
        """Yield the path of each file."""
        return (join(folder, name) for folder, names in self.files.items() for name in names)

    def below(self, folder: str) -> Iterator[str]:
        """Yield the path of each file in the folders below a folder."""
        for name in self.folders[folder]:
            inner = join(folder, name)
            yield from (join(inner, each) for each in self.files[inner])
            yield from self.below(inner)

    def state(self, path: str) -> os.stat_result | None:
        """Return the state of a regular file, or of the one that a link leads to; else None."""
        try:
            state = os.stat(self.root / path)
        except OSError as error:
            if error.errno not in LEADS_NOWHERE:
                raise
            return None
        return state if stat.S_ISREG(state.st_mode) else None


def join(folder: str, name: str) -> str:
    """Return the path of an entry of a folder."""
    return f"{folder}/{name}" if folder else name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder and a link to one; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno not in LEADS_NOWHERE:
            raise
        return False


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Return True for a link to a folder that the link itself lies in."""
    if not entry.is_symlink():
        return False
    inner = PurePosixPath(os.path.realpath(os.path.dirname(entry.path)))
    return inner.is_relative_to(os.path.realpath(entry.path))
