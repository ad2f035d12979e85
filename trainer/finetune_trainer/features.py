"""What the pretrained trunk says about each image: computed once, kept beside the packed data."""

import dataclasses
import hashlib
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer import files
from finetune_trainer.dataset.read import Reader
from finetune_trainer.model.network import PARAMS, SYMBOL, Network
from finetune_trainer.scoring import outputs

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Features:
    """One row for each view of each image."""

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    validation: NDArray[np.float32]
    validation_labels: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Extraction:
    """The trunk and the images that it is to look at."""

    model: Path
    """Directory of the network; its digest is part of the cache's key."""
    trunk: Network
    train: Reader
    validation: Reader
    views: int
    """Of each training image: its centre, then random crops."""
    seed: int

    def key(self) -> str:
        """Return a name that differs for whatever would give other features."""
        parts = [files.sha256_of(self.model / name) for name in (SYMBOL, PARAMS)]
        pixels = (self.train.input_size, self.train.mean, self.train.std)
        parts.append(repr((self.trunk.symbol.list_outputs(), pixels, self.views, self.seed)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def cached(extraction: Extraction, contexts: list[Any], *, seen: Callable[[int], None]) -> Features:
    """Return the features from the cache, computed if they are not there.

    `seen` is called with the number of images of each batch; it may raise to stop.
    """
    directory = extraction.train.record.parent / "features"
    path = directory / f"{extraction.key()}.npz"
    if (found := _load(path)) is not None:
        log.info("features: read from %s", path)
        return found
    features = _extract(extraction, contexts, seen)
    directory.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **dataclasses.asdict(features))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return features


def _load(path: Path) -> Features | None:
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return Features(**arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("features: %s is damaged (%s) and is made again", path, error)
        return None


def _extract(extraction: Extraction, contexts: list[Any], seen: Callable[[int], None]) -> Features:
    def look(batches: mx.io.DataIter) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows, labels = [], []
        for values, classes in outputs(extraction.trunk, batches, contexts):
            rows.append(values.reshape(len(values), -1))
            labels.append(classes)
            seen(len(values))
        return np.concatenate(rows), np.concatenate(labels)

    views = [look(extraction.train.centre())]
    for view in range(1, extraction.views):
        views.append(look(extraction.train.crops(seed=extraction.seed + view)))
    validation, validation_labels = look(extraction.validation.centre())
    return Features(
        train=np.concatenate([rows for rows, _ in views]),
        train_labels=np.concatenate([labels for _, labels in views]),
        validation=validation,
        validation_labels=validation_labels,
    )
