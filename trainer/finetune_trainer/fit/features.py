"""What the pretrained trunk says about each image: computed once, kept beside the packed data."""

import dataclasses
import hashlib
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.model.inference import outputs
from finetune_trainer.model.network import PARAMS, SYMBOL, Network
from finetune_trainer.model.reader import Reader
from finetune_trainer.run import files

log = logging.getLogger(__name__)

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Features:
    """One row for each view of each image, of the shape that the network gives it."""

    train: Rows
    train_labels: Labels
    validation: Rows
    validation_labels: Labels

    def flat(self) -> "Features":
        """Return the same with rows that are vectors."""
        train, validation = (rows.reshape(len(rows), -1) for rows in (self.train, self.validation))
        return dataclasses.replace(self, train=train, validation=validation)

    def hold_out(self, held_out: NDArray[np.bool_]) -> "Features":
        """Return all views of the training images that are not held, and the centre of those that
        are for validation.
        """
        kept = np.tile(~held_out, len(self.train) // len(held_out))
        first = np.flatnonzero(held_out)
        return Features(
            self.train[kept], self.train_labels[kept], self.train[first], self.train_labels[first]
        )


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


def cached(
    extraction: Extraction, contexts: list[Any], *, on_batch: Callable[[int], None]
) -> Features:
    """Return the features from the cache, computed if they are not there, and kept if there is
    room.

    `on_batch` is called with the number of images of each batch; it may raise to stop.
    """
    path = extraction.train.record.parent / "features" / f"{extraction.key()}.npz"
    if (found := _load(path)) is not None:
        log.info("features: read from %s", path)
        return found
    features = _extract(extraction, contexts, on_batch)
    try:
        with files.whole_file(path) as file:
            _save(features, file)
    except OSError as error:
        log.warning("features: not kept for later: %s", error)
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


def _save(features: Features, file: BinaryIO) -> None:
    """Write what np.savez writes, which leaves a broken file open where there is no room."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in vars(features).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, rows)  # type: ignore[no-untyped-call]


def _extract(
    extraction: Extraction, contexts: list[Any], on_batch: Callable[[int], None]
) -> Features:
    train, size = extraction.train, extraction.train.input_size
    _, (shape,), _ = extraction.trunk.symbol.infer_shape(data=(1, 3, size, size))

    def look(passes: list[mx.io.DataIter], images: int) -> tuple[Rows, Labels]:
        # Filled in place: of a large data set there is room for one copy.
        rows = np.empty((len(passes) * images, *shape[1:]), np.float32)
        labels = np.empty(len(rows), np.int64)
        end = 0
        for batches in passes:
            for values, classes in outputs(extraction.trunk, batches, contexts):
                start, end = end, end + len(values)
                rows[start:end] = values
                labels[start:end] = classes
                on_batch(len(values))
        return rows, labels

    seeds = [(extraction.seed + view) % 2**31 for view in range(1, extraction.views)]
    crops = [train.crops(seed=seed) for seed in seeds]
    return Features(
        *look([train.centre(), *crops], train.images),
        *look([extraction.validation.centre()], extraction.validation.images),
    )
