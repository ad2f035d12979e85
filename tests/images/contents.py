"""Tables what an image is made of: by layer, and by package."""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.images.archive import Archive
from tests.images.build import Image
from tests.images.installed import read_installed

SMALLEST = 0.1e6  # a package with fewer compressed bytes is added to the last line


@dataclass
class Share:
    """A package's share of an image, compressed by itself: in sum a little more than layers."""

    files: int = 0
    unpacked_bytes: int = 0
    compressed_bytes: int = 0
    _compressor: Any = field(default_factory=lambda: zlib.compressobj(6))

    def add(self, content: bytes) -> None:
        """Add one file."""
        self.files += 1
        self.unpacked_bytes += len(content)
        packed = self._compressor.compress(content) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        self.compressed_bytes += len(packed)


def tables(image: Image) -> Iterator[str]:
    """Yield the lines of both tables, as Markdown."""
    with Archive.open(image.archive) as archive:
        yield f"{image.name}, {archive.digest}: {archive.compressed_bytes() / 1e6:.1f} MB\n"
        yield "| layer | compressed MB |\n|---|--:|"
        for layer in archive.layers:
            yield f"| {layer.made_by[:90]} | {layer.compressed_bytes / 1e6:.1f} |"
        yield "\n| package | files | unpacked MB | compressed MB |\n|---|--:|--:|--:|"
        for name, share in shares(archive):
            sizes = f"{share.unpacked_bytes / 1e6:.1f} | {share.compressed_bytes / 1e6:.1f}"
            yield f"| {name} | {share.files} | {sizes} |"


def shares(archive: Archive) -> list[tuple[str, Share]]:
    """List the packages by what they add to the image, the largest first."""
    installed, visible = read_installed(archive), archive.visible_files()
    found: dict[str, Share] = defaultdict(Share)
    for layer in archive.layers:
        for path, entry, content in archive.entries(layer):
            if entry.isfile() and visible.get(path) == layer:
                file = content.extractfile(entry)
                assert file, path
                found[installed.owner(path)].add(file.read())
    ordered = sorted(found.items(), key=lambda item: -item[1].compressed_bytes)
    large = [item for item in ordered if item[1].compressed_bytes >= SMALLEST]
    small = ordered[len(large) :]
    rest = Share(
        files=sum(share.files for _, share in small),
        unpacked_bytes=sum(share.unpacked_bytes for _, share in small),
        compressed_bytes=sum(share.compressed_bytes for _, share in small),
    )
    return [*large, (f"{len(small)} more", rest)]
