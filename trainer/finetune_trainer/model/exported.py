"""The files of an exported model, which `export` writes and `training.resumeFrom` reads."""

from pathlib import Path

from finetune_trainer.contract import Struct
from finetune_trainer.run import files

NAMES = {
    "symbol.json": "model-symbol.json",
    "model.params": "model-0000.params",
    "labels.txt": "labels.txt",
    "preprocessing.json": "preprocessing.json",
}
"""File names as mx.mod.Module.load("model", 0) reads them, by those in the workspace."""

MANIFEST = "manifest.json"
LATEST = "latest.json"


class ModelManifest(Struct):
    """The files of one exported model, by name with their sha256."""

    name: str
    namespace: str
    uid: str
    digest: str
    """sha256 of the lines `SHA256  NAME` of all files, as sha256sum prints them."""
    files: dict[str, str]

    def has(self, path: Path) -> bool:
        """Return True if the file exists and has the sha256 that is listed under its name."""
        return path.is_file() and files.sha256_of(path) == self.files[path.name]


class Latest(Struct):
    """The newest of the exported models in one directory, as latest.json there names it."""

    uid: str
    digest: str
    accuracy: float
