"""Reads what is in an OCI archive: its manifest, its layers and the files that a container sees."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: its digest, its size in a registry, and the step that made it."""

    digest: str
    compressed_bytes: int
    made_by: str


class Archive:
    """An OCI archive, open for reading."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        (image,) = self._json("index.json")["manifests"]
        self.digest: str = image["digest"]
        """The image's name in a registry: what `docker pull NAME@DIGEST` asks for."""
        manifest = self._json(blob(self.digest))
        self.config = self._json(blob(manifest["config"]["digest"]))
        steps = (step for step in self.config["history"] if not step.get("empty_layer"))
        self.layers = [
            Layer(
                digest=layer["digest"],
                compressed_bytes=layer["size"],
                made_by=step.get("created_by", ""),
            )
            for layer, step in zip(manifest["layers"], steps, strict=True)
        ]

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the archive at PATH for as long as the context lasts."""
        with tarfile.open(path) as tar:
            yield cls(tar)

    def compressed_bytes(self) -> int:
        """Add up what a node downloads: the layers as they are in a registry."""
        return sum(layer.compressed_bytes for layer in self.layers)

    def entries(self, layer: Layer) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        """Yield the absolute path of each entry of the layer, the entry, and the layer itself."""
        with tarfile.open(fileobj=self._tar.extractfile(blob(layer.digest)), mode="r|*") as content:
            for entry in content:
                yield f"/{entry.name.removeprefix('./').rstrip('/')}", entry, content

    def visible_files(self) -> dict[str, Layer]:
        """Map each file that a container sees to the layer that it comes from."""
        files: dict[str, Layer] = {}
        for layer in self.layers:
            entries = [(path, entry.isdir()) for path, entry, _ in self.entries(layer)]
            for hidden in filter(None, (hidden_path(path) for path, _ in entries)):
                files = {path: of for path, of in files.items() if not is_within(path, hidden)}
            files |= {path: layer for path, is_folder in entries if not is_folder}
        return {path: layer for path, layer in files.items() if not hidden_path(path)}

    def _json(self, path: str) -> dict[str, Any]:
        file = self._tar.extractfile(path)
        assert file, path
        return dict(json.load(file))


def blob(digest: str) -> str:
    """Return the path of a blob in an archive."""
    return f"blobs/{digest.replace(':', '/')}"


def hidden_path(path: str) -> str | None:
    """Return the path that this entry of a layer removes from those below, None if it is a file."""
    name = PurePosixPath(path).name
    if name == OPAQUE:
        return str(PurePosixPath(path).parent)
    if name.startswith(WHITEOUT):
        return str(PurePosixPath(path).with_name(name.removeprefix(WHITEOUT)))
    return None


def is_within(path: str, folder: str) -> bool:
    """Tell whether the path is the folder or below it."""
    return path == folder or path.startswith(f"{folder}/")
