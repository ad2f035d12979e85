"""The files of an exported model: what `export` writes and `training.resumeFrom` reads."""

from pathlib import Path

from finetune_trainer.contract import Struct
from finetune_trainer.run import files

NAMES = {
    # As mx.mod.Module.load("model", 0) wants them.
    "symbol.json": "model-symbol.json",
    "model.params": "model-0000.params",
    "labels.txt": "labels.txt",
    "preprocessing.json": "preprocessing.json",
}


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
        """Whether a file is there, and is the one of its name that was written."""
        return path.is_file() and files.sha256_of(path) == self.files[path.name]


class Latest(Struct):
    """Which exported model is the newest, in the directory beside it."""

    uid: str
    digest: str
    accuracy: float
