"""Compares two archives file by file: where two builds of one state differ."""

import hashlib
from collections.abc import Iterator

from tests.images.archive import Archive

Files = dict[tuple[int, str], tuple[object, ...]]


def differences(first: Archive, second: Archive) -> list[str]:
    """Name the entries of the layers that are not the same in both: content, mode, owner, date."""
    ours, theirs = files_of(first), files_of(second)
    return list(lines(ours, theirs))


def files_of(archive: Archive) -> Files:
    """Describe each entry of each layer."""
    found: Files = {}
    for number, layer in enumerate(archive.layers):
        for path, entry, content in archive.entries(layer):
            file = content.extractfile(entry) if entry.isfile() else None
            digest = hashlib.sha256(file.read() if file else b"").hexdigest()[:12]
            owner = (entry.uid, entry.gid, oct(entry.mode))
            found[number, path] = (digest, entry.linkname, *owner, entry.mtime, entry.type)
    return found


def lines(ours: Files, theirs: Files) -> Iterator[str]:
    """Yield a line for each entry that differs."""
    for place in sorted(ours.keys() | theirs.keys()):
        if ours.get(place) != theirs.get(place):
            number, path = place
            yield f"layer {number}, {path}: {ours.get(place)} and {theirs.get(place)}"
